package forward

import (
	"net/http"
	"sync"
	"sync/atomic"

	"wsproxy/transport/outside"
)

// A revocation is how others end an exchange, and what they know of it: see
// [messages.Exchange]. Only while the answer is written may the connection be cut:
// before, the exchange gets an answer that says why, and later the connection is
// another request's. What goes as bytes is stopped in any case.
type revocation struct {
	held   atomic.Int64 // bytes of memory: the body, or the answer
	waits  atomic.Int64 // the same: the header, while it counts
	queued atomic.Int64 // the same: the frame, until the client has it

	mu      sync.Mutex
	stop    func() // under mu: what Revoke does; nil unless there is something
	cut     bool   // under mu: it was called
	revoked bool   // under mu: the answer may not be written
}

// Held returns how many bytes of memory the exchange holds.
func (v *revocation) Held() int64 { return v.held.Load() + v.waits.Load() + v.queued.Load() }

// Revoke cuts the connection if the answer is being written, or as soon as it
// would be: the handler may be faster than who has the answer in hand.
func (v *revocation) Revoke() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.revoked = true
	if v.stop != nil {
		v.stop()
		v.stop, v.cut = nil, true
	}
}

// begin says that the answer is written from now on.
func (v *revocation) begin(w http.ResponseWriter, r *http.Request) {
	v.whenRevoked(func() { outside.Cut(w, r) })
}

// whenRevoked says what Revoke does from now on, and does it if that was called.
func (v *revocation) whenRevoked(stop func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.stop = stop
	if v.revoked {
		v.stop()
		v.stop, v.cut = nil, true
	}
}

// isCut reports whether the connection was cut.
func (v *revocation) isCut() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.cut
}

// end says that the answer is written no longer, and reports whether the
// connection was cut.
func (v *revocation) end() (cut bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.stop = nil
	return v.cut
}
