package tap

import "bytes"

// Bounds of what the observer keeps and follows.
const (
	// maxHead bounds a head that has come in pieces. The proxy passes 64 KiB of
	// fields at most, and refuses more from the service.
	maxHead = 128 << 10
	// maxSizeLine bounds the line in front of a chunk, with its extensions.
	maxSizeLine = 4 << 10
)

// A stage is where in a message a framer is.
type stage uint8

const (
	inHead stage = iota
	inLength
	inSizeLine
	inChunk
	inChunkEnd
	inTrailer
	untilClose // the message ends with its connection
	opaque     // no messages any more: upgraded, or lost
)

// A kind is what a framer has met.
type kind uint8

const (
	metNothing kind = iota // bytes of framing, or a part of a head
	metHead                // a whole head; setBody must follow
	metBody                // bytes of a body
	metOpaque              // bytes of no message
	metGarbage             // what is no HTTP; the framer is lost from here
)

// A piece is what a framer made of the front of what it was given.
type piece struct {
	kind kind
	n    int    // so many bytes were taken
	span []byte // the head with its empty line, or bytes of the body; valid until the next call
	done bool   // the message has ended with it
}

// A framer finds heads, bodies and ends in HTTP/1.1 messages of one direction that
// come in any pieces. It keeps no bytes of bodies.
type framer struct {
	// strict takes nothing that two readers could read differently: a bare LF ends
	// no line.
	strict bool

	stage stage
	head  []byte // the front of a head that came in pieces
	left  uint64 // of the body or the chunk
	// size is what the digits of a size line say so far; line is its length, or
	// that of a trailer's line without a CR.
	size    uint64
	line    int
	ext     bool // an extension has begun
	digits  bool // there was one at least
	afterCR bool
}

// between reports whether the next byte begins a message.
func (f *framer) between() bool { return f.stage == inHead && len(f.head) == 0 }

// next takes what it can from the front of b, which is not empty, and at least one byte.
func (f *framer) next(b []byte) piece {
	switch f.stage {
	case inHead:
		return f.nextHead(b)
	case inLength, inChunk:
		n := len(b)
		if f.left < uint64(n) {
			n = int(f.left)
		}
		f.left -= uint64(n)
		p := piece{kind: metBody, n: n, span: b[:n]}
		if f.left == 0 {
			if f.stage == inLength {
				f.begin()
				p.done = true
			} else {
				f.stage, f.afterCR = inChunkEnd, false
			}
		}
		return p
	case untilClose:
		return piece{kind: metBody, n: len(b), span: b}
	case opaque:
		return piece{kind: metOpaque, n: len(b), span: b}
	}
	return f.nextFraming(b)
}

// nextHead looks for the end of a head.
func (f *framer) nextHead(b []byte) piece {
	if len(f.head) == 0 {
		if n := f.headEnd(b, 0); n > 0 {
			return piece{kind: metHead, n: n, span: b[:n]}
		}
	}
	// Only what is new is searched, and the two bytes before that an end may have
	// begun in.
	before := len(f.head)
	from := max(before-2, 0)
	take := min(len(b), maxHead-before)
	f.head = append(f.head, b[:take]...)
	if n := f.headEnd(f.head, from); n > 0 {
		span := f.head[:n]
		return piece{kind: metHead, n: n - before, span: span}
	}
	if len(f.head) == maxHead {
		f.lose()
		return piece{kind: metGarbage, n: take}
	}
	return piece{n: take}
}

// headEnd returns how long the head is that b begins with, 0 if its end is not
// there. It looks for line ends from byte from on.
func (f *framer) headEnd(b []byte, from int) int {
	if f.strict {
		if i := bytes.Index(b[max(from-1, 0):], []byte("\r\n\r\n")); i >= 0 {
			return max(from-1, 0) + i + 4
		}
		return 0
	}
	for i := from; ; i++ {
		j := bytes.IndexByte(b[i:], '\n')
		if j < 0 {
			return 0
		}
		i += j
		if i+1 < len(b) && b[i+1] == '\n' {
			return i + 2
		}
		if i+2 < len(b) && b[i+1] == '\r' && b[i+2] == '\n' {
			return i + 3
		}
	}
}

