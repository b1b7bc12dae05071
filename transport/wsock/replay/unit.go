package replay

import (
	"errors"

	"wsproxy/messages"
)

// A Unit is what the positions of a session count.
type Unit uint8

const (
	// Bytes are those of the payload of binary messages, on a relay. Where
	// messages begin and end means nothing.
	Bytes Unit = iota
	// Messages are complete ones, in a tunnel, where they stay what they are.
	Messages
)

const (
	// MaxPayload is the longest payload of a message in bytes, its trailer
	// apart: fixed by the protocol.
	MaxPayload = 64 << 10
	// TrailerSize is how many bytes stand behind the payload of a binary message
	// that is not JSON: its sender's position behind it, big-endian.
	TrailerSize = 8

	firstBytes    = 64 << 10
	firstMessages = 64
	// An ack is due after a quarter of what may be under way, or after so much
	// if that is less.
	ackBytes    = 32 << 10
	ackMessages = 32
)

// Name is the field of a position in JSON.
func (u Unit) Name() string {
	if u == Messages {
		return messages.UnitMessages
	}
	return messages.UnitBytes
}

// FirstLimit is up to which position a side may send before it has heard a
// limit, and how much the server grants at least: fixed by the protocol.
func (u Unit) FirstLimit() uint64 {
	if u == Messages {
		return firstMessages
	}
	return firstBytes
}

// ack returns how much is passed on between two acks, of a window.
func (u Unit) ack(window uint64) uint64 {
	most := uint64(ackBytes)
	if u == Messages {
		most = ackMessages
	}
	return max(min(window/4, most), 1)
}

// What the other side, or a client that takes a session up, has said wrong.
var (
	// ErrNeverSent is of a position that nothing was sent up to.
	ErrNeverSent = errors.New("the position was never sent")
	// ErrNotKept is of a position from which on not everything is kept: the
	// other side has acknowledged more before.
	ErrNotKept = errors.New("what follows the position is not kept any more")
	// ErrInFlight is the owner's fault: what it writes can't be taken back.
	ErrInFlight = errors.New("a write is under way")
	// ErrBeyondLimit is of more than the other side was allowed to send.
	ErrBeyondLimit = errors.New("more was sent than the limit allows")
	// ErrBehindEnd is of bytes that came after their end.
	ErrBehindEnd = errors.New("bytes came behind the end")
)
