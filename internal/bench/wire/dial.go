package wire

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

const (
	dialTimeout  = 10 * time.Second
	closeTimeout = time.Second
)

// Dial opens the i-th TCP connection of the run, from one of its source addresses. The
// end of the run closes it.
func (r *Run) Dial(i int, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: -1}
	d.LocalAddr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(i%sources+2))}
	conn, err := d.DialContext(r.ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return r.closeAtEnd(conn), nil
}

// A runConn is a connection that the end of the run closes.
type runConn struct {
	*net.TCPConn
	forget func() bool
}

func (r *Run) closeAtEnd(conn net.Conn) *runConn {
	return &runConn{conn.(*net.TCPConn), context.AfterFunc(r.ctx, func() { conn.Close() })}
}

func (c *runConn) Close() error {
	c.forget()
	return c.TCPConn.Close()
}

// reset ends a connection as one that broke does: with a reset.
func reset(conn net.Conn) {
	if c, ok := conn.(*runConn); ok {
		_ = c.SetLinger(0)
	}
	conn.Close()
}

// Buffers are the sizes of a WebSocket's buffers in the load, in bytes. A message within
// Write is one frame.
type Buffers struct{ Read, Write int }

// OpenSocket opens the i-th WebSocket of the run. pathAndQuery begins with a slash.
func (r *Run) OpenSocket(i int, pathAndQuery string, buffers Buffers, protocols ...string) (*websocket.Conn, error) {
	d := websocket.Dialer{
		HandshakeTimeout: dialTimeout, ReadBufferSize: buffers.Read, WriteBufferSize: buffers.Write, Subprotocols: protocols,
		NetDialContext: func(_ context.Context, _, addr string) (net.Conn, error) { return r.Dial(i, addr) },
	}
	ws, answer, err := d.DialContext(r.ctx, "ws://"+r.Server+pathAndQuery, nil)
	if errors.Is(err, websocket.ErrBadHandshake) && answer != nil {
		body, _ := io.ReadAll(io.LimitReader(answer.Body, 200))
		return nil, fmt.Errorf("the server answered %s with %s (%s)", pathAndQuery, answer.Status, strings.TrimSpace(string(body)))
	}
	if err != nil {
		return nil, fmt.Errorf("no WebSocket for %s: %w", pathAndQuery, err)
	}
	return ws, nil
}

// CloseSocket closes ws in the orderly way, and reports whether the server ended its
// side in time.
func CloseSocket(ws *websocket.Conn) bool {
	defer ws.Close()
	deadline := time.Now().Add(closeTimeout)
	if ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), deadline) != nil {
		return false
	}
	_ = ws.SetReadDeadline(deadline)
	for {
		if _, _, err := ws.NextReader(); err != nil {
			var timeout net.Error
			return !(errors.As(err, &timeout) && timeout.Timeout())
		}
	}
}

// readMessage reads one message into buf, which grows as needed.
func readMessage(ws *websocket.Conn, buf []byte) (kind int, message []byte, err error) {
	kind, r, err := ws.NextReader()
	if err != nil {
		return 0, buf, err
	}
	message = buf[:0]
	for {
		if len(message) == cap(message) {
			message = append(message, 0)[:len(message)]
		}
		n, err := r.Read(message[len(message):cap(message)])
		message = message[:len(message)+n]
		if err == io.EOF {
			return kind, message, nil
		}
		if err != nil {
			return 0, message, err
		}
	}
}
