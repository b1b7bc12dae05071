package ledger

import (
	"testing"
	"time"

	"wsproxy/messages"
)

// A line is a client that always has something to send, and an outside peer.
type line struct {
	t      *testing.T
	w      Window
	rtt    time.Duration
	client float64 // bytes/s that it sends at most, or the path carries
	peer   float64 // bytes/s that it takes
	now    time.Time
	may    int // bytes that the client may send
	onWay  []piece
	waits  int
	free   time.Time // when the client has sent all that it could
	busy   time.Time // when the peer has taken all
	room   int       // bytes that windows may be wider by
	taken  int
	passed int
	waited int // the most
}

// A piece is data or credit on its way.
type piece struct {
	at     time.Time
	bytes  int
	credit bool
}

func newLine(t *testing.T, rtt time.Duration, client, peer float64) *line {
	l := &line{t: t, rtt: rtt, client: client, peer: peer, now: time.Unix(1000, 0), may: messages.Window, room: 64 << 20}
	l.free, l.busy = l.now, l.now
	l.w.Room = func(n int) bool {
		if n > 0 && l.taken+n > l.room {
			return false
		}
		l.taken += n
		return n != 0 || l.taken <= l.room
	}
	return l
}

// run goes on for a while in steps of a tenth of a millisecond, and returns how much
// was passed on in a second.
func (l *line) run(long time.Duration) float64 {
	l.t.Helper()
	before, look := l.passed, l.now
	for end := l.now.Add(long); l.now.Before(end); l.now = l.now.Add(100 * time.Microsecond) {
		for l.may > 0 && l.client > 0 && !l.free.After(l.now) {
			n := min(l.may, 32<<10)
			l.may -= n
			l.free = l.later(l.free, n, l.client)
			l.onWay = append(l.onWay, piece{l.free.Add(l.rtt / 2), n, false})
		}
		left := l.onWay[:0:0]
		for _, p := range l.onWay {
			switch {
			case p.at.After(l.now):
				left = append(left, p)
			case p.credit:
				l.may += p.bytes
			default:
				if !l.w.Received(p.bytes) {
					l.t.Fatal("the client is taken to have sent too much")
				}
				l.waits += p.bytes
			}
		}
		l.onWay = left
		l.waited = max(l.waited, l.waits)
		for l.waits > 0 && !l.busy.After(l.now) {
			n := min(l.waits, 64<<10)
			l.waits -= n
			l.busy = l.later(l.busy, n, l.peer)
			l.passed += n
			if c := l.w.Passed(n, l.now); c > 0 {
				l.onWay = append(l.onWay, piece{l.now.Add(l.rtt / 2), c, true})
			}
		}
		if l.now.Sub(look) >= WindowLook {
			l.w.Look(l.now)
			look = l.now
		}
		if l.taken != l.w.Size()-messages.Window {
			l.t.Fatalf("%d bytes are taken for a window of %d", l.taken, l.w.Size())
		}
	}
	return float64(l.passed-before) / long.Seconds()
}

func (l *line) later(from time.Time, n int, rate float64) time.Time {
	if from.Before(l.now) {
		from = l.now
	}
	return from.Add(time.Duration(float64(n) / rate * float64(time.Second)))
}

const mbit = 1_000_000 / 8

// Over a long way a window of 256 KiB is what slows a connection: it becomes as wide
// as the way needs, and not much wider.
func TestWindowBecomesAsWideAsTheWayNeeds(t *testing.T) {
	for _, c := range []struct {
		rtt         time.Duration
		rate        float64
		least, most int
	}{
		{50 * time.Millisecond, 200 * mbit, 1 << 20, 2 << 20},
		{50 * time.Millisecond, 1000 * mbit, 4 << 20, 8 << 20},
		{200 * time.Millisecond, 100 * mbit, 2 << 20, 4 << 20},
		{200 * time.Millisecond, 10000 * mbit, messages.MaxWindow, messages.MaxWindow},
		{time.Millisecond, 1000 * mbit, messages.Window, messages.Window},
		{time.Millisecond, 1500 * mbit, messages.Window, messages.Window},
		{20 * time.Millisecond, 10 * mbit, messages.Window, messages.Window},
	} {
		l := newLine(t, c.rtt, c.rate, 1e9)
		l.run(5 * time.Second)
		got := l.run(4 * time.Second)
		want := min(c.rate, messages.MaxWindow/c.rtt.Seconds())
		if size := l.w.Size(); size < c.least || size > c.most || got < 0.75*want {
			t.Errorf("%+v: a window of %d, %.0f Mbit/s of %.0f", c, size, got/mbit, want/mbit)
		}
		t.Logf("%+v: a window of %d, %.0f Mbit/s of %.0f", c, l.w.Size(), got/mbit, want/mbit)
	}
}

