package ledger

import (
	"iter"
	"net/netip"

	"wsproxy/messages"
)

// A Slot is an HTTP request under way in a tunnel: what [Slots] know of it. It is
// part of its request.
type Slot struct {
	ID     string
	Source netip.Prefix // what is counted for its source address

	body, held bool  // its body is being read, or was and waits; it has a slot
	prev, next *Slot // in order of arrival
}

// Slots are the HTTP slots of one tunnel, and whose requests have them. They
// belong to its handler.
type Slots struct {
	bound  int // slots; 0 = any number
	part   int // of one source address; 0 = any number
	bodies int // of one source address, without a slot; 0 = any number

	first, last *Slot // of all requests under way, with a slot or without
	taken       int
	held, reads tally
}

// NewSlots returns so many slots, of which one source address has at most a part.
// Both are no limit if they are 0. An address may have [WaitFactor] times its part
// of bodies under way that have no slot.
func NewSlots(bound, part int) *Slots {
	return &Slots{bound: bound, part: part, bodies: WaitFactor * part, held: make(tally), reads: make(tally)}
}

// A tally counts by source, and by the /48 around an IPv6 source.
type tally map[netip.Prefix]int

func (t tally) add(source netip.Prefix, n int) {
	t.put(source, n)
	if network, ok := messages.Site(source); ok {
		t.put(network, n)
	}
}

// put keeps no count of none: the sources that ever came would stay.
func (t tally) put(key netip.Prefix, n int) {
	if t[key] += n; t[key] == 0 {
		delete(t, key)
	}
}

// of returns how much a source has. Of its /48 it has at least the part that one
// of so many /64s has that have its bound: nobody has less by using more addresses.
func (t tally) of(source netip.Prefix) int {
	n := t[source]
	if network, ok := messages.Site(source); ok {
		n = max(n, (t[network]+messages.SiteFactor-1)/messages.SiteFactor)
	}
	return n
}

// Arrive notes a request that has come last, without a slot.
func (s *Slots) Arrive(r *Slot) {
	r.prev = s.last
	if s.last != nil {
		s.last.next = r
	} else {
		s.first = r
	}
	s.last = r
}

// Reads notes that the body of a request comes, and reports whether its address
// may have one more under way. It counts until the request has a slot, or ends.
func (s *Slots) Reads(r *Slot) bool {
	if s.bodies > 0 {
		if network, ok := messages.Site(r.Source); ok && s.reads[network] >= messages.SiteFactor*s.bodies || s.reads[r.Source] >= s.bodies {
			return false
		}
	}
	r.body = true
	s.reads.add(r.Source, 1)
	return true
}

func (s *Slots) read(r *Slot) {
	if r.body {
		r.body = false
		s.reads.add(r.Source, -1)
	}
}

// Full reports whether all slots are taken.
func (s *Slots) Full() bool { return s.bound > 0 && s.taken >= s.bound }

// HeldBy returns how many slots a source address has.
func (s *Slots) HeldBy(source netip.Prefix) int { return s.held.of(source) }

// UsedUp reports whether a source address has as many slots as it may have.
func (s *Slots) UsedUp(source netip.Prefix) bool { return s.part > 0 && s.HeldBy(source) >= s.part }

// Take gives a request a slot.
func (s *Slots) Take(r *Slot) {
	s.read(r)
	r.held = true
	s.taken++
	s.held.add(r.Source, 1)
}

// Leave takes back what a request has, which has ended.
func (s *Slots) Leave(r *Slot) {
	s.read(r)
	if r.held {
		r.held = false
		s.taken--
		s.held.add(r.Source, -1)
	}
	if r.prev != nil {
		r.prev.next = r.next
	} else {
		s.first = r.next
	}
	if r.next != nil {
		r.next.prev = r.prev
	} else {
		s.last = r.prev
	}
	r.prev, r.next = nil, nil
}

// Newest goes over all requests under way, those that came last first.
func (s *Slots) Newest() iter.Seq[*Slot] {
	return func(yield func(*Slot) bool) {
		for r := s.last; r != nil; {
			before := r.prev // r may leave meanwhile
			if !yield(r) {
				return
			}
			r = before
		}
	}
}

// Yielding returns the request that gives its slot to one from another source
// address: the newest of the address that has most. It returns nil if the newcomer's
// address would then have as many as that one has.
func (s *Slots) Yielding(newcomer netip.Prefix) (newest *Slot) {
	most := s.held.of(newcomer) + 1
	for r := range s.Newest() {
		if !r.held {
			continue
		}
		if n := s.held.of(r.Source); n > most {
			newest, most = r, n
		}
	}
	return newest
}