// A framing says how long a body is.
type framing struct {
	chunked    bool
	untilClose bool
	length     uint64
}

// setBody says what follows the head that was just met, and reports whether the
// message has ended with it.
func (f *framer) setBody(body framing) (done bool) {
	f.head = f.head[:0]
	if cap(f.head) > 4<<10 {
		f.head = nil
	}
	switch {
	case body.chunked:
		f.beginSizeLine()
	case body.untilClose:
		f.stage = untilClose
	case body.length > 0:
		f.stage, f.left = inLength, body.length
	default:
		f.begin()
		return true
	}
	return false
}

func (f *framer) begin() { f.stage = inHead }

// lose has the framer follow no more messages.
func (f *framer) lose() { f.stage, f.head = opaque, nil }

func (f *framer) beginSizeLine() {
	f.stage, f.size, f.line = inSizeLine, 0, 0
	f.ext, f.digits, f.afterCR = false, false, false
}

// nextFraming takes what is around chunks, byte by byte: there is little of it.
func (f *framer) nextFraming(b []byte) piece {
	for i, c := range b {
		ok, done := true, false
		switch f.stage {
		case inSizeLine:
			ok = f.sizeByte(c)
		case inChunkEnd:
			if ok = f.lineEnd(c); ok && c == '\n' {
				f.beginSizeLine()
			}
		case inTrailer:
			ok, done = f.trailerByte(c)
		default: // a chunk has begun
			return piece{n: i}
		}
		if !ok {
			f.lose()
			return piece{kind: metGarbage, n: i + 1}
		}
		if done {
			f.begin()
			return piece{n: i + 1, done: true}
		}
	}
	return piece{n: len(b)}
}

// lineEnd takes a byte of a line's end, and reports whether it may stand there.
func (f *framer) lineEnd(c byte) bool {
	switch {
	case c == '\r' && !f.afterCR:
		f.afterCR = true
		return true
	case c == '\n' && (f.afterCR || !f.strict):
		f.afterCR = false
		return true
	}
	return false
}

// sizeByte takes a byte of the line in front of a chunk.
func (f *framer) sizeByte(c byte) bool {
	if f.line++; f.line > maxSizeLine {
		return false
	}
	if c == '\n' {
		if !f.digits || f.strict && !f.afterCR {
			return false
		}
		f.afterCR = false
		if f.size == 0 {
			f.stage, f.line = inTrailer, 0
		} else {
			f.stage, f.left = inChunk, f.size
		}
		return true
	}
	if f.afterCR {
		return false
	}
	switch {
	case c == '\r':
		f.afterCR = true
	case f.ext:
	case c == ';' || c == ' ' || c == '\t':
		f.ext = true
	default:
		digit, ok := hexDigit(c)
		if !ok || f.size >= 1<<58 {
			return false
		}
		f.size, f.digits = f.size<<4|digit, true
	}
	return true
}

func hexDigit(c byte) (uint64, bool) {
	switch {
	case '0' <= c && c <= '9':
		return uint64(c - '0'), true
	case 'a' <= c && c <= 'f':
		return uint64(c-'a') + 10, true
	case 'A' <= c && c <= 'F':
		return uint64(c-'A') + 10, true
	}
	return 0, false
}

// trailerByte takes a byte of the lines behind the last chunk; an empty one is the
// end of the message.
func (f *framer) trailerByte(c byte) (ok, done bool) {
	switch {
	case c == '\n' && (f.afterCR || !f.strict):
		done = f.line == 0
		f.line, f.afterCR = 0, false
	case c == '\n' || f.afterCR:
		return false, false
	case c == '\r':
		f.afterCR = true
	default:
		if f.line++; f.line > maxHead {
			return false, false
		}
	}
	return true, done
}