// It reaches that soon: 50 ms and 150 Mbit/s within two seconds.
func TestWindowIsSoonWide(t *testing.T) {
	l := newLine(t, 50*time.Millisecond, 200*mbit, 1e9)
	l.run(time.Second)
	if got := l.run(time.Second); got < 150*mbit {
		t.Errorf("%.0f Mbit/s in the second second", got/mbit)
	}
}

// A peer that does not keep up widens nothing: what it does not take would wait here.
func TestWindowStaysWhereThePeerIsSlow(t *testing.T) {
	l := newLine(t, 50*time.Millisecond, 1000*mbit, 20*mbit)
	l.run(10 * time.Second)
	if l.waited > 2*messages.Window || l.w.Size() > 2*messages.Window {
		t.Errorf("%d bytes have waited, and the window is %d", l.waited, l.w.Size())
	}
}

// A connection that pauses, or becomes slow, or whose peer does, holds nothing soon; and
// when it is fast again its window is wide again.
func TestWindowBecomesNarrowAgain(t *testing.T) {
	for name, change := range map[string]func(*line){
		"pause":          func(l *line) { l.client = 0 },
		"a slow client":  func(l *line) { l.client = 1 * mbit },
		"a slow peer":    func(l *line) { l.peer = 5 * mbit },
		"a peer's pause": func(l *line) { l.peer = 1 },
	} {
		l := newLine(t, 50*time.Millisecond, 400*mbit, 1e9)
		l.run(5 * time.Second)
		if l.w.Size() < 2<<20 {
			t.Fatalf("the window is %d", l.w.Size())
		}
		client, peer := l.client, l.peer
		change(l)
		l.run(10 * time.Second)
		if l.taken != 0 {
			t.Errorf("%s: %d bytes are still taken", name, l.taken)
		}
		if l.client, l.peer = client, peer; name == "a peer's pause" {
			l.busy = l.now
		}
		l.run(8 * time.Second)
		if l.w.Size() < 2<<20 {
			t.Errorf("after %s: the window is %d", name, l.w.Size())
		}
	}
}

// Where there is no room the window stays, and one that was widened gives way.
func TestWindowNeedsRoom(t *testing.T) {
	l := newLine(t, 50*time.Millisecond, 400*mbit, 1e9)
	l.room = messages.Window
	l.run(5 * time.Second)
	if l.w.Size() != 2*messages.Window {
		t.Errorf("the window is %d", l.w.Size())
	}
	l.room = 0
	l.run(3 * time.Second)
	if l.taken != 0 {
		t.Errorf("%d bytes are taken where there is no room", l.taken)
	}
	l.room = 64 << 20
	l.run(10 * time.Second)
	if l.taken == 0 {
		t.Error("it stays narrow for ever")
	}
	l.w.End()
	l.w.End()
	if l.taken != 0 {
		t.Errorf("%d bytes are left at the end", l.taken)
	}
}

// Without Room there is the window of the beginning, and time does not matter.
func TestWindowWithoutRoom(t *testing.T) {
	var w Window
	now := time.Unix(1, 0)
	if !w.Received(messages.Window) || w.Passed(messages.Window/4-1, now) != 0 || w.Passed(1, now) != messages.Window/4 {
		t.Error("credit comes in other steps")
	}
	if !w.Received(messages.Window/4) || w.Received(1) {
		t.Error("a client may send another amount than it was given")
	}
}
