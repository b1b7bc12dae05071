package wsock

import (
	"encoding/binary"
	"slices"
)

// WebSocket frames, RFC 6455 section 5.2:
//
//	byte 0     FIN (0x80), RSV1-3 (0x70, must be 0), opcode (0x0f)
//	byte 1     MASK (0x80), payload length: 0-125, 126 or 127
//	           126: length in the next 2 bytes, 127: in the next 8, big-endian
//	4 bytes    masking key, from a client always
//	payload    each byte XORed with the key byte at its position modulo 4
//
// The server reads frames itself instead of message by message: what one system
// call has read leaves in one system call, whatever the client's messages were
// cut into, and no frame costs an allocation.
const (
	opContinuation = 0x0
	OpText         = 0x1
	OpBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa

	finBit  = 0x80
	maskBit = 0x80

	// maxControl is the largest payload of a control frame (RFC 6455,
	// section 5.5).
	maxControl = 125
	// ServerHeader is the room that PutHeader needs at most for the payloads
	// that the server sends, none of which is longer than a buffer.
	ServerHeader = 4
	// MaxHeader is the longest header of a frame that is not masked.
	MaxHeader = 10
	// MaxMaskedHeader is the longest one of a frame that is.
	MaxMaskedHeader = MaxHeader + 4
)

// PutHeader writes the header of an unmasked final frame so that it ends at
// frame[ServerHeader], where the payload of n bytes begins, and returns where
// it starts.
func PutHeader(frame []byte, opcode byte, n int) (start int) {
	if n <= 125 {
		frame[ServerHeader-2] = finBit | opcode
		frame[ServerHeader-1] = byte(n)
		return ServerHeader - 2
	}
	frame[0] = finBit | opcode
	frame[1] = 126
	binary.BigEndian.PutUint16(frame[2:], uint16(n))
	return 0
}

// AppendHeader appends the header of an unmasked final frame with n bytes of
// payload.
func AppendHeader(h []byte, opcode byte, n int) []byte {
	h = append(h, finBit|opcode)
	switch {
	case n <= 125:
		return append(h, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(h, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(h, 127), uint64(n))
}

// AppendMasked appends a masked final frame, as clients send, whose payload are the
// pieces one behind the other. They are masked as they are copied: one pass over
// their bytes.
func AppendMasked(h []byte, opcode byte, key uint32, pieces ...[]byte) []byte {
	n := 0
	for _, piece := range pieces {
		n += len(piece)
	}
	start := len(h)
	h = AppendHeader(h, opcode, n)
	h[start+1] |= maskBit
	h = binary.LittleEndian.AppendUint32(h, key)
	h = slices.Grow(h, n)
	for _, piece := range pieces {
		at := len(h)
		h = h[:at+len(piece)]
		key = unmask(h[at:], piece, key)
	}
	return h
}

// controlFrame returns a whole control frame. The payload must not be longer
// than maxControl.
func controlFrame(opcode byte, payload []byte) []byte {
	return append([]byte{finBit | opcode, byte(len(payload))}, payload...)
}

// closeFrame returns a close frame with a code and a text.
func closeFrame(code int, text string) []byte {
	payload := binary.BigEndian.AppendUint16(make([]byte, 0, maxControl), uint16(code))
	return controlFrame(opClose, append(payload, text[:min(len(text), maxControl-2)]...))
}
