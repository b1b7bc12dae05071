package transport

import (
	"context"
	"net"
	"time"

	"wsproxy/transport/listen"
	"wsproxy/transport/wsock"
)

// A Preparer makes of what a listener accepts what the edge serves. Its method is called
// by many goroutines, and has an end of its own.
type Preparer interface {
	// Prepare returns a connection that speaks HTTP, or why there is none. It closes
	// nothing but what it has opened; without an error, what it returns closes conn. It
	// returns soon after ctx is done and conn is closed.
	Prepare(ctx context.Context, conn net.Conn) (*listen.Prepared, *listen.Error)
}

// PreparedListener is [Server.Listener] for connections with something before their HTTP.
// Each is counted from the moment it is accepted, and prepared by a goroutine of its own:
// who sends nothing holds up nobody.
func (s *Server) PreparedListener(l net.Listener, p Preparer) net.Listener {
	ctx, cancel := context.WithCancel(context.Background())
	prepared := &preparedListener{Listener: l, server: s, preparer: p, ctx: ctx, cancel: cancel,
		ready: make(chan *edgeConn), failed: make(chan error)}
	go prepared.acceptAll()
	return prepared
}

type preparedListener struct {
	net.Listener
	server   *Server
	preparer Preparer
	ctx      context.Context // done when the listener is closed
	cancel   context.CancelFunc
	ready    chan *edgeConn
	failed   chan error
}

func (l *preparedListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case err := <-l.failed:
		return nil, err
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close closes the connections, too, that are being prepared.
func (l *preparedListener) Close() error {
	l.cancel()
	return l.Listener.Close()
}

// acceptPause is how long a listener that can't accept waits, for instance for want of
// descriptors.
const acceptPause = 50 * time.Millisecond

func (l *preparedListener) acceptAll() {
	for {
		conn, err := l.Listener.Accept()
		if err == nil {
			l.begin(conn)
			continue
		}
		select {
		case l.failed <- err: // net/http goes on, or ends
		case <-l.ctx.Done():
			return
		}
		select {
		case <-time.After(acceptPause):
		case <-l.ctx.Done():
			return
		}
	}
}

// begin prepares a connection, if there is room for it.
func (l *preparedListener) begin(conn net.Conn) {
	// What gives way ends at once, whatever it waits for: nobody counts it any more.
	ctx, cancel := context.WithCancel(l.ctx)
	waiting := &edgeConn{server: l.server, waiting: conn, cancel: cancel, peer: conn.RemoteAddr()}
	if !waiting.enter() {
		cancel()
		_ = conn.Close()
		return
	}
	closed := context.AfterFunc(ctx, func() { _ = conn.Close() })
	go func() {
		defer cancel()
		prepared, err := l.preparer.Prepare(ctx, conn)
		closed()
		if stayed := l.server.conns.leave(waiting); err != nil {
			if stayed && err.Reason != "" && l.ctx.Err() == nil { // else it was closed for another reason
				waiting.refused(l.server.config.Refused, err.Reason)
			}
			_ = conn.Close()
			return
		}
		l.hand(prepared)
	}()
}

// hand has net/http serve a connection.
func (l *preparedListener) hand(prepared *listen.Prepared) {
	wsock.BoundSendBuffer(prepared.Conn, sendBuffer)
	c := l.server.newConn(prepared.Conn)
	c.peer, c.upgraded = prepared.Peer, prepared.Upgraded
	if !c.enter() {
		_ = prepared.Conn.Close()
		return
	}
	select {
	case l.ready <- c:
	case <-l.ctx.Done():
		_ = c.Close()
	}
}

// newConn returns the edge's connection of a TCP connection, which is not counted yet.
func (s *Server) newConn(conn *net.TCPConn) *edgeConn {
	c := &edgeConn{server: s}
	c.Conn.Init(conn)
	c.Conn.Closed, c.Conn.Counted = c.left, c.giveBack
	c.receives.Store(true)
	return c
}

// RemoteAddr returns whom the connection comes from: who it was prepared for, or the peer.
func (c *edgeConn) RemoteAddr() net.Addr {
	if c.peer != nil {
		return c.peer
	}
	return c.Conn.RemoteAddr()
}

// drop closes a connection that gives way to another. Whoever reads it closes the rest.
func (c *edgeConn) drop() {
	if c.waiting != nil {
		c.cancel()
		_ = c.waiting.Close()
		return
	}
	_ = c.TCPConn.Close()
}
