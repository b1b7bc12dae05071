package socket

import (
	"net"
	"syscall"

	"wsproxy/transport/wsock/kernel"
)

// calls read and write a TCP connection by the calls of package kernel, which cost the
// scheduler less than those of package net.
type calls struct {
	conn net.Conn
	raw  syscall.RawConn
}

// Read reads as of the connection.
func (c *calls) Read(b []byte) (int, error) {
	n, err := kernel.Receive(c.raw, b)
	return n, kernel.Failed(c.conn, "read", err)
}

// Write writes as to the connection.
func (c *calls) Write(b []byte) (int, error) {
	n, err := kernel.Send(c.raw, b)
	return n, kernel.Failed(c.conn, "write", err)
}
