package transport

import "wsproxy/messages"

// A headerHold is what the header of one connection counts as memory.
type headerHold struct {
	bytes int64
	peer  *connGroup // nil without one
}

// hold notes that c's header counts as n bytes more.
func (s *conns) hold(c *edgeConn, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.headers[c]
	if h == nil {
		h = &headerHold{peer: c.place.groups[ofPeer]}
		s.headers[c] = h
	}
	h.bytes += n
	if h.peer != nil {
		h.peer.headers += n
	}
}

// release notes that c's header counts no more.
func (s *conns) release(c *edgeConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(c)
}

func (s *conns) forget(c *edgeConn) {
	h := s.headers[c]
	if h == nil {
		return
	}
	delete(s.headers, c)
	if h.peer != nil {
		h.peer.headers -= h.bytes
	}
}

// makeRoom has connections give way so that n bytes come back for c's header, and
// reports whether some did: those of the peer whose headers hold most, if that is
// more than those of c's would then. Else three strangers would leave none to all
// others, whose headers are a browser's with many cookies.
func (s *conns) makeRoom(c *edgeConn, n int64) bool {
	victims := s.crowding(c, n)
	for _, victim := range victims {
		victim.refused(s.recorder, messages.ReasonMemory)
		victim.drop()
	}
	return len(victims) > 0
}

// crowding returns whose headers give way. They are looked at no more. It is
// called when there is no memory, and goes over all that hold some.
func (s *conns) crowding(c *edgeConn, n int64) (victims []*edgeConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var most *connGroup
	for _, h := range s.headers {
		if h.peer != nil && (most == nil || h.peer.headers > most.headers) {
			most = h.peer
		}
	}
	own := n
	if peer := c.place.groups[ofPeer]; peer != nil {
		own += peer.headers
	}
	if most == nil || most == c.place.groups[ofPeer] || most.headers <= own {
		return nil
	}
	for victim, h := range s.headers {
		if n <= 0 {
			break
		}
		if h.peer == most {
			n -= h.bytes
			s.forget(victim)
			victims = append(victims, victim)
		}
	}
	return victims
}
