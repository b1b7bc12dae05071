package wire

import (
	"fmt"
	"io"
	"net"

	"github.com/gorilla/websocket"
)

// A Client is the WebSocket end of a relay. One goroutine may send while another
// receives.
type Client interface {
	// Send sends p, at most 64 KiB, as one message. It waits while the other side takes
	// no more.
	Send(p []byte) error
	// Receive reads some of what comes next.
	Receive(p []byte) (int, error)
	// Close ends the relay in order, and reports whether the server answered in time.
	Close() bool
}

// plain is a relay that ends with its WebSocket.
type plain struct {
	ws *websocket.Conn
	r  io.Reader // of the message that is being read; only the receiver uses it
}

func (c *plain) Send(p []byte) error { return c.ws.WriteMessage(websocket.BinaryMessage, p) }

func (c *plain) Receive(p []byte) (int, error) {
	for {
		if c.r == nil {
			var err error
			if _, c.r, err = c.ws.NextReader(); err != nil {
				return 0, err
			}
		}
		n, err := c.r.Read(p)
		if err == io.EOF {
			c.r, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (c *plain) Close() bool { return CloseSocket(c.ws) }

// The four ways in which a stream's bytes travel. Each moves n bytes.

// SendTCP sends n bytes of s.
func SendTCP(conn net.Conn, s *Stream, n int64) error {
	for n > 0 {
		wrote, err := conn.Write(s.Next(int(min(n, Period))))
		n -= int64(wrote)
		if err != nil {
			return fmt.Errorf("a TCP connection broke with %d bytes still to send: %w", n, err)
		}
	}
	return nil
}

// ReceiveTCP reads and checks n bytes of s.
func ReceiveTCP(conn net.Conn, s *Stream, n int64) error {
	return receive(conn.Read, s, n, 256<<10)
}

// SendClient sends n bytes of s in messages of a size.
func SendClient(c Client, s *Stream, n, message int64) error {
	for n > 0 {
		size := min(n, message)
		if err := c.Send(s.Next(int(size))); err != nil {
			return fmt.Errorf("a relay broke with %d bytes still to send: %w", n, err)
		}
		n -= size
	}
	return nil
}

// ReceiveClient reads and checks n bytes of s.
func ReceiveClient(c Client, s *Stream, n int64) error {
	return receive(c.Receive, s, n, 64<<10)
}

func receive(read func([]byte) (int, error), s *Stream, n, buffer int64) error {
	buf := make([]byte, min(n, buffer))
	for n > 0 {
		got, err := read(buf)
		if err := s.Check(buf[:got]); err != nil {
			return err
		}
		n -= int64(got)
		if err != nil && n > 0 {
			return fmt.Errorf("a connection ended with %d bytes still to come: %w", n, err)
		}
	}
	if n < 0 {
		return fmt.Errorf("a connection brought %d bytes too many", -n)
	}
	return nil
}
