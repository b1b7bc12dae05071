package tap

import (
	"context"
	"io"
	"net"
	"sync"

	"wsproxy/command/expose/stall"
)

// A conn joins one connection of the proxy to one of the service. Two goroutines pass
// its bytes: the one that serves it those of the requests, another those of the
// answers.
type conn struct {
	tap    *Tap
	stream Stream
	w      *watch

	guard  stall.Guard // of writes to the service
	direct *direct     // the service's, or nil; of the goroutine of the requests

	answered chan struct{} // closed when no answers are passed any more

	mu      sync.Mutex
	service net.Conn // nil until it is dialed; set by the goroutine of the requests
	aborted bool     // the proxy's side was cut: so is the service's
	closing bool     // the connection was idle when the proxy ended it
}

func newConn(t *Tap, stream Stream, w *watch) *conn {
	c := &conn{tap: t, stream: stream, w: w, answered: make(chan struct{})}
	c.guard.Abort = c.abort
	c.guard.Broken = func() bool {
		_, err := stream.Write(nil) // says what a reset has left
		return err != nil
	}
	return c
}

// dial opens the connection to the service, and begins to pass its answers.
func (c *conn) dial(ctx context.Context) error {
	service, err := c.tap.Service.Dial(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.service = service
	aborted := c.aborted
	c.mu.Unlock()
	if aborted {
		cut(service)
	}
	c.direct = newDirect(service)
	go c.answers(service, c.direct)
	return nil
}

// requests passes what comes from the proxy until that ends.
func (c *conn) requests() {
	_, err := io.Copy(&toService{c: c}, c.stream)
	c.requestsEnded(err)
}

// requestsEnded tells the service how the proxy's side has ended: nil is in order.
func (c *conn) requestsEnded(err error) {
	switch {
	case err != nil:
		c.abort()
	case c.service == nil:
	case c.w.idle():
		c.close()
	default:
		// One that can't be told so goes on: what it sends is wanted.
		if s, ok := c.service.(interface{ CloseWrite() error }); ok {
			_ = s.CloseWrite()
		}
	}
}

// close ends the service's connection, on which nothing is under way.
func (c *conn) close() {
	c.mu.Lock()
	c.closing = true
	service := c.service
	c.mu.Unlock()
	if service != nil {
		_ = service.Close()
	}
}

// quit ends both sides, in order if nothing is under way: then what was written last
// still reaches the outside.
func (c *conn) quit() {
	if c.w.idle() {
		c.close()
		_ = c.stream.Close()
		return
	}
	_ = c.stream.Reset() // before the other side, whose end would end this one in order
	c.abort()
}

// answers passes what comes from the service until that ends, and ends both.
func (c *conn) answers(service net.Conn, direct *direct) {
	defer close(c.answered)
	defer service.Close()
	from := &fromService{Reader: service, w: c.w}
	if direct != nil {
		from.Reader = direct
	}
	if _, err := io.Copy(c.stream, from); from.err != nil {
		c.answersEnded(from.err)
	} else if err != nil {
		c.abort()
		_ = c.stream.Close()
	}
}

// answersEnded tells the proxy how the service's side has ended.
func (c *conn) answersEnded(err error) {
	c.mu.Lock()
	aborted, closing := c.aborted, c.closing
	c.mu.Unlock()
	if aborted || closing {
		_ = c.stream.Close()
		return
	}
	switch c.w.serviceEnded(err == io.EOF) {
	case endCut:
		c.markAborted()
		_ = c.stream.Reset()
	case endUnserved:
		c.unserved()
	default:
		_ = c.stream.Close()
	}
}

// abort ends the service's connection at once, so that the service sees it as cut.
func (c *conn) abort() {
	c.mu.Lock()
	c.aborted = true
	service := c.service
	c.mu.Unlock()
	if service != nil {
		cut(service)
	}
}

func (c *conn) markAborted() {
	c.mu.Lock()
	c.aborted = true
	c.mu.Unlock()
}

func (c *conn) isAborted() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.aborted
}

// cut closes a connection by a reset, where that is possible.
func cut(conn net.Conn) {
	inner := conn
	if secured, ok := conn.(interface{ NetConn() net.Conn }); ok {
		inner = secured.NetConn()
	}
	if tcp, ok := inner.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = inner.Close()
}
