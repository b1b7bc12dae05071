package kernel

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

const (
	// maxPieces is how many pieces the systems take at once (IOV_MAX).
	maxPieces = 1024
	// keptPieces is for how many pieces a call keeps room: a batch of small messages has
	// thousands, and a read that has got the same call may wait for hours.
	keptPieces = 64
)

// A call is one of the kernel, or several that follow each other. It is borrowed for as long
// as that takes: nothing is allocated, and no connection at rest has one.
type call struct {
	b             []byte   // of Receive
	p             [][]byte // of Send
	left          [][]byte // of p: what the kernel has not taken yet
	n             int
	err           error
	read, written func(fd uintptr) bool // made once
}

var calls = sync.Pool{New: func() any {
	c := &call{}
	c.read = func(fd uintptr) bool {
		for {
			if c.n, c.err = Read(fd, c.b); c.err != syscall.EINTR {
				return c.err != syscall.EAGAIN
			}
		}
	}
	c.written = func(fd uintptr) bool {
		for len(c.left) > 0 {
			n, err := WriteAll(fd, c.left[:min(len(c.left), maxPieces)])
			c.took(max(n, 0))
			if err == syscall.EAGAIN {
				return false
			}
			if err != nil && err != syscall.EINTR {
				c.err = err
				return true
			}
		}
		return true
	}
	return c
}}

// took notes that the kernel has taken n bytes of what is left.
func (c *call) took(n int) {
	c.n += n
	for len(c.left) > 0 && n >= len(c.left[0]) {
		n -= len(c.left[0])
		c.left = c.left[1:]
	}
	if n > 0 {
		c.left[0] = c.left[0][n:]
	}
}

// Receive reads from a TCP connection, and waits, as net.Conn.Read does. The error is io.EOF
// at the end of the stream, the kernel's, or what a deadline or Close of the connection
// causes: see [Failed].
func Receive(raw syscall.RawConn, b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	c := calls.Get().(*call)
	c.b = b
	if n, err = c.end(raw.Read(c.read)); n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// Send writes all of the pieces to a TCP connection, one behind the other, and waits, as
// net.Buffers and net.Conn.Write do. n is how many bytes the kernel has taken; errors are
// those of [Receive], without io.EOF.
func Send(raw syscall.RawConn, p ...[]byte) (n int, err error) {
	c := calls.Get().(*call)
	c.p = append(c.p, p...) // p is the caller's
	c.left = c.p
	c.took(0) // no piece that is empty: the kernel would take nothing, and say nothing
	return c.end(raw.Write(c.written))
}

// end returns what came of a call, or why it was not made, and gives it back.
func (c *call) end(unmade error) (n int, err error) {
	n, err = max(c.n, 0), c.err
	if unmade != nil {
		err = unmade
	}
	if clear(c.p); cap(c.p) > keptPieces {
		c.p = nil
	}
	c.b, c.p, c.left, c.n, c.err = nil, c.p[:0], nil, 0, nil
	calls.Put(c)
	return n, err
}

// Failed returns an error of [Receive] or [Send] as the connection's own method of a name,
// "read" or "write", would have it.
func Failed(conn net.Conn, name string, err error) error {
	switch e := err.(type) {
	case *net.OpError:
		e.Op = name // it was "raw-" and that
	case syscall.Errno:
		return &net.OpError{Op: name, Net: "tcp", Source: conn.LocalAddr(), Addr: conn.RemoteAddr(), Err: os.NewSyscallError(name, e)}
	}
	return err
}
