package replay

import (
	"slices"
	"sort"

	"wsproxy/messages"
	"wsproxy/transport/wsock"
)

// A Message is what an owner gives to a [Sender]: in Bytes a piece of the
// stream, in Messages a message of at most MaxPayload bytes.
type Message struct {
	Payload []byte
	JSON    bool          // a control message of a tunnel, which has no trailer
	Buf     *wsock.Buffer // Payload is in it, and it goes back to the pool with the message; or nil
}

// A Piece is to be written as one message of a WebSocket.
type Piece struct {
	Payload  []byte // to be read only, until [Sender.Wrote]
	JSON     bool
	Position uint64 // the sender's behind it, which the trailer says
}

// A Sender keeps what one side sends until the other side has acknowledged it.
// It belongs to an owner with a lock. When everything is acknowledged it holds
// no memory but its own.
//
// Its positions are in this order: acked and from, which may lie on either side
// of each other, up to next, sent, end. In Bytes each may be in the middle of a
// chunk.
type Sender struct {
	kept     []chunk // in order, kept[:freed] given back already
	freed    int
	held     int64
	end      uint64 // behind all that was kept
	next     uint64 // where this WebSocket goes on
	sent     uint64 // where the furthest WebSocket has got
	acked    uint64
	limit    uint64 // of the other side
	from     uint64 // while inFlight: from here to next is being written
	inFlight bool
	dropped  bool
	unit     Unit
}

// A chunk is what the Sender keeps in one piece of memory.
type chunk struct {
	payload []byte
	end     uint64 // position behind it
	buf     *wsock.Buffer
	json    bool
	grows   bool // small payloads are appended to it
}

// Poolable is from how many bytes on a payload is kept in a buffer of the pool. It is
// counted by its own length, so it must all but fill the buffer: half full ones take up
// twice what is counted.
const Poolable = wsock.BufferSize / 8 * 7

// maxChunk is up to how many bytes small payloads are joined: by itself a byte
// would take up dozens of times what it is counted as.
const maxChunk = Poolable

// messageSize is what a message takes up beside its payload: its chunk, in a slice that
// has grown, and what an allocation is rounded up by. Those of a tunnel may have a byte
// of data each, and stay apart.
const messageSize = 96

// NewSender returns a Sender that may send up to the first limit.
func NewSender(unit Unit) *Sender {
	return &Sender{unit: unit, limit: unit.FirstLimit()}
}

// Room returns how many units may be kept now: what the other side's limit
// leaves.
func (s *Sender) Room() int64 {
	if s.dropped || s.end >= s.limit {
		return 0
	}
	return int64(s.limit - s.end)
}

// Keep takes a message, of which the payload and the buffer are the Sender's
// from then on, for at most Room units. A payload that is not [Poolable] is copied
// to where it takes up less, and its buffer goes back at once.
func (s *Sender) Keep(m Message) {
	units := uint64(1)
	if s.unit == Bytes {
		units = uint64(len(m.Payload))
	}
	if units == 0 || s.dropped {
		giveBack(m.Buf)
		return
	}
	s.end += units
	s.held += s.size(len(m.Payload))
	if len(m.Payload) >= Poolable {
		s.push(chunk{payload: m.Payload, end: s.end, buf: m.Buf, json: m.JSON})
		return
	}
	if s.unit == Messages {
		s.push(chunk{payload: copied(m.Payload), end: s.end, json: m.JSON})
	} else if n := s.join(m.Payload); n < len(m.Payload) {
		s.push(chunk{payload: copied(m.Payload[n:]), end: s.end, grows: true})
	}
	giveBack(m.Buf)
}

func (s *Sender) push(c chunk) {
	if s.freed > len(s.kept)/2 && len(s.kept) == cap(s.kept) { // rather than growing
		s.kept, s.freed = slices.Delete(s.kept, 0, s.freed), 0
	}
	s.kept = append(s.kept, c)
}

// join appends a payload to the last chunk, if that is a small one, until that is
// full, and returns how many bytes it has taken. What of the chunk is in flight stays
// where it is.
func (s *Sender) join(payload []byte) (n int) {
	if s.freed == len(s.kept) {
		return 0
	}
	last := &s.kept[len(s.kept)-1]
	if n = min(len(payload), maxChunk-len(last.payload)); !last.grows || n <= 0 {
		return 0
	}
	size := len(last.payload) + n
	if size > cap(last.payload) {
		grown := make([]byte, len(last.payload), min(max(2*cap(last.payload), size), maxChunk))
		copy(grown, last.payload)
		last.payload = grown
	}
	last.payload = append(last.payload, payload[:n]...)
	last.end += uint64(n)
	return n
}

