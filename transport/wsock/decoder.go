package wsock

import (
	"encoding/binary"
	"unicode/utf8"

	"wsproxy/messages"
)

// A decoder turns the bytes that a client sends into the payload of its binary
// messages. It holds no payload, only where in a frame the bytes stand. It
// belongs to the goroutine that reads from the client.
type decoder struct {
	onPing     func(payload []byte) // called for each ping; must not keep the slice
	boundaries bool                 // whether decode also stops at the end of each message
	texts      bool                 // whether text messages are allowed

	head    [14]byte // header bytes of the frame under way, as many as have come
	headLen uint8
	opcode  byte
	final   bool
	inFrame bool   // whether the header is complete
	left    uint64 // payload bytes of the frame that are still to come
	key     uint32 // the masking key, rotated to the next payload byte

	inMessage bool // between the first and the last frame of a message
	isText    bool // whether the message is, or was, a text message

	control []byte // payload of the control frame under way
}

// What made decode stop before the end of its input.
type decoded uint8

const (
	decodedAll     decoded = iota // nothing did
	decodedMessage                // a message is complete (only boundaries)
	decodedClose                  // a valid close frame
	decodedBad                    // a frame that is not allowed
)

// decode takes frames from b, which it overwrites. data is the payload found,
// in one piece, to be passed on whatever the result says; rest is what is left
// of b after the result. For decodedBad, reason says what was wrong; after a
// text message the decoder can go on, with the payload of that message, but not
// after a protocol error, nor after decodedClose. A message may have any
// length: nothing of it is kept here.
func (d *decoder) decode(b []byte) (data, rest []byte, result decoded, reason messages.Reason) {
	out := -1 // where data starts in b; frames after the first close the gaps that headers leave
	end := 0  // where data ends
	for at := 0; at < len(b); {
		if !d.inFrame {
			used, complete := d.header(b[at:])
			at += used
			if !complete {
				break
			}
			if reason := d.begin(); reason != "" {
				return payload(b, out, end), b[at:], decodedBad, reason
			}
		}

		n := int(min(d.left, uint64(len(b)-at)))
		src := b[at : at+n]
		at += n
		d.left -= uint64(n)
		if d.opcode >= opClose {
			dst := len(d.control)
			d.control = append(d.control, src...)
			d.key = unmask(d.control[dst:], d.control[dst:], d.key)
		} else if n > 0 {
			if out < 0 {
				out, end = at-n, at-n
			}
			d.key = unmask(b[end:end+n], src, d.key)
			end += n
		}
		if d.left > 0 {
			break
		}

		d.inFrame, d.headLen = false, 0
		switch {
		case d.opcode == opPing:
			d.onPing(d.control)
		case d.opcode == opClose:
			if !validClose(d.control) {
				return payload(b, out, end), b[at:], decodedBad, messages.ReasonProtocolError
			}
			return payload(b, out, end), b[at:], decodedClose, ""
		case d.opcode < opClose && d.final && d.boundaries:
			return payload(b, out, end), b[at:], decodedMessage, ""
		}
	}
	return payload(b, out, end), nil, decodedAll, ""
}

func payload(b []byte, start, end int) []byte {
	if start < 0 {
		return nil
	}
	return b[start:end]
}

// header collects the bytes of a frame's header, and returns how many of b it
// used and whether the header is complete.
func (d *decoder) header(b []byte) (used int, complete bool) {
	for {
		need := 2
		if d.headLen >= 2 {
			need = 2 + 4*int(d.head[1]>>7) // an unmasked frame is refused by begin
			switch d.head[1] &^ maskBit {
			case 126:
				need += 2
			case 127:
				need += 8
			}
		}
		if int(d.headLen) == need {
			return used, true
		}
		n := copy(d.head[d.headLen:need], b[used:])
		if n == 0 {
			return used, false
		}
		d.headLen += uint8(n)
		used += n
	}
}

// begin reads the complete header of a frame, and returns a reason if the
// frame is not allowed here.
func (d *decoder) begin() (refused messages.Reason) {
	h := d.head[:d.headLen]
	d.opcode, d.final = h[0]&0x0f, h[0]&finBit != 0
	if h[0]&0x70 != 0 || h[1]&maskBit == 0 {
		return messages.ReasonProtocolError // an extension that was not agreed on, or no mask (section 5.1)
	}
	d.left = uint64(h[1] &^ maskBit)
	switch d.left {
	case 126:
		if d.left = uint64(binary.BigEndian.Uint16(h[2:])); d.left < 126 {
			return messages.ReasonProtocolError // not the shortest form (section 5.2)
		}
	case 127:
		if d.left = binary.BigEndian.Uint64(h[2:]); d.left < 1<<16 || d.left > 1<<63-1 {
			return messages.ReasonProtocolError
		}
	}
	d.key = binary.LittleEndian.Uint32(h[len(h)-4:])

	switch d.opcode {
	case opClose, opPing, opPong:
		if !d.final || d.left > maxControl {
			return messages.ReasonProtocolError // section 5.5
		}
		d.control = d.control[:0]
		d.inFrame = true
		return ""
	case OpText, OpBinary:
		if d.inMessage {
			return messages.ReasonProtocolError // section 5.4
		}
		if d.isText = d.opcode == OpText; d.isText && !d.texts {
			refused = messages.ReasonTextMessage
		}
	case opContinuation:
		if !d.inMessage {
			return messages.ReasonProtocolError
		}
	default:
		return messages.ReasonProtocolError
	}
	d.inMessage = !d.final
	d.inFrame = true
	return refused
}

// unmask XORs src with the key into dst, which may be src itself or begin
// before it, and returns the key rotated to the byte that follows.
func unmask(dst, src []byte, key uint32) uint32 {
	wide := uint64(key)<<32 | uint64(key)
	i := 0
	for ; i+32 <= len(src); i += 32 {
		s, t := src[i:i+32:i+32], dst[i:i+32:i+32]
		a := binary.LittleEndian.Uint64(s) ^ wide
		b := binary.LittleEndian.Uint64(s[8:]) ^ wide
		c := binary.LittleEndian.Uint64(s[16:]) ^ wide
		d := binary.LittleEndian.Uint64(s[24:]) ^ wide
		binary.LittleEndian.PutUint64(t, a)
		binary.LittleEndian.PutUint64(t[8:], b)
		binary.LittleEndian.PutUint64(t[16:], c)
		binary.LittleEndian.PutUint64(t[24:], d)
	}
	for ; i < len(src); i++ {
		dst[i] = src[i] ^ byte(key)
		key = key>>8 | key<<24
	}
	return key
}

// validClose reports whether the payload of a close frame is allowed: none, or
// a code that may be sent (RFC 6455, section 7.4) and a text in UTF-8.
func validClose(payload []byte) bool {
	if len(payload) == 0 {
		return true
	}
	if len(payload) == 1 || !utf8.Valid(payload[2:]) {
		return false
	}
	switch code := binary.BigEndian.Uint16(payload); {
	case code >= 3000 && code <= 4999:
		return true
	case code >= 1000 && code <= 1014:
		return code != 1004 && code != 1005 && code != 1006
	}
	return false
}
