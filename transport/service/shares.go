package service

import (
	"net/netip"
	"slices"
	"sync"
)

// shares bounds how many connections of a tunnel are used, and how many of them one
// source address uses: with streams of events, which have no end, it would else keep
// all others out.
type shares struct {
	all, each int // of all addresses, and of one; set once; 0 = no bound

	mu      sync.Mutex
	used    int                  // under mu
	sources map[netip.Prefix]int // under mu: what those use that use some
	waiting []*Turn              // under mu: in order of arrival
}

// A Turn is a request's turn to use a connection.
type Turn struct {
	of     *shares
	source netip.Prefix
	come   chan struct{} // closed when it has come
	came   bool          // under of.mu: so it is
}

func newShares(all int) shares {
	return shares{all: all, each: (all + 1) / 2, sources: make(map[netip.Prefix]int)}
}

// Turn asks for the turn of a request from a source address. It has been asked for
// until it is given back.
func (p *Pool) Turn(source netip.Prefix) *Turn {
	s := &p.shares
	t := &Turn{of: s, source: source, come: make(chan struct{})}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(s.waiting, t)
	s.next()
	return t
}

// Come returns what is closed when the turn has come.
func (t *Turn) Come() <-chan struct{} { return t.come }

// GiveBack gives the turn back, whether it has come or not.
func (t *Turn) GiveBack() {
	s := t.of
	s.mu.Lock()
	defer s.mu.Unlock()
	if !t.came {
		s.waiting = slices.DeleteFunc(s.waiting, func(other *Turn) bool { return other == t })
		return
	}
	s.used--
	if s.sources[t.source]--; s.sources[t.source] == 0 {
		delete(s.sources, t.source)
	}
	s.next()
}

// next lets those have their turns that may, in order of arrival. Under mu.
func (s *shares) next() {
	s.waiting = slices.DeleteFunc(s.waiting, func(t *Turn) bool {
		if s.all > 0 && (s.used == s.all || s.sources[t.source] == s.each) {
			return false
		}
		s.used++
		s.sources[t.source]++
		t.came = true
		close(t.come)
		return true
	})
}
