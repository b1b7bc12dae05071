package messages

import (
	"net/netip"
	"time"
)

// A WebSocket is one whose handshake is done, as actors pass it on: they know
// nothing of it.
type WebSocket interface{ IsWebSocket() }

// A Resumable is what the actor of a session that may outlive its WebSocket does
// with it (protocol, section 9). A [Pair] and a [Mux] are one. All methods return
// at once. Each WebSocket has a number, the first one 0, and how each ended comes
// as a [WebSocketEnded].
type Resumable interface {
	// Announce tells the client by which token it can take the session up, ahead
	// of everything else, and begins to read it. Called once, behind the Dial of a
	// [Pair], ahead of the Start of a [Mux]. Without it the session ends with its
	// WebSocket, by a [PumpEnded] or [MuxEnded].
	Announce(token string)
	// TakeUp gives the session another WebSocket in the place of the one that it
	// has, if it still has one. The client has all up to position. A reason says
	// why not, and leaves the session as it was.
	TakeUp(ws WebSocket, number uint32, position uint64) Reason
}

// TakeUp asks the actor of a session to go on with another WebSocket. Answer gets
// one reason, empty if the WebSocket is the session's now. If the session ends
// meanwhile there may be no answer.
type TakeUp struct {
	Secret    string // of the session's token
	User      string // who asks; empty for anyone
	Source    netip.Addr
	Expires   time.Time // until when the token shown now is good, for a session that ends with its token
	Attempt   uint64    // which the client raises; 0 if it gave none that can be read
	Position  uint64    // up to where the client has all
	Readable  bool      // whether the client gave a position that can be read
	WebSocket WebSocket
	Answer    chan<- Reason
}

// WebSocketEnded tells the actor of a session that may outlive its WebSocket how
// the one with this number has ended. A WebSocket may be said to have ended more
// than once.
type WebSocketEnded struct {
	Number uint32
	Reason Reason
	// Lost says that the session waits for another WebSocket. Else it ends.
	Lost bool
	// Known says that the client has the session's token: it has acknowledged
	// something.
	Known bool
}
