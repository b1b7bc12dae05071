package inflight

import (
	"testing"
	"testing/synctest"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/transport/wsock"
	"wsproxy/transport/wsock/kernel"
)

// A reader is a client that reads so many bytes a second, whose kernel has
// room for more, and tells of it so much later. Time is that of a synctest
// bubble.
type reader struct {
	b    Bound
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

func newReader(room, rate int64, late time.Duration) *reader {
	p := &reader{room: room, rate: rate, late: late, free: time.Now(), wake: make(chan struct{}, 1)}
	p.b.Watch(func() kernel.Sending {
		p.past = append(p.past, seen{time.Now(), p.room - p.waits()})
		for len(p.past) > 1 && !p.past[1].at.After(time.Now().Add(-p.late)) {
			p.past = p.past[1:]
		}
		return kernel.Sending{Window: p.past[0].window, RTT: time.Microsecond}
	})
	return p
}

// waits returns how many bytes wait in the client's kernel.
func (p *reader) waits() int64 {
	return int64(max(time.Until(p.free), 0).Seconds() * float64(p.rate))
}

// pump does for a while what the writing pump does that always has data, and
// that is woken by other messages, too. It returns how much was sent in a
// second, and the most that waited.
func (p *reader) pump(long time.Duration, interactive bool) (rate float64, most int64) {
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		others := time.NewTicker(300 * time.Microsecond)
		defer others.Stop()
		for {
			select {
			case <-others.C:
				select {
				case p.wake <- struct{}{}:
				default:
				}
			case <-stop:
				return
			}
		}
	}()
	var sent int64
	for end := time.Now().Add(long); time.Now().Before(end); {
		n := int64(p.b.Room())
		if n == 0 {
			p.b.Await(p.wake)
			continue
		}
		time.Sleep(10 * time.Microsecond) // the system call
		if over := p.waits() + n - p.room; over > 0 {
			time.Sleep(time.Duration(float64(over) / float64(p.rate) * float64(time.Second)))
		}
		if now := time.Now(); p.free.Before(now) {
			p.free = now
		}
		p.free = p.free.Add(time.Duration(n) * time.Second / time.Duration(p.rate))
		p.b.Wrote(int(n), interactive)
		sent += n
		most = max(most, p.waits())
	}
	return float64(sent) / long.Seconds(), most
}

// A client that reads fast has no more waiting in its kernel than the window,
// and gets all that it can take. When nobody waits the kernel decides.
func TestInFlightBoundsWhatIsUnread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bound = readWindow + unboundedLook + MaxBatch
		p := newReader(6<<20, 1<<30, 0)
		if _, most := p.pump(time.Second, false); most < 5<<20 {
			t.Errorf("%d bytes on their way when nobody waits", most)
		}
		p.pump(100*time.Millisecond, true)
		rate, most := p.pump(time.Second, true)
		if most > bound || rate < 0.9*float64(p.rate) {
			t.Errorf("%d bytes on their way, %.0f bytes/s", most, rate)
		}
		if _, most := p.pump(interactiveFor/2, false); most > bound {
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
			p := newReader(c.room, c.rate, c.late)
			p.b.widest = 1 << 30 // never again
			p.pump(time.Second, true)
			got, _ := p.pump(10*time.Second, true)
			if want := min(float64(c.rate), MaxBatch/(1.1*readHold.Seconds())); got < 0.95*want {
				t.Errorf("%+v: %.0f bytes/s, want %.0f", c, got, want)
			}
		})
	}
}

// A path has a bottleneck with a queue, and a round trip when that is empty. Its
// kernel sends at once what it is given. Time is that of a synctest bubble.
type path struct {
	b     Bound
	rate  int64 // bytes/s
	empty time.Duration
	free  time.Time // when the bottleneck will have sent all
	rtt   float64   // seconds, smoothed as the kernel does
	least []ack     // the shortest round trips, each of a time without a shorter one after it
	acks  []ack     // that are to come
	wake  chan struct{}
}

type ack struct {
	at    time.Time
	bytes int64
	rtt   time.Duration
}

func newPath(rate int64, empty time.Duration) *path {
	p := &path{rate: rate, empty: empty, free: time.Now(), rtt: empty.Seconds(), wake: make(chan struct{})}
	p.b.Watch(func() kernel.Sending {
		s := kernel.Sending{Window: 4 << 20}
		left := p.acks[:0]
		for _, a := range p.acks {
			if a.at.After(time.Now()) {
				s.Unacked += a.bytes
				left = append(left, a)
				continue
			}
			p.rtt += (a.rtt.Seconds() - p.rtt) / 8
			for len(p.least) > 0 && p.least[len(p.least)-1].rtt >= a.rtt {
				p.least = p.least[:len(p.least)-1]
			}
			p.least = append(p.least, a)
		}
		p.acks = left
		for len(p.least) > 1 && time.Since(p.least[0].at) > 5*time.Minute {
			p.least = p.least[1:]
		}
		s.RTT, s.MinRTT = time.Duration(p.rtt*float64(time.Second)), p.empty
		if len(p.least) > 0 {
			s.MinRTT = p.least[0].rtt
		}
		return s
	})
	return p
}

