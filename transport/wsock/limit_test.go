package wsock

import (
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

// A gate is a Limiter that lets nothing through until the wait is wanted no more, but for
// some reads.
type gate struct {
	reads  atomic.Int32
	waits  chan int // a way for each wait
	passed [2]atomic.Int64
	closed atomic.Int32
}

func (g *gate) Await(way int, done <-chan struct{}) {
	if way == fromClient && g.reads.Add(-1) >= 0 {
		return
	}
	g.waits <- way
	<-done
}
func (g *gate) Passed(way, n int) { g.passed[way].Add(int64(n)) }
func (g *gate) Close()            { g.closed.Add(1) }

// A client that is not read, and not written to, because its user's bytes are used up
// is pinged, and not given up: its silence is not held against it. The end of its
// session ends the wait.
func TestLimitedClient(t *testing.T) {
	const interval = 40 * time.Millisecond
	r := newSessionRig(t, time.Hour)
	keepalive := NewKeepalive(interval)
	t.Cleanup(keepalive.Close)
	r.host.keepalive = keepalive
	g := &gate{waits: make(chan int, 4)}
	g.reads.Store(1)
	r.conn.Limit(g)
	r.conn.closing = r.closing.Done() // as Attach does
	r.Read("reading", Receiver{Payload: func([]byte, bool, bool) messages.Reason { return "" }})
	if _, err := r.peer.Write(testkit.Frame(frameBin, []byte("hello"))); err != nil {
		t.Fatal(err)
	}
	if way := testkit.Receive(t, g.waits); way != fromClient {
		t.Fatalf("it waits for direction %d", way)
	}
	frame := dataFrame([]byte("data"))
	written := make(chan struct{})
	go func() {
		defer close(written)
		_ = r.conn.Write(frame)
		r.conn.AwaitTurn()
	}()
	if way := testkit.Receive(t, g.waits); way != toClient {
		t.Fatalf("it waits for direction %d", way)
	}
	// The client gets the data, and pings for longer than it would be waited for.
	_ = r.peer.SetReadDeadline(time.Now().Add(testkit.Patience))
	got := make([]byte, len(frame)+10*len(pingFrame))
	if _, err := io.ReadFull(r.peer, got); err != nil {
		t.Fatalf("of the pings: %v", err)
	}
	if n := r.ear.Count(); n > 0 {
		t.Errorf("the owner was told %v", r.ear.Take())
	}
	if up, down := g.passed[fromClient].Load(), g.passed[toClient].Load(); up != int64(len(testkit.Frame(frameBin, []byte("hello")))) || down != int64(len(frame)) {
		t.Errorf("passed are %d and %d bytes", up, down)
	}
	closed := r.finish(messages.ReasonTargetEnded)
	testkit.Receive(t, written)
	r.peer.Close()
	testkit.Receive(t, closed)
	if n := g.closed.Load(); n != 1 {
		t.Errorf("the limiter was closed %d times", n)
	}
}

// So it is of one that no session wants.
func TestRefusedClientHasNoLimiter(t *testing.T) {
	r := newSessionRig(t, time.Hour)
	g := &gate{}
	client, peer := newConnPair(t)
	client.Limit(g)
	go func() { _ = peer.Close() }()
	r.host.Refuse(client, messages.ReasonNoSession)
	if n := g.closed.Load(); n != 1 {
		t.Errorf("the limiter was closed %d times", n)
	}
	testkit.Receive(t, r.finish(messages.ReasonClientGone))
}

// A client that is held up hears of the server each second, though it is held up for less
// at a time, and not when it isn't.
func TestHoldup(t *testing.T) {
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		held, free  time.Duration // twenty times
		least, most int           // words
	}{
		"for long":     {60_500 * ms, time.Hour, 20 * 60, 20 * 60},
		"for less":     {700 * ms, 1, 13, 14},
		"for a moment": {1, 1700 * ms, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				words, last := 0, time.Time{}
				h := holdup{say: func() {
					if now := time.Now(); now.Sub(last) < heldEvery {
						t.Errorf("two words within %v", now.Sub(last))
					}
					words, last = words+1, time.Now()
				}}
				for range 20 {
					h.hold(true)
					time.Sleep(c.held)
					h.hold(false)
					time.Sleep(c.free)
				}
				time.Sleep(2 * heldEvery)
				h.mu.Lock()
				defer h.mu.Unlock()
				if h.running {
					t.Error("a timer runs on")
				}
				if words < c.least || words > c.most {
					t.Errorf("%d words, want %d to %d", words, c.least, c.most)
				}
			})
		})
	}
}

// Who isn't to hear of that, or has no limit, has nothing for it.
func TestNobodyIsHeldUpWithoutALimit(t *testing.T) {
	for name, c := range map[string]struct {
		limiter Limiter
		held    func()
		want    bool
	}{
		"no limit":         {nil, func() {}, false},
		"nobody who hears": {&gate{waits: make(chan int, 4)}, nil, false},
		"both":             {&gate{waits: make(chan int, 4)}, func() {}, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newSessionRig(t, time.Hour)
			if g, ok := c.limiter.(*gate); ok {
				g.reads.Store(1)
			}
			r.conn.Limit(c.limiter)
			r.conn.closing = r.closing.Done() // as Attach does
			came := make(chan bool, 1)
			r.Read("reading", Receiver{Held: c.held, Payload: func([]byte, bool, bool) messages.Reason {
				came <- r.at.held != nil
				return ""
			}})
			if _, err := r.peer.Write(testkit.Frame(frameBin, []byte("hello"))); err != nil {
				t.Fatal(err)
			}
			if got := testkit.Receive(t, came); got != c.want {
				t.Errorf("a holdup: %v, want %v", got, c.want)
			}
			closed := r.finish(messages.ReasonTargetEnded)
			r.peer.Close()
			testkit.Receive(t, closed)
		})
	}
}
