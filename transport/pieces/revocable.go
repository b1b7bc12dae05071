package pieces

import (
	"sync"

	"wsproxy/messages"
)

// A Revocable is a control message that comes in pieces, and of which what has come may be
// taken away: a client that stops in the middle of one holds memory without an end. One
// goroutine adds to it; any may revoke it.
type Revocable struct {
	// Charge counts the bytes that are kept, or were if they are negative. Set once.
	Charge func(bytes int64)
	// Scan looks for what a message is that is not kept. It belongs to who adds, once that
	// knows that the message was revoked.
	Scan messages.ControlScan

	mu      sync.Mutex
	message Message // under mu: as far as it has come
	revoked bool    // under mu: what had come of it was taken
}

// Add adds a copy of a piece, unless the message was revoked. It reports whether it did, and
// whether that was the first one.
func (r *Revocable) Add(data []byte) (first, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.revoked {
		return false, false
	}
	first = r.message.Size == 0
	r.message.Add(data)
	r.Charge(int64(len(data)))
	return first, true
}

// Size returns how many bytes of the message are kept.
func (r *Revocable) Size() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return int64(r.message.Size)
}

// Revoke keeps nothing of the message, if one comes.
func (r *Revocable) Revoke() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.message.Size == 0 {
		return
	}
	r.Scan = messages.ControlScan{}
	for _, chunk := range r.message.Chunks {
		r.Scan.Read(chunk)
	}
	r.Charge(int64(-r.message.Size))
	r.message, r.revoked = Message{}, true
}

// Known ends a message that was revoked, for who adds.
func (r *Revocable) Known() {
	r.mu.Lock()
	r.revoked = false
	r.mu.Unlock()
}

// End takes the message, which has ended and stays charged. It reports whether all of it is
// there.
func (r *Revocable) End() (message Message, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	message, r.message = r.message, Message{}
	return message, !r.revoked
}
