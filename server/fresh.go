package server

import (
	"net"
	"net/http"
	"sync"
)

// freshConns are the connections of an HTTP server on which nothing has been
// asked yet. At the end net/http would wait for them for five seconds.
type freshConns struct {
	mu     sync.Mutex
	open   map[net.Conn]struct{} // under mu
	closed bool                  // under mu
}

// changed is an [http.Server.ConnState].
func (f *freshConns) changed(conn net.Conn, state http.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case state != http.StateNew:
		delete(f.open, conn)
	case f.closed:
		conn.Close()
	default:
		f.open[conn] = struct{}{}
	}
}

// close closes them, and those that still come.
func (f *freshConns) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for conn := range f.open {
		conn.Close()
	}
}

// both returns a ConnState that calls two, of which the first may be nil.
func both(first, second func(net.Conn, http.ConnState)) func(net.Conn, http.ConnState) {
	if first == nil {
		return second
	}
	return func(conn net.Conn, state http.ConnState) {
		first(conn, state)
		second(conn, state)
	}
}
