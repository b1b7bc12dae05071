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
	return &edgeConn{HeaderConn: forward.HeaderConn{TCPConn: conn}, meter: l.meter}, nil
}

// An edgeConn is a connection to the HTTP listener. An upgrade lets go of it,
// and has the TCP connection.
type edgeConn struct {
	forward.HeaderConn
	meter Meter
}

// withConn is for [http.Server.ConnContext]: requests know their connection.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if conn, ok := c.(*edgeConn); ok {
		return forward.WithConn(ctx, &conn.HeaderConn)
	}
	return ctx
}

// ownAnswer is how net/http goes on in an answer to what it can't read. No
// handler's answer is like it: they all have a Date.
const ownAnswer = "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"

// Write counts an answer that is net/http's own.
func (c *edgeConn) Write(p []byte) (int, error) {
	switch {
	case bytes.HasPrefix(p, []byte("HTTP/1.1 400 Bad Request"+ownAnswer)):
		c.meter.Refused("http", messages.ReasonBadRequest)
	case bytes.HasPrefix(p, []byte("HTTP/1.1 431 Request Header Fields Too Large"+ownAnswer)):
		c.meter.Refused("http", messages.ReasonHeaderTooBig)
	}
	return c.HeaderConn.Write(p)
}
