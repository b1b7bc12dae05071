package gossh

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"wsproxy/transport/forward"
	"wsproxy/transport/tunnel"
	"wsproxy/transport/wsock"
)

// A conn is the outer end of a stream that carries HTTP as bytes. It serves one
// request at a time, each a use. How the last one ended says what must be done
// at the end. gossh-wasm takes no notice of tcp_close; it lets a stream, and one
// of its few slots, go when it fails to write to a service that has ended. So
// an ended service is written to.
type conn struct {
	*net.UnixConn
	mux    *tunnel.Mux
	stream *tunnel.Stream
	use    atomic.Pointer[use] // the latest
	closed atomic.Bool
}

// A use is one request's use of a conn.
type use struct {
	conn        *conn
	interrupted func()                    // set once: see forward.Conn
	over        chan struct{}             // closed at its end
	outcome     forward.Outcome           // set before over is closed
	began       func()                    // closes answered, once
	answered    chan struct{}             // closed when something of the answer has come
	upgraded    atomic.Pointer[webSocket] // set before over is closed; nil if it has not become one
	once        bool                      // the request must not be sent twice; set once
	probes      []time.Duration           // the writer's: the connection may have ended; until the first write
	begun       bool                      // the writer's: something of the request was written
	cut         atomic.Bool               // the request was written in part
}

// dial opens a stream of this process's own. peer is what the client is told of
// where it comes from.
func dial(ctx context.Context, mux *tunnel.Mux, peer string) (*conn, error) {
	inner, stream, err := mux.Dial(ctx, peer)
	if err != nil {
		return nil, err
	}
	return &conn{UnixConn: inner, mux: mux, stream: stream}, nil
}

var errUnasked = errors.New("the service sends without having been asked")

// Read tells an end that is none: what the stream has aborted must not be
// taken for a whole answer.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.UnixConn.Read(p)
	u := c.use.Load()
	switch {
	case c.closed.Load(): // net/http has given up, and drain didn't see this
		if u != nil && n > 0 {
			u.began()
		}
		return 0, net.ErrClosed
	case errors.Is(err, io.EOF) && c.stream.Ended() != "":
		if u != nil {
			u.interrupted()
		}
		return 0, io.ErrUnexpectedEOF
	}
	if n > 0 && u != nil {
		select {
		case <-u.over:
			return 0, errUnasked // net/http would log it, byte by byte
		default:
		}
	}
	return n, err
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
// which it can make nothing: they count as none, and net/http sends the request
// over another connection.
//
// On a connection that was closed meanwhile the rest goes nowhere, without an
// error: whoever reads knows why, and only that lets net/http send a request
// again. But of a WebSocket it must be known what was sent.
func (c *conn) Write(p []byte) (int, error) {
	u := c.use.Load()
	if u == nil || len(p) <= probePiece*len(u.probes) {
		return c.send(p, u)
	}
	at := 0
	for _, pause := range u.probes {
		if n, err := c.send(p[at:at+probePiece], u); err != nil {
			return at + n, err
		}
		at += probePiece
		if c.ends(pause) && u.once {
			return 0, errEnded
		}
	}
	u.probes = nil
	n, err := c.send(p[at:], u)
	return at + n, err
}

var errEnded = errors.New("the service had ended the connection before the request")

// send writes a part of a request. A request of which nothing was written when
// the connection was closed is known as such.
func (c *conn) send(p []byte, u *use) (n int, err error) {
	if u != nil && u.upgraded.Load() != nil {
		return c.UnixConn.Write(p)
	}
	if !c.closed.Load() {
		n, err = c.UnixConn.Write(p)
	}
	if u != nil {
		u.begun = u.begun || n > 0
	}
	if !c.closed.Load() {
		return n, err
	}
	if u != nil && !u.begun {
		return 0, net.ErrClosed
	}
	if u != nil && n < len(p) {
		u.cut.Store(true)
	}
	return len(p), nil
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

// Begin notes that a request uses the connection.
func (c *conn) Begin(idle time.Duration, once bool, interrupted func()) forward.Use {
	u := &use{conn: c, once: once, interrupted: interrupted, over: make(chan struct{}), answered: make(chan struct{})}
	u.began = sync.OnceFunc(func() { close(u.answered) })
	switch {
	case once && idle > 0:
		u.probes = onceProbes
	case idle >= probeAfter:
		u.probes = probes
	}
	c.use.Store(u)
	return u
}

// Answered looks at the head of the answer.
func (u *use) Answered(answer *http.Response) {
	u.began()
	switch {
	case answer.StatusCode == http.StatusSwitchingProtocols:
		if stream, ok := answer.Body.(io.ReadWriteCloser); ok && isWebSocket(answer) {
			ws := newWebSocket(stream, u.conn)
			u.upgraded.Store(ws)
			answer.Body = ws
		}
	case answer.ContentLength < 0 && len(answer.TransferEncoding) == 0:
		answer.Body = &untilClose{answer.Body, u.conn}
	}
}

// End ends the use.
func (u *use) End(outcome forward.Outcome) {
	u.outcome = outcome
	close(u.over)
}

// Close takes leave of the client, which may take a moment.
func (c *conn) Close() error {
	if !c.closed.CompareAndSwap(false, true) {
		return net.ErrClosed
	}
	_ = c.UnixConn.SetReadDeadline(wsock.LongAgo) // who waits for a quiet service is told at once
	if u := c.use.Load(); u == nil || u.upgraded.Load() == nil {
		_ = c.UnixConn.SetWriteDeadline(wsock.LongAgo) // so is who writes to a client that takes nothing
	}
	wsock.StartPump(c.mux.Host().Log(), "inner leave", c.leave, func() { c.UnixConn.Close() })
	return nil
}

// ends waits for the stream's end, which the client brings about, and reports
// whether it came.
func (c *conn) ends(within time.Duration) bool {
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case <-c.stream.Done():
		return true
	case <-late.C:
		return false
	}
}

// An untilClose is a body that lasts until the service closes the connection.
// This client does not tell that end, unless it fails to write. So such a
// service is written to now and then while it is silent. Should it not have
// ended, that does no harm: it reads no request after this one (RFC 9112,
// section 9.6).
type untilClose struct {
	io.ReadCloser
	conn *conn
}

const (
	// silence is how long such a body is silent before its service is written
	// to, and between that and the next.
	silence = 2 * time.Second
	// silences is how often that is done at most while nothing comes.
	silences = 30
)

func (b *untilClose) Read(p []byte) (int, error) {
	came := make(chan struct{})
	defer close(came)
	wsock.StartPump(b.conn.mux.Host().Log(), "silence", func() { b.breakSilence(came) }, func() {})
	return b.ReadCloser.Read(p)
}

func (b *untilClose) breakSilence(came <-chan struct{}) {
	look := time.NewTicker(silence)
	defer look.Stop()
	for range silences {
		select {
		case <-came:
			return
		case <-look.C:
			_, _ = b.conn.UnixConn.Write([]byte{'\n'})
		}
	}
}
