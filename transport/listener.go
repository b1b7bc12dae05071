package transport

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"wsproxy/messages"
	"wsproxy/messages/refused"
	"wsproxy/transport/outside"
	"wsproxy/transport/wsock"
)

// Headers of requests count as memory from freeHeader bytes on, which each
// connection may have, so that ordinary requests cost nothing; and then in steps.
const (
	freeHeader = 4 << 10
	headerStep = 4 << 10
)

// Listener returns what the http.Server of s must accept from, in the place of
// l. It bounds the connections, looks at headers while they come, and counts the
// requests that net/http answers by itself, because it can't read them.
func (s *Server) Listener(l *net.TCPListener) net.Listener { return &listener{l, s} }

// sendBuffer is how many bytes the kernel holds at most of answers that a client
// has not acknowledged, as of a raw connection. An upgrade has more.
const sendBuffer = 256 << 10

type listener struct {
	*net.TCPListener
	server *Server
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptTCP()
		if err != nil {
			return nil, err
		}
		wsock.BoundSendBuffer(conn, sendBuffer)
		if c := l.server.newConn(conn); c.enter() {
			return c, nil
		}
		_ = conn.Close()
	}
}

// An edgeConn is a connection to the HTTP listener. An upgrade lets go of it,
// and has the TCP connection.
type edgeConn struct {
	outside.Conn
	server *Server
	place  place // among the connections

	waiting  net.Conn           // what is being prepared; then there is no TCP connection yet, and nobody reads
	cancel   context.CancelFunc // of its preparation
	peer     net.Addr           // whom it comes from; nil = the peer of the TCP connection
	upgraded func()             // wants to know when it carries a session; may be nil

	receives  atomic.Bool  // a request's header is coming
	failed    atomic.Bool  // it was more than the server takes, and is answered
	deadlines atomic.Int32 // how often a deadline for reading was set since the last request's end

	// The header that comes, or came last. They belong to the goroutine that
	// reads while receives is set, and to the request's when it is not.
	scan    headerScan
	reads   int   // of this header, counted up to 2
	later   bool  // it is not the connection's first
	charged int64 // bytes that count as memory
}

// enter counts the connection as one that is no session. It reports whether
// there is room for it.
func (c *edgeConn) enter() bool { return c.server.conns.enter(c, c.address()) }

// address returns the address of who has connected. A Unix socket's peer has none.
func (c *edgeConn) address() netip.Addr {
	peer, _ := c.RemoteAddr().(*net.TCPAddr)
	return peer.AddrPort().Addr().Unmap()
}

func (c *edgeConn) left() { c.server.conns.leave(c) }

// Close closes the connection. It returns at once.
func (c *edgeConn) Close() error {
	c.server.conns.rest(c) // it may go on discarding
	return c.Conn.Close()
}

// SetReadDeadline sets the deadline for reading.
func (c *edgeConn) SetReadDeadline(t time.Time) error {
	c.deadlines.Add(1)
	return c.Conn.SetReadDeadline(t)
}

// Read reads what comes. It answers a request whose header is more than the
// server takes, and fails. What net/http then has to say is not written.
func (c *edgeConn) Read(p []byte) (int, error) {
	if !c.receives.Load() {
		return c.Conn.Read(p)
	}
	if c.failed.Load() { // net/http may read on behind an error
		return 0, errHeader
	}
	n, err := c.Conn.Read(p)
	if n > 0 && c.receives.Load() { // its request may have begun meanwhile
		if no := c.receive(p[:n]); no != nil {
			c.failed.Store(true)
			c.receives.Store(true) // the header's end may have come, too
			c.answer(no)
			return 0, errHeader
		}
	}
	return n, err
}

// errHeader is one of those that net/http doesn't answer.
var errHeader error = &net.OpError{Op: "read", Net: "tcp", Err: errors.New("the request's header is more than the server takes")}

// receive looks at a part of a header. It returns the answer if the header is
// more than the server takes.
func (c *edgeConn) receive(p []byte) *refusal {
	if c.reads == 0 {
		// For each header net/http sets a deadline to wait for it, and another
		// when its first four bytes are there. If it has read none of them, they
		// have waited in its buffer.
		if c.later && c.deadlines.Load() != 1 {
			c.scan.join()
		}
	}
	c.reads = min(c.reads+1, 2)
	if c.scan.read(p) {
		// Not before: whoever sends half a header would keep others out.
		c.server.conns.work(c)
		c.receives.Store(false)
	}
	// The first read of a header whose beginning was not seen may have brought
	// its body, too, unnoticed.
	if c.scan.fields > maxFields && !(c.scan.partly && c.reads == 1) {
		return &tooManyFields
	}
	if more := int64(c.scan.size) - freeHeader - c.charged; more > 0 && c.server.memory != nil {
		steps := (more + headerStep - 1) / headerStep * headerStep
		if !c.server.memory.Try(steps) {
			if !c.server.conns.makeRoom(c, steps) {
				return &noMemory
			}
			c.server.memory.Add(steps) // what gives way has as much, and is about to end
		}
		c.charged += steps
		c.server.conns.hold(c, steps)
	}
	return nil
}

