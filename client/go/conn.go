package wsproxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"wsproxy/client/go/internal/session"
	"wsproxy/transport/wsock"
)

const (
	// writeAhead is how many bytes may wait that were written and are not sent:
	// enough for the next message while one is on its way.
	writeAhead = 128 << 10
	// closeStall is how long what was written before Close may make no progress,
	// before it is given up.
	closeStall = 2 * time.Minute
)

// closeReset is what a client says that leaves in the middle: the server resets
// its target.
const closeReset = 3000

var (
	errHalf  = fmt.Errorf("the server can't end one direction alone: %w", errors.ErrUnsupported)
	errEnded = fmt.Errorf("the other side has ended the connection: %w", io.ErrClosedPipe)
)

// A Conn is a connection that Dial has made: a net.Conn whose methods any
// goroutine may call.
//
// With a server that supports it, which [Conn.Resumable] tells, it outlives the
// WebSocket that carries it: after a change of network or the restart of a front
// proxy it goes on where it was, for as long as the server waits (15 minutes by
// default). Reads and writes wait meanwhile.
type Conn struct {
	session *session.Session
	remote  Addr

	mu       sync.Mutex
	readable sync.Cond // of mu
	writable sync.Cond // of mu
	in, out  queue
	read     deadline
	write    deadline
	into     []byte // a Read that waits, for what comes next
	got      int    // bytes that into has got
	writing  bool   // a Write is under way: another one waits for its end
	hungry   bool   // the session waits for Wake
	finished bool   // CloseWrite
	closed   bool   // Close
	peerEnd  bool   // the target has no more
	ended    bool   // the session
	err      error  // how it has ended
	lost     int    // bytes that were written and could not be sent
}

// An Addr is the address of a target, as it was given to Dial.
type Addr struct{ HostPort string }

// Network returns "wsproxy".
func (Addr) Network() string { return "wsproxy" }

func (a Addr) String() string { return a.HostPort }

func newConn(target string) *Conn {
	c := &Conn{remote: Addr{target}}
	c.readable.L, c.writable.L = &c.mu, &c.mu
	return c
}

func (c *Conn) begin(ctx context.Context, o session.Options) (err error) {
	c.session, err = session.Open(ctx, o)
	return err
}

// Read reads what the target has sent. It returns io.EOF behind the last byte of a
// target that has ended its sending side in order, and a [*CloseError] or an error
// that wraps [ErrReplaced] or [ErrSessionLost] behind what has come before another
// end.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.readSome(b)
	if n > 0 {
		c.session.Passed(int64(n))
	}
	return n, err
}

func (c *Conn) readSome(b []byte) (n int, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(b) == 0 {
		return 0, nil
	}
	mine := false
	for {
		if mine && c.got > 0 {
			n, c.into, c.got = c.got, nil, 0
			c.readable.Signal() // who waits beside it takes its place
			return n, nil
		}
		if err = c.readErr(); err != nil || c.in.size > 0 {
			break
		}
		if c.into == nil {
			c.into, mine = b, true // spares a copy
		}
		c.readable.Wait()
	}
	if mine {
		c.into = nil
		c.readable.Signal()
	}
	if err != nil {
		return 0, err
	}
	return c.in.read(b), nil
}

// readErr returns why nothing can be read. Under mu.
func (c *Conn) readErr() error {
	switch {
	case c.closed:
		return net.ErrClosed
	case c.read.expired:
		return c.read.err()
	case c.in.size > 0:
		return nil
	case c.ended && c.err != nil:
		return c.err
	case c.peerEnd || c.ended:
		return io.EOF
	}
	return nil
}

// WriteTo is Read without a copy, for io.Copy.
func (c *Conn) WriteTo(w io.Writer) (total int64, err error) {
	for {
		next, err := c.nextChunk()
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		n, err := w.Write(next.bytes())
		wsock.GiveBuffer(next.buf)
		c.session.Passed(int64(next.end - next.start))
		if total += int64(n); err != nil {
			return total, err
		}
	}
}

func (c *Conn) nextChunk() (chunk, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if err := c.readErr(); err != nil {
			return chunk{}, err
		}
		if c.in.size > 0 {
			return c.in.pop(), nil
		}
		c.readable.Wait()
	}
}

// Write has the target sent a copy of b. It returns when little of what was
// written waits, and not when the target has it: [Conn.Shutdown] tells that.
func (c *Conn) Write(b []byte) (n int, err error) {
	if err := c.beginWrite(); err != nil {
		return 0, err
	}
	defer c.endWrite()
	for {
		m, wake, err := c.writeSome(b[n:])
		if n += m; wake {
			c.session.Wake()
		}
		if err != nil || n == len(b) {
			return n, err
		}
	}
}

// writeSome queues what there is room for, and waits for some. wake says that the
// session is to be woken, which the lock is no place for.
func (c *Conn) writeSome(b []byte) (n int, wake bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.awaitRoom(); err != nil {
		return 0, false, err
	}
	n = min(len(b), writeAhead-c.out.size)
	c.out.append(b[:n])
	return n, c.wakes(), nil
}

// awaitRoom waits until something may be written. Under mu.
func (c *Conn) awaitRoom() error {
	for {
		if err := c.writeErr(); err != nil || c.out.size < writeAhead {
			return err
		}
		c.writable.Wait()
	}
}

// wakes reports whether the session waits for Wake. Under mu.
func (c *Conn) wakes() bool {
	wake := c.hungry && c.out.size > 0
	c.hungry = c.hungry && !wake
	return wake
}

func (c *Conn) writeErr() error {
	switch {
	case c.closed || c.finished:
		return net.ErrClosed
	case c.write.expired:
		return c.write.err()
	case c.ended && c.err != nil:
		return c.err
	case c.ended:
		return errEnded
	}
	return nil
}

// beginWrite waits for the Write before.
func (c *Conn) beginWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if err := c.writeErr(); err != nil {
			return err
		}
		if !c.writing {
			c.writing = true
			return nil
		}
		c.writable.Wait()
	}
}

func (c *Conn) endWrite() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writing = false
	c.writable.Broadcast()
}

// ReadFrom is Write without a copy, for io.Copy.
func (c *Conn) ReadFrom(r io.Reader) (total int64, err error) {
	if err := c.beginWrite(); err != nil {
		return 0, err
	}
	defer c.endWrite()
	for {
		if err := c.await(); err != nil {
			return total, err
		}
		buf := wsock.TakeBuffer()
		n, err := r.Read(buf[:])
		if total += int64(n); n == 0 {
			wsock.GiveBuffer(buf)
		} else if c.give(chunk{buf, 0, n}) {
			c.session.Wake()
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

func (c *Conn) await() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.awaitRoom()
}

// give queues a chunk, and reports whether the session is to be woken.
func (c *Conn) give(next chunk) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if next.end < wsock.Poolable { // most of the buffer would be empty
		c.out.append(next.bytes())
		wsock.GiveBuffer(next.buf)
	} else {
		c.out.push(next)
	}
	return c.wakes()
}

// LocalAddr returns the near end of the TCP connection that the WebSocket was
// opened on.
func (c *Conn) LocalAddr() net.Addr { return c.session.LocalAddr() }

// RemoteAddr returns the target as it was given to Dial, an [Addr].
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *Conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// SetReadDeadline bounds the waiting of Read, now and later. The zero Time is no
// bound. What comes later can be read after another call.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read.set(t, &c.readable)
	return nil
}

// SetWriteDeadline bounds the waiting of Write, now and later. The zero Time is no
// bound. What was written is sent, whatever the deadline.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.write.set(t, &c.writable)
	return nil
}
