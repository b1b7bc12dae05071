package recent

import (
	"container/list"
	"slices"
)

// Unknown is how many unknown connIds are remembered as answered:
// fixed by the protocol.
const Unknown = 1024

// IDs remembers the last ids that were added to it. It belongs to one
// actor.
type IDs struct {
	size  int
	known map[string]*list.Element // of order
	order list.List                // of strings; the one that was added longest ago is first
}

// New returns an empty memory of so many ids.
func New(size int) *IDs {
	return &IDs{size: size, known: make(map[string]*list.Element)}
}

// Add remembers an id, anew if it is known, and reports whether it is new.
func (r *IDs) Add(id string) bool {
	if e := r.known[id]; e != nil {
		r.order.MoveToBack(e)
		return false
	}
	if len(r.known) < r.size {
		r.known[id] = r.order.PushBack(id)
		return true
	}
	oldest := r.order.Front() // becomes the newest
	delete(r.known, oldest.Value.(string))
	oldest.Value = id
	r.order.MoveToBack(oldest)
	r.known[id] = oldest
	return true
}

// remembered is how many ids of requests and connections that have ended
// are remembered: many times as many as there may be of both. What comes about
// one of these has crossed its end on the way.
const remembered = 1024

// Ended remembers the last ids that were added to it, none of them twice.
// Each request adds one, and hardly a message asks for one: so adding is cheap
// and asking is a search. It belongs to one actor.
type Ended struct {
	ids  []string
	next int // where the next one goes, once there are remembered
}

// Has reports whether an id is one of them.
func (r *Ended) Has(id string) bool { return slices.Contains(r.ids, id) }

// Add remembers an id.
func (r *Ended) Add(id string) {
	if len(r.ids) < remembered {
		r.ids = append(r.ids, id)
		return
	}
	r.ids[r.next] = id
	r.next = (r.next + 1) % remembered
}
