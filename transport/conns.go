package transport

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"wsproxy/messages"
	"wsproxy/messages/refused"
	"wsproxy/netpolicy"
)

// conns are the connections to the HTTP listener that are no sessions. When a
// bound is reached, the one that has been idle longest gives way. Idle is one
// on which no request is under way: the header of the first one, or of the next,
// has not come whole, or it is closed as soon as its client has the answer.
type conns struct {
	sources  netpolicy.Sources
	recorder refused.Recorder

	mu sync.Mutex
	// perPeer and most are the bounds, under mu; 0 = any number.
	perPeer, most int
	all           connGroup                   // under mu
	peers         map[netip.Prefix]*connGroup // under mu; those that have connections, by what limits count them as

	headers map[*edgeConn]*headerHold // under mu: of those whose headers count as memory
}

// A connGroup is what one bound counts.
type connGroup struct {
	prefix         netip.Prefix // of the peers; the zero Prefix for all connections
	count          int
	oldest, newest *edgeConn // of those that are idle
	headers        int64     // bytes of memory; counted for peers alone
}

// The groups that a connection is in. One of a trusted proxy is in the first
// alone, one from IPv4 in the first two.
const (
	ofAll = iota
	ofPeer
	ofNetwork
	groupKinds
)

// A place is where a connection stands among the others. conns.mu guards it.
type place struct {
	groups  [groupKinds]*connGroup // nil where it is in none
	links   [groupKinds]links      // between the idle connections of a group
	counted bool
	idle    atomic.Bool // written under mu
}

type links struct{ older, newer *edgeConn }

func newConns(c Config) *conns {
	return &conns{
		perPeer: c.MaxConnsPerPeer, most: c.MaxConns, sources: c.Sources, recorder: c.Refused,
		peers: make(map[netip.Prefix]*connGroup), headers: make(map[*edgeConn]*headerHold),
	}
}

// rebound sets other bounds. Connections beyond a lower one stay.
func (s *conns) rebound(perPeer, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.perPeer, s.most = perPeer, most
}

// enter counts a new connection, which is idle. It returns false if there is no
// room for it; then its caller closes it.
func (s *conns) enter(c *edgeConn, peer netip.Addr) bool {
	victim, ok := s.admit(c, peer)
	if victim != nil {
		victim.refused(s.recorder, messages.ReasonConnIdle)
		victim.drop()
	}
	if !ok {
		c.refused(s.recorder, messages.ReasonConnLimit)
	}
	return ok
}

func (s *conns) admit(c *edgeConn, peer netip.Addr) (victim *edgeConn, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var key, network netip.Prefix
	if s.perPeer > 0 && !s.sources.Trusted(peer) {
		key = netpolicy.CountKey(peer)
		if site, ok := messages.Site(key); ok {
			network = site
		}
	}
	switch narrowest := s.reached(key, network); {
	case narrowest == nil:
	case narrowest.oldest == nil:
		return nil, false
	default:
		victim = narrowest.oldest // it is in the wider groups as well
		s.remove(victim)
	}
	c.place.groups = [groupKinds]*connGroup{ofAll: &s.all, ofPeer: s.group(key), ofNetwork: s.group(network)}
	c.place.counted = true
	for _, g := range c.place.groups {
		if g != nil {
			g.count++
		}
	}
	s.append(c)
	return victim, true
}

// reached returns the narrowest group of a peer that has no room for one more,
// nil if there is room in all.
func (s *conns) reached(key, network netip.Prefix) *connGroup {
	if g := s.peers[key]; g != nil && g.count >= s.perPeer {
		return g
	}
	if g := s.peers[network]; g != nil && g.count >= messages.SiteFactor*s.perPeer {
		return g
	}
	if s.most > 0 && s.all.count >= s.most {
		return &s.all
	}
	return nil
}

// group returns the group of a prefix, nil for the zero Prefix.
func (s *conns) group(prefix netip.Prefix) *connGroup {
	if !prefix.IsValid() {
		return nil
	}
	g := s.peers[prefix]
	if g == nil {
		g = &connGroup{prefix: prefix}
		s.peers[prefix] = g
	}
	return g
}

// work notes that a request is under way on c.
func (s *conns) work(c *edgeConn) {
	if !c.place.idle.Load() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unlink(c)
}

// rest notes that no request is under way on c any more.
func (s *conns) rest(c *edgeConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.place.counted && !c.place.idle.Load() {
		s.append(c)
	}
}

// leave counts c no more: it is closed, or a session's. It reports whether c was counted,
// and has not given way.
func (s *conns) leave(c *edgeConn) (counted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if counted = c.place.counted; counted {
		s.remove(c)
	}
	return counted
}

func (s *conns) remove(c *edgeConn) {
	s.unlink(c)
	for _, g := range c.place.groups {
		if g == nil {
			continue
		}
		if g.count--; g.count == 0 && g != &s.all {
			delete(s.peers, g.prefix)
		}
	}
	c.place.counted = false
	c.place.groups = [groupKinds]*connGroup{}
}

// append makes c the newest of those that are idle.
func (s *conns) append(c *edgeConn) {
	c.place.idle.Store(true)
	for i, g := range c.place.groups {
		if g == nil {
			continue
		}
		c.place.links[i] = links{older: g.newest}
		if g.newest != nil {
			g.newest.place.links[i].newer = c
		} else {
			g.oldest = c
		}
		g.newest = c
	}
}

// unlink takes c from those that are idle, if it is one.
func (s *conns) unlink(c *edgeConn) {
	if !c.place.idle.Load() {
		return
	}
	c.place.idle.Store(false)
	for i, g := range c.place.groups {
		if g == nil {
			continue
		}
		l := c.place.links[i]
		if l.older != nil {
			l.older.place.links[i].newer = l.newer
		} else {
			g.oldest = l.newer
		}
		if l.newer != nil {
			l.newer.place.links[i].older = l.older
		} else {
			g.newest = l.older
		}
		c.place.links[i] = links{}
	}
}
