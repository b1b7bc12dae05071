package rest

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// After is for how long nothing has come from a connection that goes to rest, at least;
// twice that at most. A reader to which something comes more often is never at rest, and
// wakes up that often to set its deadline anew. Tests set it before there are connections.
var After = 500 * time.Millisecond

// A Conn is a TCP connection whose reader may be at rest.
//
// Nobody sends it there: its one reader, in [Conn.Await], has a deadline of its own for
// that. So who waits for anything else than bytes of the connection is never at rest.
// Whoever sets a deadline, closes the connection or reads it otherwise ends that for
// good, and starts a reader that is at rest: it finds what was set as if it had been
// parked. The first of them and the reader's own deadlines are in one order, by mu.
type Conn struct {
	*net.TCPConn

	looking bool // of the reader: its own deadline is set, or was
	moved   bool // of the reader: something has come since then
	due     bool // of the reader: it is to be at rest
	woken   bool // of the reader: it was at rest, and what it was started for is there
	soon    bool // of the reader: it is to be at rest again if nothing more is there

	mu    sync.Mutex
	stays bool   // under mu: it is at rest never again
	start func() // under mu: starts the reader; nil unless it is at rest
	token uint64 // under mu: its entry in the set while it is at rest
}

// ErrDue is why a reader has to end, and to go on by [Conn.Again].
var ErrDue = errors.New("nothing has come for a while")

// Await is raw.Read(attempt), raw being of the connection, for its one reader. It returns
// ErrDue when nothing has come for a while; of a nil Conn it never does.
func (c *Conn) Await(raw syscall.RawConn, attempt func(fd uintptr) bool) error {
	if c == nil {
		return raw.Read(attempt)
	}
	if c.soon {
		c.soon = false
		came := false
		err := raw.Read(func(fd uintptr) bool {
			came = attempt(fd)
			return true
		})
		if err != nil || came {
			return err
		}
		if !c.isAwake() {
			c.due = true
			return ErrDue
		}
	}
	for {
		if !c.looking && !c.woken {
			c.looking, c.moved = c.look(), false
		}
		c.woken = false
		err := raw.Read(attempt)
		if err == nil {
			c.moved = true
			return nil
		}
		if !c.looking || !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		// It was the reader's own deadline; or one that has taken its place, which the
		// next turn finds again.
		c.looking = false
		if !c.moved && !c.isAwake() {
			c.due = true
			return ErrDue
		}
	}
}

// Soon has the next Await not wait, if the reader was at rest before what it has read
// just now: that is of a kind behind which nothing follows.
func (c *Conn) Soon() { c.soon = supported && !c.looking }

// look sets the reader's own deadline, and reports whether it has.
func (c *Conn) look() bool {
	if !supported {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.stays && c.TCPConn.SetReadDeadline(time.Now().Add(After)) == nil
}

func (c *Conn) isAwake() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stays
}

// Again has start called when the reader, which has ended, is to go on: at once, or
// when there is something for it. start must not wait, and is called by any goroutine.
func (c *Conn) Again(start func()) {
	rests := c != nil && c.due
	if rests {
		c.due, c.woken = false, true
		rests = c.rest(start)
	}
	if !rests {
		start()
	}
}

func (c *Conn) rest(start func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stays {
		return false
	}
	_ = c.TCPConn.SetReadDeadline(time.Time{}) // the reader's own is over
	token, ok := resting.add(c)
	if c.stays = !ok; ok { // or there are no descriptors left, and it needs none to be awake
		c.start, c.token = start, token
	}
	return ok
}

// wake starts the reader that has gone to rest by this token, if it is at rest still.
func (c *Conn) wake(token uint64) {
	c.mu.Lock()
	var start func()
	if c.token == token {
		start = c.awake()
	}
	c.mu.Unlock()
	if start != nil {
		start()
	}
}

// awake takes the Conn out of the set, and returns what starts its reader, nil if it is
// not at rest. Under mu.
func (c *Conn) awake() (start func()) {
	if start = c.start; start != nil {
		resting.remove(c)
		c.start = nil
	}
	return start
}

// stay ends the resting for good, with a last step that nothing comes between, and that is
// told whether the Conn has rested, or could have, until now.
func (c *Conn) stay(last func(first bool) error) error {
	c.mu.Lock()
	first := !c.stays
	c.stays = true
	start := c.awake() // before it may be closed
	err := last(first)
	c.mu.Unlock()
	if start != nil {
		start()
	}
	return err
}

// SetReadDeadline is as that of a TCPConn.
func (c *Conn) SetReadDeadline(t time.Time) error {
	return c.stay(func(bool) error { return c.TCPConn.SetReadDeadline(t) })
}

// SetDeadline is as that of a TCPConn.
func (c *Conn) SetDeadline(t time.Time) error {
	return c.stay(func(bool) error { return c.TCPConn.SetDeadline(t) })
}

// Close is as that of a TCPConn.
func (c *Conn) Close() error { return c.stay(func(bool) error { return c.TCPConn.Close() }) }

// Read is as that of a TCPConn, behind the reader.
func (c *Conn) Read(p []byte) (int, error) {
	c.takeOver()
	return c.TCPConn.Read(p)
}

// WriteTo is as that of a TCPConn, behind the reader.
func (c *Conn) WriteTo(w io.Writer) (int64, error) {
	c.takeOver()
	return c.TCPConn.WriteTo(w)
}

// takeOver sees to it that no deadline of the reader's is met by who reads behind it. Those
// of others stay, also one that is set just now.
func (c *Conn) takeOver() {
	_ = c.stay(func(first bool) error {
		if !first {
			return nil
		}
		return c.TCPConn.SetReadDeadline(time.Time{})
	})
}
