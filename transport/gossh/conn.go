package gossh

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/http1"
	"wsproxy/transport/service"
	"wsproxy/transport/tunnel"
	"wsproxy/transport/wsock"
)

// A conn is a connection that carries HTTP as bytes. It serves one
// request at a time, each a use. How the last one ended says what must be done
// at the end. gossh-wasm takes no notice of tcp_close; it lets a stream, and one
// of its few slots, go when it fails to write to a service that has ended. So
// an ended service is written to.
type conn struct {
	*tunnel.Pipe
	mux    *tunnel.Mux
	use    atomic.Pointer[use] // the latest
	closed atomic.Bool
	stop   chan struct{} // closed by Close

	// Of who takes leave.
	ended   chan struct{} // closed when nothing more comes
	told    bool          // set before ended is closed: the client has told the end
	drained atomic.Int64  // bytes that were read to no purpose
}

// A use is one request's use of a conn.
type use struct {
	over       chan struct{}             // closed at its end
	outcome    service.Outcome           // set before over is closed
	began      func()                    // closes answered, once
	answered   chan struct{}             // closed when something of the answer has come
	upgraded   atomic.Pointer[webSocket] // nil if it has not become one
	probes     []time.Duration           // the writer's: the connection may have ended; until the first write
	untilClose bool                      // the reader's: the body lasts until the service closes the connection
}

// open opens a connection for a request from peer. The client is told the address, and
// port 0: other visitors' requests may follow.
func open(mux *tunnel.Mux, peer string) (*conn, error) {
	if host, _, err := net.SplitHostPort(peer); err == nil {
		peer = net.JoinHostPort(host, "0")
	}
	pipe, err := mux.OpenPipe(peer, "", mux.HTTPTimeout())
	if err != nil {
		return nil, err
	}
	c := &conn{Pipe: pipe, mux: mux, stop: make(chan struct{})}
	c.Interrupt(c.stop)
	return c, nil
}

const (
	// silence is how long a body that lasts until the service closes the connection
	// is silent before its service is written to, and between that and the next.
	silence = 2 * time.Second
	// silences is how often that is done at most while nothing comes.
	silences = 30
)

// Next is that of a Pipe. This client does not tell the end of a service, unless it
// fails to write. So one whose end is that of the answer is written to now and then
// while it is silent. Should it not have ended, that does no harm: it reads no
// request after this one (RFC 9112, section 9.6).
func (c *conn) Next(stop <-chan struct{}) ([]byte, error) {
	if c.closed.Load() {
		return nil, messages.ErrStopped
	}
	u := c.use.Load()
	for i := 0; u.untilClose && i < silences && c.Quiet(silence, stop); i++ {
		if _, err := c.Pipe.Write([]byte{'\n'}); err != nil {
			break
		}
	}
	chunk, err := c.Pipe.Next(stop)
	if err == nil {
		u.began()
	}
	return chunk, err
}

// Write sends the beginning of a request by itself over a connection that was
// kept for a while: if the service has ended it, its host answers that with a
// reset, and the client finds out when it writes the rest. So a request is
// either whole and read, or in part and lost, and never waits for an answer of
// a service that is gone.
//
// But from here a service that was gone and one that has read the request and
// gone then look alike. So one that must not be sent twice is held back until the
// client would have found out. If it has, the service has a few bytes at most of
// which it can make nothing: they count as none, and the request goes over another
// connection.
func (c *conn) Write(b []byte) (int, error) {
	u := c.use.Load()
	if ws := u.upgraded.Load(); ws != nil {
		return ws.fromOutside(b)
	}
	at := 0
	for _, pause := range u.probes {
		if _, err := c.Pipe.Write(b[at : at+probePiece]); err != nil {
			return 0, unsent(err)
		}
		at += probePiece
		if !c.Quiet(pause, nil) {
			if c.closed.Load() {
				return at, messages.ErrStopped
			}
			return 0, service.ErrUnsent
		}
	}
	u.probes = nil
	n, err := c.Pipe.Write(b[at:])
	return at + n, err
}

// unsent says of a beginning that could not be sent whether the service had ended.
func unsent(err error) error {
	var end *messages.EndError
	if errors.As(err, &end) && end.Reason == messages.CloseClient {
		return service.ErrUnsent
	}
	return err
}

const (
	// probeAfter is for how long a connection was kept when it may have ended
	// without a word: services wait much longer for the next request.
	probeAfter = 100 * time.Millisecond
	// probePause is how long the service's host has to answer with a reset. It
	// is near the host where the client's SSH session ends, mostly the same.
	probePause = 20 * time.Millisecond
	// probePiece is how many bytes go ahead each time: no request is shorter than
	// three of them, and none can be told by them.
	probePiece = 4
)

// probes and onceProbes are how long the service's host, and the client, have
// after each piece that goes ahead. Through a real SSH server the third write to a
// service that has ended is the one that fails, and the client's word of it takes a
// round trip. All in all it takes hardly longer than to open a connection does (see
// settles), and of those the client has few.
var (
	probes     = []time.Duration{probePause}
	onceProbes = []time.Duration{probePause, 2 * probePause, 8 * probePause}
)

// Begin notes that a request uses the connection: see [service.Conn].
func (c *conn) Begin(idle time.Duration, once bool) (whole bool) {
	u := &use{over: make(chan struct{}), answered: make(chan struct{})}
	u.began = sync.OnceFunc(func() { close(u.answered) })
	switch {
	case once && idle > 0:
		u.probes = onceProbes
	case idle >= probeAfter:
		u.probes = probes
	}
	c.use.Store(u)
	return len(u.probes) > 0
}

// Answered looks at the head of the answer.
func (c *conn) Answered(head *http1.Answer, rest []byte, sent bool) {
	u := c.use.Load()
	switch {
	case isWebSocket(head):
		ws := newWebSocket(c)
		ws.heard(rest)
		u.upgraded.Store(ws)
	case head.Length == http1.UntilClose:
		u.untilClose = sent // else somebody still writes
	}
}

// End ends the use.
func (c *conn) End(outcome service.Outcome) {
	u := c.use.Load()
	u.outcome = outcome
	close(u.over)
}

// Close takes leave of the client, which may take a moment. What waits for a quiet
// service, or for a client that takes nothing, is told at once.
func (c *conn) Close(messages.CloseReason) {
	if !c.closed.CompareAndSwap(false, true) {
		return
	}
	close(c.stop)
	wsock.StartPump(c.mux.Host().Log(), "inner leave", c.leave, func() {
		if c.told {
			c.Pipe.Close("") // it is the client's end
		} else {
			c.Pipe.Close(messages.CloseEOF)
		}
	})
}

// Idle is that of a Pipe. A connection that takes leave is of no use any more.
func (c *conn) Idle(happens func()) bool { return !c.closed.Load() && c.Pipe.Idle(happens) }

// Use is that of a Pipe.
func (c *conn) Use() bool { return c.Pipe.Use() && !c.closed.Load() }

// Join makes one connection of this one and that of an outside client.
func (c *conn) Join(outer *net.TCPConn, ended func()) messages.Stream {
	if ws := c.use.Load().upgraded.Load(); ws != nil {
		return ws.join(outer, ended)
	}
	// What the protocol is nobody knows here, so nothing can be said in it.
	if stream := c.Pipe.Join(outer, ended); stream != nil {
		return stream
	}
	return nil
}
