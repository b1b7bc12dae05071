package transport

import (
	"encoding/binary"
	"math"
	"testing"
	"testing/synctest"
	"time"
)

// A flightPath is a network to a client: so many bytes a second, so long there
// and back. Time is that of a synctest bubble.
type flightPath struct {
	f    flight
	rate int           // bytes/s
	trip time.Duration // there and back
	free time.Time     // when all that was sent will have passed
}

func newFlightPath(rate int, trip time.Duration) *flightPath {
	p := &flightPath{rate: rate, trip: trip, free: time.Now()}
	p.f.init()
	return p
}

// send sends n bytes, and has the client answer what marker follows them.
func (p *flightPath) send(n int) (marked bool) {
	if now := time.Now(); p.free.Before(now) {
		p.free = now
	}
	p.free = p.free.Add(time.Duration(n) * time.Second / time.Duration(p.rate))
	marker := p.f.marker(n)
	if marker == nil {
		return false
	}
	time.AfterFunc(time.Until(p.free)+p.trip, func() { p.f.pong(marker[2:]) })
	return true
}

// fill sends as much as may be sent for a while, and returns the most that was
// on its way.
func (p *flightPath) fill(long time.Duration) (most int64) {
	for end := time.Now().Add(long); time.Now().Before(end); {
		if p.f.hurried(); p.f.full() {
			time.Sleep(10 * time.Microsecond)
			continue
		}
		p.send(32 << 10)
		time.Sleep(time.Duration(32<<10) * time.Second / time.Duration(8*p.rate)) // the writer is fast, too
		most = max(most, p.f.sent-p.f.come.Load())
	}
	return most
}

// What may be on its way fits the path: enough that it never runs empty, not
// so much that a frame waits for more than a few round trips.
func TestFlightFitsThePath(t *testing.T) {
	for _, path := range []struct {
		rate int
		trip time.Duration
	}{
		{1 << 30, 50 * time.Microsecond}, // loopback
		{100 << 20, time.Millisecond},    // a local network
		{10 << 20, 40 * time.Millisecond},
		{100 << 20, 150 * time.Millisecond}, // far and wide
		{1 << 20, 20 * time.Millisecond},    // narrow
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newFlightPath(path.rate, path.trip)
			p.f.hurried()
			p.send(minFlight) // the answer to which is what begins it
			time.Sleep(time.Second)
			p.fill(2*time.Second + 50*path.trip)
			sent := p.f.sent
			start := time.Now()
			most := p.fill(time.Second)
			// The answers tell of the past, in steps: hence more than the stretch.
			holds := float64(path.rate) * max(path.trip, flightNoise).Seconds()
			low, high := 2*holds, 10*holds+2*minFlight
			if float64(most) < low || float64(most) > high {
				t.Errorf("%+v: %d bytes on their way, not %.0f to %.0f", path, most, low, high)
			}
			if rate := float64(p.f.sent-sent) / time.Since(start).Seconds(); rate < 0.9*float64(path.rate) {
				t.Errorf("%+v: %.0f bytes/s", path, rate)
			}
			time.Sleep(2 * flightHurry) // until all answers have come
		})
	}
}

// A client that answers nothing is not limited.
func TestFlightNeedsAnAnswer(t *testing.T) {
	var f flight
	f.init()
	f.hurried()
	for range 100 {
		f.marker(minFlight)
		if f.full() {
			t.Fatalf("limited after %d bytes without an answer", f.sent)
		}
	}
}

// One that stops answering is not limited after a while, until it answers.
func TestFlightPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flight
		f.init()
		f.hurried()
		first := f.marker(minFlight)
		time.Sleep(time.Millisecond)
		if !f.pong(first[2:]) {
			t.Fatal("an answer says nothing new")
		}
		second := f.marker(2 * minFlight)
		if !f.full() {
			t.Fatal("not limited")
		}
		start := time.Now()
		f.await(make(chan struct{}))
		if waited := time.Since(start); waited != flightPatience || f.full() {
			t.Fatalf("waited for %v, limited: %v", waited, f.full())
		}
		f.marker(4 * minFlight)
		if f.pong(second[2:]); !f.full() {
			t.Error("not limited though it answers again")
		}
		woken := make(chan struct{}, 1)
		woken <- struct{}{}
		if f.await(woken); !f.full() {
			t.Error("not limited after it was woken")
		}
	})
}

// Without a request or a dialogue nobody is held back, and markers are few.
func TestFlightHurry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		count := func(p *flightPath) (markers int) {
			for range 16 << 20 / (32 << 10) {
				if p.send(32 << 10) {
					markers++
				}
			}
			return markers
		}
		p := newFlightPath(1<<30, 50*time.Microsecond)
		if n := count(p); n != 16<<20/flightStep {
			t.Errorf("%d markers", n)
		}
		time.Sleep(5 * time.Millisecond) // some of it has come
		if p.f.full() {
			t.Error("limited")
		}
		if p.f.hurried(); !p.f.full() {
			t.Error("not limited though somebody is in a hurry")
		}
		if n := count(p); n < 24 {
			t.Errorf("%d markers in a hurry", n)
		}
		time.Sleep(flightHurry)
		count(p)
		if p.f.full() {
			t.Error("limited for ever")
		}
		time.Sleep(time.Second)
	})
}

// A forged answer breaks nothing, and leaves the client its least.
func FuzzFlight(f *testing.F) {
	for _, v := range []int64{0, 1, minFlight, math.MaxInt64, math.MinInt64, -1} {
		b := binary.BigEndian.AppendUint64(nil, uint64(v))
		f.Add(append(append(append([]byte{}, b...), b...), b...))
	}
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		var fl flight
		fl.init()
		fl.hurried()
		fl.marker(minFlight)
		before := fl.come.Load()
		news := fl.pong(payload)
		if news != (fl.come.Load() > before) || fl.ahead.Load() < minFlight {
			t.Errorf("news: %v, came from %d to %d, %d ahead", news, before, fl.come.Load(), fl.ahead.Load())
		}
		fl.full()
		fl.marker(1 << 30)
	})
}
