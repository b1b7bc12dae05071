package wsock

import (
	"slices"

	"wsproxy/messages"
	"wsproxy/transport/wsock/kernel"
)

// maxAhead bounds how many bytes that wait in the kernel are looked through for
// a close frame: twice what Linux takes of a client that nobody reads.
const maxAhead = 256 << 10

// A place is where in what the client sends its reading pump stands. It belongs
// to that pump.
type place struct {
	in      *Reader
	frames  decoder
	rest    []byte  // what was read and is not decoded
	result  decoded // what stopped the decoder
	refused bool    // no more is taken of what comes
	seen    int     // bytes that HasLeft has found in the kernel, in vain
	held    *holdup // nil if there is no limiter, or nobody to hear of it
	asked   bool    // HasLeft has made the client's kernel say whether it still is there
}

// HasLeft reports whether the client has left, as far as can be told without
// taking more of what it sent: its TCP stream has ended, or a close frame is
// among the bytes that have come. [Receiver].Payload may call it while it
// waits. It can't tell on other systems than Linux.
func (s *Session) HasLeft() bool {
	at := s.at
	if at.result == decodedClose || kernel.HasEnded(s.conn.raw) {
		return true
	}
	if !at.asked {
		// The end of a stream does not come past a window that is full. The
		// kernel of a client that is gone answers this with a reset; a client
		// that is there ignores it (RFC 6455, section 5.5.3).
		at.asked = true
		s.conn.answer(nil)
	}
	n := kernel.Unread(s.conn.raw)
	if n > 0 && n == at.seen {
		return false
	}
	at.seen = n
	ahead := at.frames
	ahead.control = slices.Clone(ahead.control)
	ahead.onPing = func([]byte) {}
	return ahead.closes(slices.Clone(at.rest)) || ahead.closes(s.conn.peek(min(n, maxAhead)))
}

// closes reports whether a close frame is among the frames of b. It overwrites b.
func (d *decoder) closes(b []byte) bool {
	for len(b) > 0 {
		var result decoded
		var reason messages.Reason
		switch _, b, result, reason = d.decode(b); {
		case result == decodedClose:
			return true
		case reason == messages.ReasonProtocolError: // the decoder can't go on
			return false
		}
	}
	return false
}

// peek returns the first n bytes that the kernel holds and leaves them there.
func (s *Conn) peek(n int) []byte {
	if n == 0 {
		return nil
	}
	b := make([]byte, n)
	_ = s.raw.Control(func(fd uintptr) {
		n, _ = kernel.Peek(fd, b)
	})
	return b[:max(n, 0)]
}