// answer writes an answer where net/http expects the rest of a request.
func (c *edgeConn) answer(no *refusal) {
	c.refused(c.server.config.Refused, no.reason)
	c.DiscardOnClose()
	_ = c.SetWriteDeadline(time.Now().Add(messages.Linger))
	_, _ = c.Conn.Write(no.bare())
}

// giveBack ends what the header counts as memory. Only the goroutine of its request
// calls it.
func (c *edgeConn) giveBack() {
	if c.charged > 0 {
		c.server.memory.Add(-c.charged)
		c.charged = 0
		c.server.conns.release(c)
	}
}

// connState is for [http.Server.ConnState].
func connState(conn net.Conn, state http.ConnState) {
	c, ok := conn.(*edgeConn)
	if !ok {
		return
	}
	switch state {
	case http.StateIdle: // the next header comes
		c.giveBack()
		c.scan, c.reads, c.later = headerScan{}, 0, true
		c.deadlines.Store(0)
		c.receives.Store(true)
		c.server.conns.rest(c)
	case http.StateHijacked:
		c.giveBack()
		c.server.conns.leave(c)
		if c.upgraded != nil {
			c.upgraded()
		}
	case http.StateClosed:
		c.giveBack()
	}
}

type edgeConnKey struct{}

// withConn is for [http.Server.ConnContext]: requests know their connection.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if conn, ok := c.(*edgeConn); ok {
		return outside.WithConn(context.WithValue(ctx, edgeConnKey{}, conn), &conn.Conn)
	}
	return ctx
}

// received takes note that net/http has read a request's header, and answers
// the request if it may not go on. Else it returns the writer for the answer.
func (s *Server) received(w http.ResponseWriter, r *http.Request) (writer http.ResponseWriter, ok bool) {
	c, ok := r.Context().Value(edgeConnKey{}).(*edgeConn)
	if !ok {
		return w, true
	}
	s.conns.work(c) // unless it was seen to come
	seen := !c.receives.Swap(false) && !c.scan.partly
	if !seen && countFields(r) > maxFields {
		s.config.Refused.Refused(refused.Refusal{
			Endpoint: refused.HTTP, Reason: tooManyFields.reason, Source: s.config.Sources.OfRequest(r), Origin: r.Header.Get("Origin"),
		})
		c.DiscardOnClose()
		outside.Answer(lastAnswer{w}, r, tooManyFields.status, tooManyFields.sentence)
		return nil, false
	}
	if c.doubtful(r, seen) {
		c.DiscardOnClose()
		return lastAnswer{w}, true
	}
	return w, true
}

// countFields counts a request's fields, but for those that net/http hides.
func countFields(r *http.Request) (n int) {
	for _, values := range r.Header {
		n += len(values)
	}
	if r.Host != "" {
		n++
	}
	return n
}

// doubtful reports whether what follows a request may be taken for something
// else by a proxy in front: its length is told in two ways, or in one that its
// version of HTTP doesn't know (RFC 9112, sections 6.1 and 6.3). net/http hides
// the one of them, so that a request that was not seen to come is doubted.
func (c *edgeConn) doubtful(r *http.Request, seen bool) bool {
	chunked := len(r.TransferEncoding) > 0
	if !seen {
		return chunked || !r.ProtoAtLeast(1, 1)
	}
	return c.scan.hasCoding && (c.scan.hasLength || !chunked)
}

// A lastAnswer closes the connection behind the answer.
type lastAnswer struct{ http.ResponseWriter }

func (w lastAnswer) WriteHeader(status int) {
	w.Header().Set("Connection", "close")
	w.ResponseWriter.WriteHeader(status)
}

func (w lastAnswer) Write(p []byte) (int, error) {
	w.Header().Set("Connection", "close") // to no purpose once the header is written
	return w.ResponseWriter.Write(p)
}

// Unwrap is for [http.ResponseController].
func (w lastAnswer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// ownHeader is the header of net/http's answers to what it can't read. No
// handler's answer is like it: they all have a Date.
var ownHeader = []byte("Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n")

// Write counts an answer that is net/http's own. Behind its status may stand
// what is wrong.
func (c *edgeConn) Write(p []byte) (int, error) {
	if c.failed.Load() {
		return 0, errHeader
	}
	if status, found := bytes.CutPrefix(p, []byte("HTTP/1.1 ")); found {
		line, rest, _ := bytes.Cut(status, []byte("\r\n"))
		switch {
		case !bytes.HasPrefix(rest, ownHeader):
		case bytes.HasPrefix(line, []byte("431 ")):
			c.refused(c.server.config.Refused, messages.ReasonHeaderTooBig)
			c.DiscardOnClose()
		default:
			c.refused(c.server.config.Refused, messages.ReasonBadRequest)
			c.DiscardOnClose()
		}
	}
	return c.Conn.Write(p)
}
