package transport

import (
	"encoding/binary"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// A flightPath is a network to a client that answers pings: so many bytes a
// second, so long there and back. Time is that of a synctest bubble.
type flightPath struct {
	f       flight
	rate    int           // bytes/s
	trip    time.Duration // there and back
	answers int           // how many markers it answers
	free    time.Time     // when all that was sent will have passed
	wake    chan struct{}
}

func newFlightPath(rate int, trip time.Duration, answers int) *flightPath {
	return &flightPath{rate: rate, trip: trip, answers: answers, free: time.Now(), wake: make(chan struct{}, 1)}
}

// send sends a piece, and has the client answer the marker behind it.
func (p *flightPath) send(n int) (marked bool) {
	if now := time.Now(); p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(time.Duration(n) * time.Second / time.Duration(p.rate))
	marker := p.f.marker(n)
	if marker != nil && p.answers > 0 {
		p.answers--
		time.AfterFunc(time.Until(p.free)+p.trip, func() {
			if p.f.pong(marker[2:]) {
				signal(p.wake)
			}
		})
	}
	return marker != nil
}

// pump does for a while what the writing pump does that always has data, and
// that is woken by other messages, too. The kernel between holds 4 MiB. It
// returns how much was sent in a second, and the most that was on its way.
func (p *flightPath) pump(long time.Duration, hurry bool) (rate float64, most int64) {
	const kernel = 4 << 20
	sent := p.f.sent
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
	for end := time.Now().Add(long); time.Now().Before(end); {
		if hurry {
			p.f.hurried()
		}
		if p.f.full() {
			p.f.await(p.wake)
			continue
		}
		if waits := time.Until(p.free) - time.Duration(kernel)*time.Second/time.Duration(p.rate); waits > 0 {
			time.Sleep(waits)
		}
		p.send(writeBatch)
		time.Sleep(10 * time.Microsecond) // the system call
		most = max(most, int64(time.Until(p.free).Seconds()*float64(p.rate)))
	}
	return float64(p.f.sent-sent) / long.Seconds(), most
}

// A client that reads fast has no more waiting in its kernel than the window,
// and gets all that it can take.
func TestFlightBoundsWhatIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFlightPath(1<<30, 50*time.Microsecond, math.MaxInt)
		p.pump(100*time.Millisecond, true)
		rate, most := p.pump(time.Second, true)
		if most > flightWindow+2*writeBatch || rate < 0.95*float64(p.rate) {
			t.Errorf("%d bytes on their way, %.0f bytes/s", most, rate)
		}
		if _, most := p.pump(time.Second, false); most > flightWindow+2*writeBatch {
			t.Errorf("%d bytes on their way just after the hurry", most)
		}
		if _, most := p.pump(2*flightHurry, false); most < 3<<20 {
			t.Errorf("held back for ever: %d bytes on their way", most)
		}
		time.Sleep(time.Second)
	})
}

// Whatever a client answers, and how late: no path gets less than it can take,
// or a batch each millisecond.
func TestFlightSlowsNoPathDown(t *testing.T) {
	for _, c := range []struct {
		rate    int
		trip    time.Duration // that of the answers may be longer than that of the data
		answers int
	}{
		{100 << 10, 20 * time.Millisecond, math.MaxInt},
		{10 << 20, 200 * time.Millisecond, math.MaxInt},
		{50 << 20, 10 * time.Second, math.MaxInt},
		{50 << 20, time.Millisecond, 1},
		{1 << 30, 50 * time.Microsecond, 1},
		{1 << 30, 50 * time.Microsecond, 0},
		{1 << 30, 300 * time.Millisecond, math.MaxInt},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newFlightPath(c.rate, c.trip, c.answers)
			p.pump(time.Second, true)
			got, _ := p.pump(10*time.Second, true)
			if want := min(float64(c.rate), writeBatch/(1.1*flightHold.Seconds())); got < 0.95*want {
				t.Errorf("%+v: %.0f bytes/s, want %.0f", c, got, want)
			}
			time.Sleep(time.Minute) // until all answers have come
		})
	}
}

// Without a request or a dialogue there are no markers.
func TestFlightMarksInAHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		markers := func(p *flightPath) (n int) {
			for range 100 {
				if p.send(flightWindow / 8) {
					n++
				}
			}
			return n
		}
		p := newFlightPath(1<<30, 0, 0)
		if n := markers(p); n != 0 {
			t.Errorf("%d markers", n)
		}
		p.f.hurried()
		if n := markers(p); n != 50 && n != 51 {
			t.Errorf("%d markers in a hurry", n)
		}
		time.Sleep(flightHurry)
		if n := markers(p); n != 0 {
			t.Errorf("%d markers after the hurry", n)
		}
	})
}

// A forged answer breaks nothing.
func FuzzFlight(f *testing.F) {
	for _, v := range []int64{0, 1, flightWindow, math.MaxInt64, math.MinInt64, -1} {
		f.Add(binary.BigEndian.AppendUint64(nil, uint64(v)))
	}
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		var fl flight
		fl.hurried()
		fl.marker(flightWindow)
		if news := fl.pong(payload); news != (fl.come.Load() > 0) {
			t.Errorf("news: %v, came to %d", news, fl.come.Load())
		}
		if fl.full() && fl.come.Load() != 0 && fl.sent-fl.come.Load() < flightWindow {
			t.Error("data waits although the client is near")
		}
	})
}
