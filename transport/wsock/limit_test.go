package wsock

import (
	"io"
	"sync/atomic"
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

// A gate is a Limiter that lets nothing through until the wait is wanted no more.
type gate struct {
	waits  chan int // a way for each wait
	passed [2]atomic.Int64
	closed atomic.Int32
}

func (g *gate) Await(way int, done <-chan struct{}) {
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
	r.host.keepalive.remove(r.conn)
	keepalive := NewKeepalive(interval)
	t.Cleanup(keepalive.Close)
	r.host.keepalive = keepalive
	g := &gate{waits: make(chan int, 4)}
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