func copied(payload []byte) []byte {
	return append(make([]byte, 0, len(payload)), payload...)
}

func giveBack(buf *wsock.Buffer) {
	if buf != nil {
		wsock.GiveBuffer(buf)
	}
}

// Pending reports whether something that is kept, and is within the limit, is
// not written to this WebSocket.
func (s *Sender) Pending() bool { return s.next < min(s.end, s.limit) }

// Next appends to into what is to be written next, until it is most bytes or
// more, or all. The pieces are in flight, and their memory stays, until Wrote.
func (s *Sender) Next(into []Piece, most int) []Piece {
	if !s.Pending() {
		return into
	}
	if !s.inFlight {
		s.inFlight, s.from = true, s.next
	}
	kept := s.kept[s.freed:]
	at := sort.Search(len(kept), func(i int) bool { return kept[i].end > s.next })
	for bytes := 0; s.Pending() && bytes < max(most, 1); {
		c := &kept[at]
		piece := Piece{Payload: slices.Clip(c.payload), JSON: c.json, Position: c.end}
		if s.unit == Bytes {
			piece.Payload, piece.Position = s.cut(c)
		}
		s.next = piece.Position
		if s.next == c.end {
			at++
		}
		bytes += len(piece.Payload)
		into = append(into, piece)
	}
	s.sent = max(s.sent, s.next)
	return into
}

// cut returns the bytes of a chunk that may be sent next, and the position
// behind them.
func (s *Sender) cut(c *chunk) ([]byte, uint64) {
	payload := c.payload[uint64(len(c.payload))-(c.end-s.next):]
	n := min(uint64(len(payload)), s.limit-s.next, MaxPayload)
	return payload[:n:n], s.next + n
}

// Wrote says that the write of what Next has returned has ended, however it has.
func (s *Sender) Wrote() {
	s.inFlight = false
	s.free()
}

// Acked reads an ack of the other side: everything up to position has been
// passed on, and it may be sent up to limit. One that is lower than before says
// nothing. The error is ErrNeverSent, and then the ack has changed nothing.
func (s *Sender) Acked(position, limit uint64) error {
	if position > s.sent {
		return ErrNeverSent
	}
	s.acked = max(s.acked, position)
	s.next = max(s.next, s.acked) // what has been passed on is not sent again
	s.limit = max(s.limit, min(limit, messages.MaxPosition))
	s.free()
	return nil
}

// free gives back what is acknowledged and not in flight.
func (s *Sender) free() {
	upTo := s.acked
	if s.inFlight {
		upTo = min(upTo, s.from)
	}
	for s.freed < len(s.kept) && s.kept[s.freed].end <= upTo {
		c := &s.kept[s.freed]
		s.held -= s.size(len(c.payload))
		giveBack(c.buf)
		*c = chunk{}
		s.freed++
	}
	if s.freed == len(s.kept) {
		s.kept, s.freed = nil, 0
	}
}

// Rewind goes back to a position that the other side has received up to: what
// follows it is sent again. The error is ErrNeverSent, ErrNotKept, or, before
// Wrote, ErrInFlight; then nothing has changed.
func (s *Sender) Rewind(position uint64) error {
	switch {
	case s.inFlight:
		return ErrInFlight
	case position > s.sent:
		return ErrNeverSent
	case position < s.acked:
		return ErrNotKept
	}
	s.next = position
	return nil
}

// size is what a payload counts as when it is kept.
func (s *Sender) size(payload int) int64 {
	if s.unit == Messages {
		return int64(payload) + messageSize
	}
	return int64(payload)
}

// Held returns how many bytes are kept, of which each message takes up some beside its
// payload. In Bytes that may be more than is not acknowledged, by a part of a chunk;
// what is in flight stays, too.
func (s *Sender) Held() int64 { return s.held }

// Position returns that behind the last message kept.
func (s *Sender) Position() uint64 { return s.end }

// Sent returns the highest position that Next has ever returned.
func (s *Sender) Sent() uint64 { return s.sent }

// Acknowledged returns up to where the other side has passed on.
func (s *Sender) Acknowledged() uint64 { return s.acked }

// Drop gives everything back, what is in flight with Wrote. Nothing is kept or
// sent after it.
func (s *Sender) Drop() {
	s.dropped = true
	s.acked, s.sent, s.next = s.end, s.end, s.end
	s.free()
}
