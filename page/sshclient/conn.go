package sshclient

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// A watchedConn remembers what ended a connection: x/crypto makes of most ends a
// plain EOF, and goes on asking for passwords after them.
type watchedConn struct {
	net.Conn
	onFirst func()             // called with the first bytes that are read
	gone    context.CancelFunc // called when the connection has ended
	first   atomic.Bool
	// The time of the last read that brought something, in nanoseconds of the monotonic clock since start.
	lastRead atomic.Int64
	start    time.Time

	mu     sync.Mutex
	err    error // what the other side or the network has done
	closed bool  // by this side
}

func watch(conn net.Conn, onFirst func(), gone context.CancelFunc) *watchedConn {
	return &watchedConn{Conn: conn, onFirst: onFirst, gone: gone, start: time.Now()}
}

func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.lastRead.Store(int64(time.Since(c.start)))
		if !c.first.Swap(true) {
			c.onFirst()
		}
	}
	if err != nil {
		c.fail(err)
	}
	return n, err
}

func (c *watchedConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	if err != nil {
		c.fail(err)
	}
	return n, err
}

func (c *watchedConn) fail(err error) {
	c.mu.Lock()
	if c.err == nil && !c.closed {
		c.err = err
	}
	c.mu.Unlock()
	c.gone()
}

// Close closes the connection. What fails afterwards is no loss.
func (c *watchedConn) Close() error {
	c.mu.Lock()
	again := c.closed
	c.closed = true
	c.mu.Unlock()
	if again {
		return nil
	}
	c.gone()
	return c.Conn.Close()
}

// abort closes the connection because of err, which is its end from then on.
func (c *watchedConn) abort(err error) {
	c.mu.Lock()
	if c.err == nil && !c.closed {
		c.err = err
	}
	c.mu.Unlock()
	c.Close()
}

// lost returns what ended the connection, or nil when it lives or was closed by this side.
func (c *watchedConn) lost() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// heard reports whether a byte has come.
func (c *watchedConn) heard() bool { return c.first.Load() }

// silence is the time since something came.
func (c *watchedConn) silence() time.Duration {
	return time.Since(c.start) - time.Duration(c.lastRead.Load())
}

var errUnanswered = errors.New("no answer")
