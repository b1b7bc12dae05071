//go:build js

package main

import (
	"context"
	"io"
	"net"
	"sync"
	"syscall/js"
	"time"
)

// maxOutgoing bounds, in bytes, what waits for the writable to want more. What has come together
// meanwhile is written at once, as each write there and back costs as much as encrypting 16 KiB.
const maxOutgoing = 256 << 10

// A duplexConn makes a net.Conn of a pair of streams. One goroutine reads, and one writes.
type duplexConn struct {
	reader, writer js.Value
	rest           []byte // of the last chunk
	ctx            context.Context
	cancel         context.CancelFunc
	once           sync.Once

	mu       sync.Mutex
	outgoing []byte
	err      error         // of the writable
	wake     chan struct{} // something is outgoing
	room     chan struct{} // there is room again
}

func newDuplexConn(duplex js.Value) *duplexConn {
	c := &duplexConn{
		reader: duplex.Get("readable").Call("getReader"),
		writer: duplex.Get("writable").Call("getWriter"),
		wake:   make(chan struct{}, 1),
		room:   make(chan struct{}, 1),
	}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	// A failure is seen by reading or writing.
	c.reader.Get("closed").Call("catch", ignore)
	c.writer.Get("closed").Call("catch", ignore)
	go c.pump()
	return c
}

// Read waits for the next chunk, of which it keeps what p has no room for.
func (c *duplexConn) Read(p []byte) (int, error) {
	for len(c.rest) == 0 {
		result, err := call(c.ctx, c.reader, "read")
		if err != nil {
			return 0, c.fault(err)
		}
		if result.Get("done").Bool() {
			return 0, io.EOF
		}
		if c.rest, err = toGo(result.Get("value")); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// Write waits for room, not until p is on its way. What becomes of it is seen by the next one.
func (c *duplexConn) Write(p []byte) (int, error) {
	for {
		c.mu.Lock()
		err, full := c.err, len(c.outgoing) >= maxOutgoing
		if err == nil && !full {
			c.outgoing = append(c.outgoing, p...)
		}
		c.mu.Unlock()
		switch {
		case err != nil:
			return 0, c.fault(err)
		case !full:
			signal(c.wake)
			return len(p), nil
		}
		select {
		case <-c.room:
		case <-c.ctx.Done():
			return 0, net.ErrClosed
		}
	}
}

// pump writes what is outgoing whenever the stream wants more.
func (c *duplexConn) pump() {
	for {
		select {
		case <-c.wake:
		case <-c.ctx.Done():
			return
		}
		_, err := await(c.ctx, c.writer.Get("ready"))
		c.mu.Lock()
		chunk := toJS(c.outgoing)
		c.outgoing, c.err = c.outgoing[:0], err
		c.mu.Unlock()
		signal(c.room)
		if err != nil {
			return
		}
		c.writer.Call("write", chunk).Call("catch", ignore)
	}
}

func signal(to chan<- struct{}) {
	select {
	case to <- struct{}{}:
	default:
	}
}

func (c *duplexConn) fault(err error) error {
	if c.ctx.Err() != nil {
		return net.ErrClosed
	}
	return err
}

// Close closes both streams. Nobody waits for them.
func (c *duplexConn) Close() error {
	c.once.Do(func() {
		c.cancel()
		_, _ = guarded(func() (any, error) {
			c.reader.Call("cancel").Call("catch", ignore)
			c.writer.Call("close").Call("catch", ignore)
			return nil, nil
		})
	})
	return nil
}

type duplexAddr struct{}

func (duplexAddr) Network() string { return "stream" }
func (duplexAddr) String() string  { return "stream" }

// The rest makes it a net.Conn. Nobody sets deadlines.
func (c *duplexConn) LocalAddr() net.Addr              { return duplexAddr{} }
func (c *duplexConn) RemoteAddr() net.Addr             { return duplexAddr{} }
func (c *duplexConn) SetDeadline(time.Time) error      { return nil }
func (c *duplexConn) SetReadDeadline(time.Time) error  { return nil }
func (c *duplexConn) SetWriteDeadline(time.Time) error { return nil }
