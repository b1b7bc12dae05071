package kernel

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// A call is one of the kernel, or several that follow each other. It is borrowed for as long
// as that takes: nothing is allocated, and no connection at rest has one.
type call struct {
	b             []byte
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
		for {
			n, err := Write(fd, c.b[c.n:])
			c.n += max(n, 0)
			switch {
			case err == syscall.EAGAIN:
				return false
			case err != nil && err != syscall.EINTR, c.n == len(c.b):
				c.err = err
				return true
			}
		}
	}
	return c
}}

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

// Send writes all of b to a TCP connection, and waits, as net.Conn.Write does. Errors are
// those of [Receive], without io.EOF.
func Send(raw syscall.RawConn, b []byte) (n int, err error) {
	c := calls.Get().(*call)
	c.b = b
	return c.end(raw.Write(c.written))
}

// end returns what came of a call, or why it was not made, and gives it back.
func (c *call) end(unmade error) (n int, err error) {
	n, err = max(c.n, 0), c.err
	if unmade != nil {
		err = unmade
	}
	c.b, c.n, c.err = nil, 0, nil
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
