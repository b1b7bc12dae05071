package tap

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
)

// bufferSize is what one read takes, each way of a connection: as much as a message
// of a tunnel holds.
const bufferSize = 32 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// A Stream is a connection of the proxy.
type Stream interface {
	net.Conn
	// CloseWrite ends the sending side alone.
	CloseWrite() error
	// Reset ends it so that the other side knows that something is missing.
	Reset() error
}

// A Service is what the connections lead to.
type Service interface {
	// Dial opens a connection to it. Its errors are sentences that name the address.
	Dial(ctx context.Context) (net.Conn, error)
	// String is how the user named it.
	String() string
}

// A Gate admits requests.
type Gate interface {
	// Admit judges a request by the value of its Authorization field, "" if it has
	// none. It may take its time: only that request waits.
	Admit(ctx context.Context, authorization string) bool
	// Challenge is the value of the WWW-Authenticate field of the 401.
	Challenge() string
}

// Counters are those of all taps of a process, for a live view.
type Counters struct {
	Open, Requests atomic.Int64 // connections, and requests since the start
	Pending        atomic.Int64 // requests without an end, but for those that go on for long
	In, Out        atomic.Int64 // bytes of messages since the start, heads included
	lastID         atomic.Uint64
}

// A Tap serves the connections of one tunnel. Its fields don't change once it serves.
type Tap struct {
	Name     string // of the tunnel, "" for the only one
	Service  Service
	Gate     Gate    // nil admits everything
	Watcher  Watcher // nil if nobody wants to know
	Keeper   Keeper  // nil keeps nothing
	Counters *Counters
	// Notice tells the user something, in a sentence, now and then the same one. It
	// must not block; nil if nobody wants to know.
	Notice func(sentence string)

	hinted atomic.Bool // a hint was given, and answers are not looked into any more
}

func (t *Tap) notice(sentence string) {
	if t.Notice != nil {
		t.Notice(sentence)
	}
}

// Serve joins a connection of the proxy to the service, and returns when both have
// ended. The end of ctx ends it: in order if nothing is under way, else it is cut.
func (t *Tap) Serve(ctx context.Context, stream Stream) {
	remote := ""
	if addr := stream.RemoteAddr(); addr != nil {
		remote = addr.String()
	}
	t.serve(ctx, stream, newWatch(t, remote, nil))
}

// Replay is Serve for a request of the user's own: no gate is asked. began is told
// under which number the request is known.
func (t *Tap) Replay(ctx context.Context, stream Stream, began func(id uint64)) {
	t.serve(ctx, stream, newWatch(t, "", began))
}

func (t *Tap) serve(ctx context.Context, stream Stream, w *watch) {
	t.Counters.Open.Add(1)
	defer t.Counters.Open.Add(-1)
	c := newConn(t, stream, w)
	stop := context.AfterFunc(ctx, c.quit)
	defer stop()
	gate := t.Gate
	if w.replayed != nil {
		gate = nil
	}
	if gate == nil && c.dial(ctx) == nil {
		c.requests()
	} else {
		c.heldRequests(ctx, gate)
	}
	if c.service != nil {
		<-c.answered
	}
	_ = stream.Close()
	w.over(c.isAborted())
}