// send gives the path n bytes, which go as packets.
func (p *path) send(n int) {
	for n > 0 {
		packet := min(n, 4<<10)
		n -= packet
		if now := time.Now(); p.free.Before(now) {
			p.free = now
		}
		p.free = p.free.Add(time.Duration(packet) * time.Second / time.Duration(p.rate))
		rtt := time.Until(p.free) + p.empty
		p.acks = append(p.acks, ack{time.Now().Add(rtt), int64(packet), rtt})
	}
}

// pump sends for a while all that it may, in whole frames as the writing pump does.
// It returns how much came through in a second, and the longest queue.
func (p *path) pump(long time.Duration) (rate float64, queue time.Duration) {
	sent := 0
	for end := time.Now().Add(long); time.Now().Before(end); {
		n := p.b.Room()
		if n == 0 {
			p.b.Await(p.wake)
			continue
		}
		n = (n + wsock.BufferSize - 1) / wsock.BufferSize * wsock.BufferSize
		for p.unacked() > wsock.SendBuffer { // the kernel takes no more
			time.Sleep(time.Millisecond)
		}
		p.send(n)
		p.b.Wrote(n, false)
		sent += n
		queue = max(queue, time.Until(p.free))
		time.Sleep(10 * time.Microsecond)
	}
	return float64(sent) / long.Seconds(), queue
}

func (p *path) unacked() (n int64) {
	for _, a := range p.acks {
		if a.at.After(time.Now()) {
			n += a.bytes
		}
	}
	return n
}

// Whoever comes to a path that is full waits no longer than its queue may last,
// and a frame; and whoever fills it gets all that it carries. That is so also when
// hours have passed, and when the path has become another one.
func TestInFlightKeepsThePathsQueueShort(t *testing.T) {
	const mbit = 1_000_000 / 8
	for _, c := range []struct {
		rate  int64
		empty time.Duration
	}{
		{10 * mbit, 20 * time.Millisecond},
		{10 * mbit, 200 * time.Millisecond},
		{50 * mbit, 5 * time.Millisecond},
		{100 * mbit, 20 * time.Millisecond},
	} {
		t.Run("", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPath(c.rate, c.empty)
				frame := 2 * wsock.BufferSize * time.Second / time.Duration(c.rate)
				want := func(what string, long time.Duration) {
					t.Helper()
					rate, queue := p.pump(long)
					if rate < 0.9*float64(p.rate) {
						t.Errorf("%+v %s: %.0f bytes/s", c, what, rate)
					}
					if queue > slack*5/4+2*frame {
						t.Errorf("%+v %s: a queue of %v", c, what, queue)
					}
					t.Logf("%+v %s: %.3f of the rate, a queue of %v", c, what, rate/float64(p.rate), queue)
				}
				p.pump(5 * time.Second)
				want("soon", 10*time.Second)
				p.pump(time.Minute)
				want("later", 20*time.Second)
				p.rate /= 2
				p.pump(5 * time.Second)
				frame *= 2
				want("at half the rate", 10*time.Second)
				p.rate *= 2
				p.pump(5 * time.Second)
				want("at the old rate", 10*time.Second)
				p.empty *= 3
				p.pump(time.Minute)
				want("over a longer path", 20*time.Second)
			})
		})
	}
}

// A path on which nothing queues up does not bind.
func TestInFlightDoesNotBindAFastPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPath(1<<30, 100*time.Microsecond)
		p.pump(100 * time.Millisecond)
		if p.b.limit != unbounded {
			t.Errorf("the limit is %d bytes", p.b.limit)
		}
	})
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
		s := conn.Sending()
		widest = max(widest, s.Window)
		return widest > 0 && s.Window < widest/4 && s.Unacked > 0 && s.RTT > 0
	})
	_ = far
}

// Where nothing binds, a batch is never shorter because the kernel is soon asked again.
func TestLookCutsNoBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newReader(1<<40, 1<<40, 0)
		for i := range 100 {
			if room := p.b.Room(); room != MaxBatch {
				t.Fatalf("after %d writes there is room for %d bytes", i, room)
			}
			p.b.Wrote(MaxBatch-1000*(i%5), false)
		}
		if looks := len(p.past); looks > 40 {
			t.Errorf("the kernel is asked %d times", looks)
		}
	})
}
