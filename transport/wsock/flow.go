package wsock

import "sync/atomic"

// A Flow counts the bytes of all sessions of one kind while they move, in payload
// bytes. Its writers are the pumps, once for each time that they wake up; whoever
// wants to know reads it. The two directions stand on cache lines of their own,
// because different processors count them.
type Flow struct {
	FromClient atomic.Int64 // from WebSockets
	_          [cacheLine - 8]byte
	ToClient   atomic.Int64 // to WebSockets
	_          [cacheLine - 8]byte
}

// cacheLine is the usual size of one, in bytes.
const cacheLine = 64

// Moved returns the bytes counted so far.
func (f *Flow) Moved() (fromClient, toClient int64) { return f.FromClient.Load(), f.ToClient.Load() }

// Flows are what the sessions of a process have moved, those that live included.
type Flows struct {
	Relays  Flow // to targets, and from them
	Raw     Flow // to the outside peers of raw connections, and from them
	Tunnels Flow // frames of tunnels' WebSockets, whatever they carry
}
