package forward

import (
	"context"
	"net/netip"
	"slices"
	"sync"
)

// shares bounds how many connections of a tunnel one source address uses: with
// streams of events, which have no end, it would else keep all others out.
type shares struct {
	each int // of one address; set once

	mu      sync.Mutex
	sources map[netip.Prefix]*share // under mu: those that hold some
}

// A share is what one address uses. It belongs to shares.mu.
type share struct {
	held    int
	waiting []chan struct{} // in order of arrival; each is closed when it has its turn
}

func newShares(each int) shares {
	return shares{each: each, sources: make(map[netip.Prefix]*share)}
}

// take waits for a turn of source, and reports whether it came before ctx ended.
// giveBack must then be called once.
func (s *shares) take(ctx context.Context, source netip.Prefix) (giveBack func(), ok bool) {
	giveBack = func() { s.give(source) }
	turn := s.ask(source)
	if turn == nil {
		return giveBack, true
	}
	select {
	case <-turn:
		return giveBack, true
	case <-ctx.Done():
	}
	s.mu.Lock()
	share := s.sources[source]
	if share != nil {
		if i := slices.Index(share.waiting, turn); i >= 0 {
			share.waiting = slices.Delete(share.waiting, i, i+1)
			s.mu.Unlock()
			return nil, false
		}
	}
	s.mu.Unlock()
	giveBack() // the turn came meanwhile
	return nil, false
}

// ask takes a turn, or returns what is closed when it has come.
func (s *shares) ask(source netip.Prefix) chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.sources[source]
	if of == nil {
		of = &share{}
		s.sources[source] = of
	}
	if of.held < s.each {
		of.held++
		return nil
	}
	turn := make(chan struct{})
	of.waiting = append(of.waiting, turn)
	return turn
}

// give passes a turn on to who waits longest.
func (s *shares) give(source netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.sources[source]
	if len(of.waiting) > 0 {
		close(of.waiting[0])
		of.waiting = slices.Delete(of.waiting, 0, 1)
		return
	}
	if of.held--; of.held == 0 {
		delete(s.sources, source)
	}
}
