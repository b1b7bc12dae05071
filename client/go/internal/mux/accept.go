package mux

import (
	"net"
	"sync"
	"time"
)

const (
	// backlog is how many connections wait to be accepted, as for a socket that
	// listens.
	backlog = 128
	// acceptPatience is how long they wait, at least: then nobody accepts, and
	// whoever is outside hears so. Half as much may come to that.
	acceptPatience = 10 * time.Second
)

// A Listener gives out the connections of one kind.
type Listener struct {
	mux *Mux

	// Under mux.mu.
	waiting []*Stream
	since   []time.Time // since when each of them waits
	arrived *sync.Cond
	closed  bool // nothing is taken
	looking bool // a timer runs that looks for those that wait too long
}

func newListener(m *Mux, closed bool) *Listener {
	return &Listener{mux: m, closed: closed, arrived: sync.NewCond(&m.mu)}
}

// Accept waits for the next connection. The error is [net.ErrClosed] when the
// Listener was closed, or an [Error] when the tunnel has ended.
func (l *Listener) Accept() (*Stream, error) {
	m := l.mux
	m.mu.Lock()
	defer m.unlock()
	for len(l.waiting) == 0 {
		switch {
		case m.ended && m.err != nil:
			return nil, m.endError()
		case l.closed:
			return nil, net.ErrClosed
		}
		l.arrived.Wait()
	}
	return l.shift(), nil
}

// Addr returns the tunnel's URL, or host and port of its raw connections, once it
// is ready.
func (l *Listener) Addr() net.Addr {
	l.mux.mu.Lock()
	defer l.mux.mu.Unlock()
	if l == l.mux.HTTP {
		return l.mux.url
	}
	return l.mux.rawAddr
}

// shift removes the connection that has waited longest. Under mux.mu.
func (l *Listener) shift() *Stream {
	s := l.waiting[0]
	l.waiting[0] = nil
	if l.waiting, l.since = l.waiting[1:], l.since[1:]; len(l.waiting) == 0 {
		l.waiting, l.since = nil, nil
	}
	return s
}

// Close refuses what waits, and whatever comes. Connections that were accepted
// go on. When both listeners of a Mux are closed, its session ends with the last
// connection.
func (l *Listener) Close() error {
	m := l.mux
	m.mu.Lock()
	defer m.unlock()
	if l.closed {
		return net.ErrClosed
	}
	l.close()
	if m.HTTP.closed && m.Raw.closed {
		m.leave()
	}
	return nil
}

// close refuses what waits, and whatever comes. Under mux.mu.
func (l *Listener) close() {
	l.closed = true
	for len(l.waiting) > 0 {
		l.shift().closeFor(endRefused)
	}
	l.arrived.Broadcast()
}

// end drops what waits, of which nobody has to be told. Under mux.mu.
func (l *Listener) end() {
	l.closed, l.waiting, l.since = true, nil, nil
	l.arrived.Broadcast()
}

// isFull reports whether no more may wait. Under mux.mu.
func (l *Listener) isFull() bool { return l.closed || len(l.waiting) >= backlog }

// put adds a connection. Under mux.mu.
func (l *Listener) put(s *Stream, now time.Time) {
	l.waiting, l.since = append(l.waiting, s), append(l.since, now)
	l.arrived.Signal()
	if !l.looking { // rarely: one timer does for all that come meanwhile
		l.looking = true
		time.AfterFunc(acceptPatience, l.look)
	}
}

// look refuses what has waited too long.
func (l *Listener) look() {
	m := l.mux
	m.mu.Lock()
	defer m.unlock()
	for len(l.waiting) > 0 && time.Since(l.since[0]) >= acceptPatience {
		l.shift().closeFor(endRefused)
	}
	if l.looking = len(l.waiting) > 0; l.looking {
		time.AfterFunc(acceptPatience/2, l.look)
	}
}
