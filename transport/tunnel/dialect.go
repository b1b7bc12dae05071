package tunnel

import (
	"time"

	"wsproxy/messages"
	"wsproxy/transport/tunnel/sendqueue"
	"wsproxy/transport/wsock"
)

// A Dialect is how one client wants to be spoken to, beyond the protocol that
// all share. It belongs to one Mux. Its methods are called by the pumps of that
// and must return at once, except for what Reassemble returns. Any goroutine
// may call them.
type Dialect interface {
	// ControlOpcode is what control messages are framed as: [wsock.OpText] or
	// [wsock.OpBinary]. What the client sends is understood either way.
	ControlOpcode() byte
	// MaxCoalesced is up to how many payload bytes data frames of one stream
	// that wait for the client become one; 0 = never.
	MaxCoalesced() int
	// Reassemble returns what takes the client's messages as they come, and
	// passes them to next as they were before the client cut them. The reading
	// pump calls both.
	Reassemble(next Pieces) Pieces
	// TakesInline reports whether the client takes an http_request without a
	// body whose message has n bytes, whatever it asks for.
	TakesInline(n int) bool
	// RequestSent notes that the client will be sent an http_request.
	RequestSent(id string)
	// Answered reports whether a response is the dialect's own affair: it goes
	// no further.
	Answered(id string) bool
	// DataReceived notes that the client has sent data of a stream.
	DataReceived(connID string)
	// Announce says what is special about a stream that the client is about to
	// be told of.
	Announce(s *Stream) Announcement
}

// Pieces takes a piece of a message, the last one if end is set.
type Pieces func(data []byte, text, end bool)

// An Announcement is what a Dialect asks for a stream. The zero value asks for
// nothing.
type Announcement struct {
	// Message goes to the client right behind tcp_open; nil if there is none.
	Message []byte
	// Ready is closed when the client can take the stream's bytes. Until then
	// one buffer of them is read and held. nil = at once.
	Ready <-chan struct{}
	// Pause returns how long to wait after a data frame with n bytes of
	// payload. nil = never.
	Pause func(n int) time.Duration
	// Ended is called when the stream has ended. nil = nobody wants to know.
	Ended func()
}

// Text and Binary are the dialects of clients that need nothing special, by
// what their control messages are framed as (protocol, section 4).
var (
	Text   Dialect = plain{wsock.OpText}
	Binary Dialect = plain{wsock.OpBinary}
)

type plain struct{ opcode byte }

func (p plain) ControlOpcode() byte         { return p.opcode }
func (plain) MaxCoalesced() int             { return 0 }
func (plain) Reassemble(next Pieces) Pieces { return next }
func (plain) TakesInline(int) bool          { return true }
func (plain) RequestSent(string)            {}
func (plain) Answered(string) bool          { return false }
func (plain) DataReceived(string)           {}
func (plain) Announce(*Stream) Announcement { return Announcement{} }

// frameControl makes a frame of a control message.
func (m *Mux) frameControl(message []byte) sendqueue.Frame {
	return sendqueue.Control(m.dialect.ControlOpcode(), message, nil)
}

// frameClose makes a frame of a tcp_close. gone is called when it is written or dropped;
// it may be nil.
func (m *Mux) frameClose(id string, reason messages.CloseReason, gone func()) sendqueue.Frame {
	return sendqueue.Control(m.dialect.ControlOpcode(), messages.EncodeClose(id, reason), gone)
}
