package wsock

import (
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/wsock/kernel"
)

// A patient is a Conn whose keepalive is this test: it beats when the test
// says so, and no clock decides.
type patient struct {
	*Conn
	peer    *net.TCPConn
	verdict chan messages.Reason
	beats   int
}

func newPatient(t *testing.T) *patient {
	s, peer := newConnPair(t)
	p := &patient{Conn: s, peer: peer, verdict: make(chan messages.Reason, 8)}
	s.gaveUp = func(r messages.Reason) { p.verdict <- r }
	return p
}

// listen makes what the pump makes known: that the client is waited for.
func (p *patient) listen() { p.reading.Store(true) }

func (p *patient) beatOnce() {
	p.beats++
	p.beat(uint8(p.beats % beatsPerInterval))
}

// survives fails if any of the next beats gives the client up.
func (p *patient) survives(t *testing.T, beats int) {
	t.Helper()
	for range beats {
		p.beatOnce()
		if len(p.verdict) > 0 {
			t.Fatalf("given up for %s after %d beats", <-p.verdict, p.beats)
		}
	}
}

func (p *patient) wantVerdict(t *testing.T, want messages.Reason) {
	t.Helper()
	if got := testkit.Receive(t, p.verdict); got != want {
		t.Fatalf("given up for %q, want %q", got, want)
	}
}

func TestPatienceIsTwoAndAHalfIntervals(t *testing.T) {
	if beatsOfPatience*2 != beatsPerInterval*5 {
		t.Errorf("%d beats of %d to the interval", beatsOfPatience, beatsPerInterval)
	}
}

func TestSilentClientIsGivenUp(t *testing.T) {
	p := newPatient(t)
	p.listen()
	p.survives(t, beatsOfPatience-1)
	p.heard.Add(1) // a sign of life in the last moment
	p.survives(t, beatsOfPatience)
	p.beatOnce()
	p.wantVerdict(t, messages.ReasonClientSilent)
}

// While back-pressure keeps the proxy from reading, silence is not the client's
// (protocol, section 8).
func TestSilenceWhileNobodyListensIsForgiven(t *testing.T) {
	p := newPatient(t)
	p.survives(t, 3*beatsOfPatience)
	p.listen()
	p.survives(t, beatsOfPatience-1) // only from here on it counts
	p.reading.Store(false)
	p.survives(t, 1)
	p.listen()
	p.survives(t, beatsOfPatience-1)
	p.beatOnce()
	p.wantVerdict(t, messages.ReasonClientSilent)
}

// A connection that is known to be broken is given up though nobody reads it:
// its target may hold the proxy up for ever.
func TestBrokenConnectionIsGivenUpThoughNobodyListens(t *testing.T) {
	p := newPatient(t)
	p.broken.Store(true)
	p.survives(t, beatsOfPatience-1)
	p.beatOnce()
	p.wantVerdict(t, messages.ReasonClientSilent)
}

// stall makes a write wait for the peer, and returns when the kernel takes no
// more of it.
func (p *patient) stall(t *testing.T) (ended chan error) {
	t.Helper()
	ended = make(chan error, 1)
	go func() { ended <- p.Write(make([]byte, 8<<20)) }()
	testkit.Eventually(t, "the write waits", p.writing.Load)
	return ended
}

func TestStalledWriteIsGivenUp(t *testing.T) {
	p := newPatient(t)
	ended := p.stall(t)
	testkit.Eventually(t, "the client is given up", func() bool {
		p.heard.Add(1) // it sends, but does not read
		p.beatOnce()
		return len(p.verdict) > 0
	})
	p.wantVerdict(t, messages.ReasonClientStalled)
	if p.beats < beatsOfPatience {
		t.Errorf("given up after %d beats, want %d at least", p.beats, beatsOfPatience)
	}
	if err := testkit.Receive(t, ended); !testkit.IsTimeout(err) {
		t.Errorf("the write ends with %v", err)
	}
	if got := p.Failure(nil); got != messages.ReasonClientStalled {
		t.Errorf("the pumps are told %q", got)
	}
}

// A slow reader is not a dead one: as long as its kernel acknowledges
// something, one write may take as long as it likes. Nor is it a silent one,
// though it is waited for: while data is being written it is sent no ping that
// it could answer.
func TestSlowReaderIsNotGivenUp(t *testing.T) {
	p := newPatient(t)
	p.listen()
	ended := p.stall(t)
	for range 4 {
		before := kernel.BytesAcked(p.raw)
		testkit.Eventually(t, "the client's kernel acknowledges more", func() bool {
			_, _ = io.CopyN(io.Discard, p.peer, 256<<10)
			return kernel.BytesAcked(p.raw) != before
		})
		p.survives(t, beatsOfPatience-2) // without that it would be given up in the next round
	}
	go func() { _, _ = io.Copy(io.Discard, p.peer) }()
	if err := testkit.Receive(t, ended); err != nil {
		t.Errorf("the write ends with %v", err)
	}
	settle := func() { // what it takes late, be it a ping, would excuse it
		testkit.Eventually(t, "the client's kernel has taken all", func() bool { return kernel.BytesAcked(p.raw) >= kernel.BytesWritten(p.raw) })
	}
	for range beatsOfPatience - 1 { // from here on it has been pinged
		settle()
		p.survives(t, 1)
	}
	settle()
	p.beatOnce()
	p.wantVerdict(t, messages.ReasonClientSilent)
}

// Many short writes are progress too, whatever the kernel says about each.
func TestFinishedWritesAreProgress(t *testing.T) {
	p := newPatient(t)
	for range 3 * beatsOfPatience {
		p.writing.Store(true)
		p.written.Add(1)
		p.survives(t, 1)
	}
}

