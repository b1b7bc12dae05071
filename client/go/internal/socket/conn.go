package socket

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/gorilla/websocket"
)

// A Kind is what a message is framed as.
type Kind int

// The kinds of messages.
const (
	Text   Kind = websocket.TextMessage
	Binary Kind = websocket.BinaryMessage
)

// A Conn is one WebSocket that is open. It has one reader, which calls Next and
// Read, and one writer, which calls what is named Write or Flush, and Close.
// Any goroutine may call the others.
type Conn struct {
	// OnPing and OnPong are called by Next and Read; set before these. The
	// payload of a ping is to be written by WritePong.
	OnPing func(payload string)
	OnPong func()

	ws     *websocket.Conn
	wire   *wire
	reader io.Reader // of the message that has begun
}

func newConn(ws *websocket.Conn, w *wire) *Conn {
	c := &Conn{ws: ws, wire: w}
	w.holds = true
	ws.SetPingHandler(func(payload string) error {
		if c.OnPing != nil {
			c.OnPing(payload)
		}
		return nil
	})
	ws.SetPongHandler(func(string) error {
		if c.OnPong != nil {
			c.OnPong()
		}
		return nil
	})
	ws.SetCloseHandler(func(int, string) error { return nil }) // the session answers
	return c
}

// Resumes reports whether the server has selected wsproxy.resume.
func (c *Conn) Resumes() bool { return c.ws.Subprotocol() == protocolResume }

// LocalAddr returns the near end of the TCP connection.
func (c *Conn) LocalAddr() net.Addr { return c.wire.raw.LocalAddr() }

// Next waits until a message begins, and returns its kind; Read reads it. What
// is left of the one before is skipped. The error is a [*CloseError] behind a
// close frame, and anything else where there was none.
func (c *Conn) Next() (Kind, error) {
	kind, reader, err := c.ws.NextReader()
	c.reader = reader
	return Kind(kind), told(err)
}

// Read reads from the message that Next has begun, and returns io.EOF at its end.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := c.reader.Read(b)
	if err != nil && err != io.EOF {
		err = told(err)
	}
	return n, err
}

func told(err error) error {
	var closed *websocket.CloseError
	if errors.As(err, &closed) && closed.Code != websocket.CloseAbnormalClosure { // which gorilla makes of an EOF
		return &CloseError{Code: closed.Code, Reason: plain(closed.Text)}
	}
	if closed != nil {
		return errCut
	}
	return err
}

// errCut is of a TCP connection that has ended without a close frame.
var errCut = fmt.Errorf("the connection was cut: %w", io.ErrUnexpectedEOF)

// SetReadDeadline bounds the waiting of Next and Read, after which the Conn is
// of no use. Any goroutine may call it.
func (c *Conn) SetReadDeadline(t time.Time) { _ = c.wire.raw.SetReadDeadline(t) }

// SetWriteDeadline bounds the waiting of what writes, after which the Conn is of no
// use. Any goroutine may call it.
func (c *Conn) SetWriteDeadline(t time.Time) { _ = c.wire.raw.SetWriteDeadline(t) }

// Write writes a message of the pieces, one behind the other, as one frame, which
// waits for Flush. It keeps none of them.
func (c *Conn) Write(kind Kind, pieces ...[]byte) { c.wire.message(kind, pieces) }

// WritePing writes a ping of the WebSocket protocol, and WritePong answers one. They
// wait for Flush, too.
func (c *Conn) WritePing() error {
	return c.ws.WriteControl(websocket.PingMessage, nil, time.Time{})
}

// WritePong answers a ping with its payload.
func (c *Conn) WritePong(payload string) error {
	return c.ws.WriteControl(websocket.PongMessage, []byte(payload), time.Time{})
}

// Flush sends what waits.
func (c *Conn) Flush() error { return c.wire.flush() }

// IsFull reports whether so much waits that it is to be sent before more is written.
func (c *Conn) IsFull() bool { return len(c.wire.held) > joined }

// Tries reports whether there is TryFlush: not with TLS, nor on Windows.
func (c *Conn) Tries() bool { return c.wire.try != nil }

// TryFlush sends what the kernel takes at once, and reports whether that is all. Else
// Flush sends the rest.
func (c *Conn) TryFlush() (all bool, err error) { return c.wire.tryFlush() }

// Close sends a close frame, behind all that was written. Nothing may be written
// after it. The code 1005 stands for a frame without one.
func (c *Conn) Close(code int, reason string) error {
	c.wire.closes.Store(true)
	if len(reason) > maxReason {
		reason = reason[:maxReason]
	}
	if err := c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Time{}); err != nil {
		return err
	}
	return c.wire.flush()
}

// maxReason is how many bytes the reason in a close frame may have.
const maxReason = 123

// Abandon ends the TCP connection at once, which ends what the reader and the
// writer wait for.
func (c *Conn) Abandon() { c.wire.abandon() }

// Linger ends the TCP connection behind both close frames, in its own time. Neither
// reader nor writer may use the Conn any more.
func (c *Conn) Linger() { go c.wire.linger() }

// Came returns how many bytes have come.
func (c *Conn) Came() uint64 { return c.wire.came.Load() }

// Written returns how many bytes the kernel has taken.
func (c *Conn) Written() uint64 { return c.wire.written.Load() }

// Acked returns how many bytes the kernel of the other end has acknowledged, or 0
// where that can't be told: only Linux tells.
func (c *Conn) Acked() uint64 { return c.wire.acked() }
