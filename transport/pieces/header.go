package pieces

import (
	"encoding/binary"

	"wsproxy/messages"
)

// A Header is that of a data frame from the client, which may come in pieces: the length of
// a connId, and that. The zero Header has nothing yet.
type Header struct{ bytes []byte }

// lengthSize is how many bytes the length has.
const lengthSize = 4

// Read takes what belongs to the header of a frame that goes on with data, and returns what
// follows it. It reports whether the header is whole; and by ok whether it can be one: the
// connId of a longer one than [messages.MaxConnID] is not kept.
func (h *Header) Read(data []byte) (rest []byte, whole, ok bool) {
	for {
		need := lengthSize
		if len(h.bytes) >= lengthSize {
			length := binary.BigEndian.Uint32(h.bytes)
			if length > messages.MaxConnID {
				return data, false, false
			}
			if need += int(length); len(h.bytes) == need {
				return data, true, true
			}
		}
		n := min(need-len(h.bytes), len(data))
		if n == 0 {
			return nil, false, true
		}
		h.bytes, data = append(h.bytes, data[:n]...), data[n:]
	}
}

// ID returns the connId of a whole Header, until the next Reset.
func (h *Header) ID() []byte { return h.bytes[lengthSize:] }

// Reset makes ready for the next one.
func (h *Header) Reset() { h.bytes = h.bytes[:0] }
