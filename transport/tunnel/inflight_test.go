package tunnel

import (
	"testing"
	"testing/synctest"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/transport/wsock"
)

// A path is a client that reads so many bytes a second, whose kernel has
// room for more, and tells of it so much later. Time is that of a synctest
// bubble.
type path struct {
	f    inFlight
	room int64         // bytes in the client's kernel
	rate int64         // bytes/s
	late time.Duration // the age of what the window tells
	free time.Time     // when the client will have read all that was sent
	wake chan struct{}
	past []seen
}

type seen struct {
	at     time.Time
	window int64
}

func newPath(room, rate int64, late time.Duration) *path {
	p := &path{room: room, rate: rate, late: late, free: time.Now(), wake: make(chan struct{}, 1)}
	p.f.look = func() (window, unacked int64) {
		p.past = append(p.past, seen{time.Now(), p.room - p.waits()})
		for len(p.past) > 1 && !p.past[1].at.After(time.Now().Add(-p.late)) {
			p.past = p.past[1:]
		}
		return p.past[0].window, 0
	}
	return p
}

// waits returns how many bytes wait in the client's kernel.
func (p *path) waits() int64 {
	return int64(max(time.Until(p.free), 0).Seconds() * float64(p.rate))
}

// pump does for a while what the writing pump does that always has data, and
// that is woken by other messages, too. It returns how much was sent in a
// second, and the most that waited.
func (p *path) pump(long time.Duration, interactive bool) (rate float64, most int64) {
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		others := time.NewTicker(300 * time.Microsecond)
		defer others.Stop()
		for {
			select {
			case <-others.C:
				signal(p.wake)
			case <-stop:
				return
			}
		}
	}()
	var sent int64
	for end := time.Now().Add(long); time.Now().Before(end); {
		if p.f.full() {
			p.f.await(p.wake)
			continue
		}
		time.Sleep(10 * time.Microsecond) // the system call
		if over := p.waits() + writeBatch - p.room; over > 0 {
			time.Sleep(time.Duration(float64(over) / float64(p.rate) * float64(time.Second)))
		}
		if now := time.Now(); p.free.Before(now) {
			p.free = now
		}
		p.free = p.free.Add(writeBatch * time.Second / time.Duration(p.rate))
		p.f.wrote(writeBatch, interactive)
		sent += writeBatch
		most = max(most, p.waits())
	}
	return float64(sent) / long.Seconds(), most
}

// A client that reads fast has no more waiting in its kernel than the window,
// and gets all that it can take. When nobody waits the kernel decides.
func TestInFlightBoundsWhatIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPath(6<<20, 1<<30, 0)
		if _, most := p.pump(time.Second, false); most < 5<<20 {
			t.Errorf("%d bytes on their way when nobody waits", most)
		}
		p.pump(100*time.Millisecond, true)
		rate, most := p.pump(time.Second, true)
		if most > inFlightWindow+inFlightLook || rate < 0.9*float64(p.rate) {
			t.Errorf("%d bytes on their way, %.0f bytes/s", most, rate)
		}
		if _, most := p.pump(interactiveFor/2, false); most > inFlightWindow+inFlightLook {
			t.Errorf("%d bytes on their way just after somebody waited", most)
		}
		if _, most := p.pump(interactiveFor, false); most < 5<<20 {
			t.Errorf("held back for ever: %d bytes on their way", most)
		}
	})
}

// Whatever the window tells, and how late: nobody gets less than it can take,
// or a batch each millisecond.
func TestInFlightSlowsNobodyDown(t *testing.T) {
	for _, c := range []struct {
		room, rate int64
		late       time.Duration
	}{
		{6 << 20, 100 << 10, 0},
		{6 << 20, 10 << 20, 200 * time.Millisecond},
		{6 << 20, 50 << 20, time.Hour},
		{6 << 20, 1 << 30, time.Hour},
		{300 << 10, 1 << 30, 100 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPath(c.room, c.rate, c.late)
			p.f.widest = 1 << 30 // never again
			p.pump(time.Second, true)
			got, _ := p.pump(10*time.Second, true)
			if want := min(float64(c.rate), writeBatch/(1.1*inFlightHold.Seconds())); got < 0.95*want {
				t.Errorf("%+v: %.0f bytes/s, want %.0f", c, got, want)
			}
		})
	}
}

// What waits in the kernel of a client that doesn't read can be told.
func TestKernelTellsWhatIsOnItsWay(t *testing.T) {
	near, far := testkit.TCPPair(t)
	conn, err := wsock.NewConn(near)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = near.Write(make([]byte, 64<<20)) }() // more than any kernel takes
	widest := int64(0)
	testkit.Eventually(t, "the window closes", func() bool {
		window, unacked := conn.SendWindow()
		widest = max(widest, window)
		return widest > 0 && window < widest/4 && unacked > 0
	})
	_ = far
}
