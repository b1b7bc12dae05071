package listen

import (
	"net/netip"
	"sync"
	"time"

	"wsproxy/messages"
)

// mostLinger bounds the connections that the edge has closed and whose peers have yet to
// take what was sent to them: they have descriptors, and nobody counts them any more.
// Beyond it one is reset.
const mostLinger = 256

// lingerers are a listener's connections that mostLinger bounds. They are counted for their
// peers, so that one peer's give way to those of others and not the other way round.
type lingerers struct {
	most int

	mu  sync.Mutex           // may be taken under a splice's
	all map[*splice]struct{} // under mu
}

// enter counts s. At the bound it returns the one that gives way, which may be s: of the
// peer that has most, the one whose peer has acknowledged nothing for longest.
func (l *lingerers) enter(s *splice) (victim *splice) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all[s] = struct{}{}
	if len(l.all) <= l.most {
		return nil
	}
	counts := make(map[netip.Prefix]int)
	for other := range l.all {
		counts[other.peer]++
	}
	var since time.Time
	for other := range l.all {
		at := time.Unix(0, other.progress.Load())
		if victim == nil || counts[other.peer] > counts[victim.peer] || counts[other.peer] == counts[victim.peer] && at.Before(since) {
			victim, since = other, at
		}
	}
	delete(l.all, victim)
	return victim
}

// leave counts s no more.
func (l *lingerers) leave(s *splice) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.all, s)
}

// count returns how many there are.
func (l *lingerers) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.all)
}

// sourceOf returns what a peer is counted as: an IPv4 address, or an IPv6 /48, as one
// customer may have all of it; the zero Prefix for whoever has no address.
func sourceOf(peer netip.Addr) netip.Prefix {
	if !peer.IsValid() {
		return netip.Prefix{}
	}
	source := netip.PrefixFrom(peer.WithZone(""), peer.BitLen())
	if site, ok := messages.Site(source); ok {
		return site
	}
	return source
}
