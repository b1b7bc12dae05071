package transport

import (
	"bytes"
	"context"
	"net"

	"wsproxy/messages"
	"wsproxy/transport/forward"
)

// Listener returns what the http.Server of s must accept from, in the place of
// l: it counts the requests that net/http answers by itself, because it can't
// read them.
func (s *Server) Listener(l *net.TCPListener) net.Listener { return &listener{l, s.config.Meter} }

type listener struct {
	*net.TCPListener
	meter Meter
}

func (l *listener) Accept() (net.Conn, error) {
	conn, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return &edgeConn{OutsideConn: forward.OutsideConn{TCPConn: conn}, meter: l.meter}, nil
}

// An edgeConn is a connection to the HTTP listener. An upgrade lets go of it,
// and has the TCP connection.
type edgeConn struct {
	forward.OutsideConn
	meter Meter
}

// withConn is for [http.Server.ConnContext]: requests know their connection.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if conn, ok := c.(*edgeConn); ok {
		return forward.WithConn(ctx, &conn.OutsideConn)
	}
	return ctx
}

// ownHeader is the header of net/http's answers to what it can't read. No
// handler's answer is like it: they all have a Date.
var ownHeader = []byte("Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n")

// Write counts an answer that is net/http's own. Behind its status may stand
// what is wrong.
func (c *edgeConn) Write(p []byte) (int, error) {
	if status, found := bytes.CutPrefix(p, []byte("HTTP/1.1 ")); found {
		line, rest, _ := bytes.Cut(status, []byte("\r\n"))
		switch {
		case !bytes.HasPrefix(rest, ownHeader):
		case bytes.HasPrefix(line, []byte("431 ")):
			c.meter.Refused("http", messages.ReasonHeaderTooBig)
			c.DiscardOnClose()
		default:
			c.meter.Refused("http", messages.ReasonBadRequest)
			c.DiscardOnClose()
		}
	}
	return c.OutsideConn.Write(p)
}
