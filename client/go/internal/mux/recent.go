package mux

// maxRecent is how many connIds that are not open are remembered as those about
// which the server has heard: fixed by the protocol for the other direction.
const maxRecent = 1024

// recentIDs are the last connIds about which the server needs no answer: they
// ended here, or it had one.
type recentIDs struct {
	known map[string]struct{}
	ring  []string
	at    int // where the oldest is, once the ring is full
}

// add reports whether the id was not there. It is then.
func (r *recentIDs) add(id string) bool {
	if _, ok := r.known[id]; ok {
		return false
	}
	if r.known == nil {
		r.known = make(map[string]struct{})
	}
	r.known[id] = struct{}{}
	if len(r.ring) < maxRecent {
		r.ring = append(r.ring, id)
		return true
	}
	delete(r.known, r.ring[r.at])
	r.ring[r.at] = id
	r.at = (r.at + 1) % maxRecent
	return true
}
