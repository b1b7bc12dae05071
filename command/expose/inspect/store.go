package inspect

import (
	"slices"
	"sync"

	"wsproxy/command/expose/tap"
)

// Bounds of what is kept.
const (
	// MaxRequests is how many requests are kept.
	MaxRequests = 200
	// maxHeld bounds the bytes of heads and bodies in all. Beyond it those of the
	// oldest requests go; the requests stay in the list.
	maxHeld = 32 << 20
)

// A Store is a [tap.Keeper] of the last requests. It may be used by many at once.
type Store struct {
	mu      sync.Mutex
	entries []*entry // the oldest first
	held    int      // bytes
	changes uint64   // counts changes of entries
	waiting map[chan struct{}]struct{}
}

// An entry is a request as it is known now.
type entry struct {
	x       tap.Exchange
	changed uint64 // when, of the store's changes
}

// NewStore returns an empty store.
func NewStore() *Store { return &Store{waiting: make(map[chan struct{}]struct{})} }

// Grow counts bytes that are to be kept, and says whether they may be. Older requests
// make room.
func (s *Store) Grow(bytes int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		if s.held+bytes <= maxHeld {
			break
		}
		if e.x.Ended {
			s.drop(e)
		}
	}
	if s.held+bytes > maxHeld {
		return false
	}
	s.held += bytes
	return true
}

// drop forgets the bytes of an entry that has ended. The caller holds s.mu.
func (s *Store) drop(e *entry) {
	s.held -= e.x.Held()
	e.x.Kept = nil
}

// Begins adds a request.
func (s *Store) Begins(x tap.Exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries = append(s.entries, s.touch(&entry{x: x}))
	if len(s.entries) <= MaxRequests {
		return
	}
	// The oldest that has ended goes; one that has not gives back its bytes at its
	// end, and if all go on, that one goes whose bytes nobody counts then.
	i := max(slices.IndexFunc(s.entries, func(e *entry) bool { return e.x.Ended }), 0)
	if s.entries[i].x.Ended {
		s.drop(s.entries[i])
	}
	s.entries = slices.Delete(s.entries, i, i+1)
}

// touch marks an entry as changed, and wakes who waits for that.
func (s *Store) touch(e *entry) *entry {
	s.changes++
	e.changed = s.changes
	for waiting := range s.waiting {
		select {
		case waiting <- struct{}{}:
		default:
		}
	}
	return e
}

// Answered notes the head of an answer.
func (s *Store) Answered(x tap.Exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.find(x.ID); e != nil {
		e.x = x
		s.touch(e)
	}
}

// Ends notes the end of a request.
func (s *Store) Ends(x *tap.Exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(x.ID)
	if e == nil {
		s.held -= x.Held()
		return
	}
	e.x = *x
	s.touch(e)
}

// find returns an entry, nil if there is none. The caller holds s.mu.
func (s *Store) find(id uint64) *entry {
	// Connections are told of in any order, so that numbers are only nearly in it;
	// most are asked for soon.
	for _, e := range slices.Backward(s.entries) {
		if e.x.ID == id {
			return e
		}
	}
	return nil
}

// Get returns a request.
func (s *Store) Get(id uint64) (tap.Exchange, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.find(id)
	if e == nil {
		return tap.Exchange{}, false
	}
	return e.x, true
}

// Since returns the requests that have changed since the count of changes was so, the
// oldest first, and what the count is now.
func (s *Store) Since(changes uint64) ([]tap.Exchange, uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var changed []tap.Exchange
	for _, e := range s.entries {
		if e.changed > changes {
			changed = append(changed, e.x)
		}
	}
	return changed, s.changes
}

// Clear forgets all that have ended.
func (s *Store) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.entries = slices.DeleteFunc(s.entries, func(e *entry) bool {
		if e.x.Ended {
			s.drop(e)
		}
		return e.x.Ended
	})
}

// watch returns what is sent to when something has changed, until stop.
func (s *Store) watch() (changed <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting[c] = struct{}{}
	return c, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.waiting, c)
	}
}
