package socket

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"wsproxy/transport/wsock/kernel"
)

// calls read and write a TCP connection by the calls of package kernel, which cost the
// scheduler less than those of package net. They have one reader and one writer.
type calls struct {
	conn          net.Conn
	raw           syscall.RawConn
	in, out       call
	read, written func(fd uintptr) bool // made once so that nothing is allocated
}

// A call is one of the kernel, or several.
type call struct {
	b   []byte
	n   int
	err error
}

func newCalls(conn net.Conn, raw syscall.RawConn) *calls {
	c := &calls{conn: conn, raw: raw}
	c.read = func(fd uintptr) bool {
		for {
			if c.in.n, c.in.err = kernel.Read(fd, c.in.b); c.in.err != syscall.EINTR {
				return c.in.err != syscall.EAGAIN
			}
		}
	}
	c.written = func(fd uintptr) bool {
		for {
			n, err := kernel.Write(fd, c.out.b[c.out.n:])
			c.out.n += max(n, 0)
			switch {
			case err == syscall.EAGAIN:
				return false
			case err != nil && err != syscall.EINTR, c.out.n == len(c.out.b):
				c.out.err = err
				return true
			}
		}
	}
	return c
}

// Read reads as of the connection.
func (c *calls) Read(b []byte) (int, error) {
	c.in = call{b: b}
	err := c.raw.Read(c.read)
	c.in.b = nil
	if err == nil && c.in.err == nil && c.in.n == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	return max(c.in.n, 0), c.failed("read", err, c.in.err)
}

// Write writes as to the connection.
func (c *calls) Write(b []byte) (int, error) {
	c.out = call{b: b}
	err := c.raw.Write(c.written)
	c.out.b = nil
	return c.out.n, c.failed("write", err, c.out.err)
}

// failed returns err, or that of the kernel's call, as package net returns them.
func (c *calls) failed(name string, err, called error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		op.Op = name // it was "raw-" and that
	}
	if err != nil || called == nil {
		return err
	}
	return &net.OpError{Op: name, Net: "tcp", Source: c.conn.LocalAddr(), Addr: c.conn.RemoteAddr(), Err: os.NewSyscallError(name, called)}
}
