package actors

import (
	"container/list"
	"slices"
)

// unknownRemembered is how many unknown connIds are remembered as answered:
// fixed by the protocol.
const unknownRemembered = 1024

// recentIDs remembers the last ids that were added to it. It belongs to one
// actor.
type recentIDs struct {
	size  int
	known map[string]*list.Element // of order
	order list.List                // of strings; the one that was added longest ago is first
}

func newRecentIDs(size int) *recentIDs {
	return &recentIDs{size: size, known: make(map[string]*list.Element)}
}

// add remembers an id, anew if it is known, and reports whether it is new.
func (r *recentIDs) add(id string) bool {
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

// endedRemembered is how many ids of requests and connections that have ended
// are remembered: many times as many as there may be of both. What comes about
// one of these has crossed its end on the way.
const endedRemembered = 1024

// endedIDs remembers the last ids that were added to it, none of them twice.
// Each request adds one, and hardly a message asks for one: so adding is cheap
// and asking is a search. It belongs to one actor.
type endedIDs struct {
	ids  []string
	next int // where the next one goes, once there are endedRemembered
}

func (r *endedIDs) has(id string) bool { return slices.Contains(r.ids, id) }

func (r *endedIDs) add(id string) {
	if len(r.ids) < endedRemembered {
		r.ids = append(r.ids, id)
		return
	}
	r.ids[r.next] = id
	r.next = (r.next + 1) % endedRemembered
}
