package socket

import (
	"io"
	"net"
	"os"
	"syscall"

	"wsproxy/transport/wsock/kernel"
)

// calls read a TCP connection by the calls of package kernel, which cost the scheduler less
// than those of package net. They belong to one reader.
type calls struct {
	conn    net.Conn
	raw     syscall.RawConn
	attempt func(fd uintptr) bool // made once so that reading allocates nothing
	b       []byte
	n       int
	err     error
}

func newCalls(conn net.Conn, raw syscall.RawConn) *calls {
	c := &calls{conn: conn, raw: raw}
	c.attempt = func(fd uintptr) bool {
		for {
			if c.n, c.err = kernel.Read(fd, c.b); c.err != syscall.EINTR {
				return c.err != syscall.EAGAIN
			}
		}
	}
	return c
}

// Read reads as of the connection.
func (c *calls) Read(b []byte) (int, error) {
	c.b = b
	err := c.raw.Read(c.attempt)
	c.b = nil
	switch {
	case err != nil:
		return 0, err
	case c.err != nil:
		return 0, &net.OpError{Op: "read", Net: "tcp", Source: c.conn.LocalAddr(), Addr: c.conn.RemoteAddr(), Err: os.NewSyscallError("read", c.err)}
	case c.n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	return c.n, nil
}