func TestOnePingPerInterval(t *testing.T) {
	p := newPatient(t)
	p.pulse.phase = 3
	p.survives(t, 10*beatsPerInterval)
	got := make([]byte, 2*10)
	if _, err := io.ReadFull(p.peer, got); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(got); i += 2 {
		if got[i] != 0x89 || got[i+1] != 0 {
			t.Fatalf("frame %d is %x", i/2, got[i:i+2])
		}
	}
	p.conn.Close()
	if rest, _ := io.ReadAll(p.peer); len(rest) > 0 {
		t.Errorf("%d bytes more than ten pings", len(rest))
	}
}

// A waiting pong goes out with the beats, though nobody writes anything.
func TestBeatSendsTheWaitingPong(t *testing.T) {
	p := newPatient(t)
	frame := controlFrame(opPong, []byte("x"))
	p.urgent[UrgentPong].Store(&frame)
	p.waits.Store(true)
	p.pulse.phase = 7
	p.survives(t, 1)
	got := make([]byte, 3)
	if _, err := io.ReadFull(p.peer, got); err != nil || string(got) != string(frame) {
		t.Errorf("the peer reads %x, %v", got, err)
	}
}

func TestKeepaliveFindsTheSilentAmongTheLively(t *testing.T) {
	k := NewKeepalive(16 * time.Millisecond)
	defer k.Close()
	lively, silent := newPatient(t), newPatient(t)
	lively.listen()
	silent.listen()
	pings := new(atomic.Int32)
	go func() {
		frame := make([]byte, 2)
		for {
			if _, err := io.ReadFull(lively.peer, frame); err != nil {
				return
			}
			pings.Add(1)
			lively.heard.Add(1) // as if it had answered
		}
	}()
	k.add(lively.Conn)
	k.add(silent.Conn)
	silent.wantVerdict(t, messages.ReasonClientSilent)
	k.remove(silent.Conn)
	before := pings.Load()
	testkit.Eventually(t, "the lively one is pinged on", func() bool { return pings.Load() > before+3 })
	if lively.pulse.phase == silent.pulse.phase {
		t.Error("all pings go out at the same beat")
	}
	k.remove(lively.Conn)
	lively.conn.Close()
}

// Neither looks nor pings come in bursts, and the spreading changes nothing for a single
// socket: it has a look at each beat, and a ping at each interval.
func TestPingsAreSpreadOverTheInterval(t *testing.T) {
	const turns, perTurn = mostTurns, 5
	r := newRota(turns)
	young := make(map[*Conn]struct{})
	for range turns * firstPings * perTurn {
		young[new(Conn)] = struct{}{}
	}
	r.join(young)
	left := new(Conn)
	r.join(map[*Conn]struct{}{left: {}})
	r.leave(left)
	looks, pings := make(map[*Conn]int), make(map[*Conn]int)
	for i := range turns * beatsPerInterval {
		sockets, beat := r.turn()
		pinged := 0
		for s := range sockets {
			looks[s]++
			if s.pulse.phase == beat {
				pings[s]++
				pinged++
			}
		}
		due := perTurn
		if b := i / turns; b == 0 || b > firstPings {
			due = 0 // they have just come, or all had theirs
		}
		if pinged != due || len(sockets) != perTurn*firstPings {
			t.Fatalf("in turn %d %d of %d are pinged, and %d looked at", i, pinged, len(young), len(sockets))
		}
		if (i+1)%turns == 0 {
			for s := range young {
				if looks[s] != (i+1)/turns {
					t.Fatalf("a socket has had %d looks in %d beats", looks[s], (i+1)/turns)
				}
			}
		}
	}
	for s := range young {
		if pings[s] != 1 {
			t.Fatalf("a socket has had %d pings in an interval", pings[s])
		}
	}
	if looks[left] > 0 {
		t.Error("who has left is looked at")
	}
}

func TestKeepaliveThatHasEndedHoldsNobodyUp(t *testing.T) {
	k := NewKeepalive(time.Hour)
	one, two := newPatient(t), newPatient(t)
	k.add(one.Conn)
	k.Close()
	k.add(two.Conn)
	k.remove(one.Conn)
	k.remove(two.Conn)
}

// Who comes and goes between two beats costs the keepalive's goroutine nothing: it is not
// even there. Who has stayed for a beat is pinged, and leaves by it.
func TestKeepaliveKnowsWhoStays(t *testing.T) {
	calm := NewKeepalive(time.Hour)
	brief := newPatient(t)
	calm.add(brief.Conn)
	calm.mu.Lock() // the goroutine has no part in it
	joined := len(calm.young)
	calm.mu.Unlock()
	calm.remove(brief.Conn)
	if left := calm.joined(); joined != 1 || len(left) != 0 {
		t.Errorf("%d have joined, %d are left", joined, len(left))
	}
	calm.Close()

	k := NewKeepalive(80 * time.Millisecond)
	defer k.Close()
	stays := newPatient(t)
	k.add(stays.Conn)
	ping := make([]byte, len(pingFrame))
	if _, err := io.ReadFull(stays.peer, ping); err != nil || ping[0] != pingFrame[0] {
		t.Fatalf("%x comes, %v", ping, err)
	}
	k.remove(stays.Conn)
	beats := stays.pulse // the goroutine's no more
	k.add(brief.Conn)
	if _, err := io.ReadFull(brief.peer, ping); err != nil { // an interval and more later
		t.Fatal(err)
	}
	if stays.pulse != beats {
		t.Error("who has left is looked at")
	}
}
