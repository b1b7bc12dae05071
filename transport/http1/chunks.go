package http1

import (
	"bytes"
	"errors"
	"strings"

	"wsproxy/messages"
)

// maxChunkLine is how long the line before a chunk's data may be, in bytes: its size
// and what extensions say of it. Nobody is known to use those.
const maxChunkLine = 1 << 10

var (
	errChunk   = errors.New("its chunks are malformed")
	errTrailer = errors.New("its trailer has too many fields")
)

// Chunks takes a body in chunks apart while it comes (RFC 9112, section 7.1). The zero
// value is at its beginning.
type Chunks struct {
	state   chunkState
	left    int64  // bytes of the chunk's data that have yet to come
	line    []byte // the line so far, if it comes in pieces
	trailer []byte // the lines of the trailer
}

type chunkState uint8

const (
	chunkSize    chunkState = iota // in the line before the data
	chunkData                      // in the data
	chunkDataEnd                   // in the line's end behind the data
	chunkTrailer
	chunkDone
)

// Next returns the next bytes of data that b holds, none if there are none, and what
// stands behind them: that may be more data, or nothing of the body if it is Done. data
// is a part of b.
func (c *Chunks) Next(b []byte) (data, rest []byte, err error) {
	for len(b) > 0 && c.state != chunkDone {
		if c.state == chunkData {
			n := int(min(c.left, int64(len(b))))
			if c.left -= int64(n); c.left == 0 {
				c.state = chunkDataEnd
			}
			return b[:n], b[n:], nil
		}
		var line []byte
		var whole bool
		if line, b, whole, err = c.cutLine(b); err != nil {
			return nil, b, err
		}
		if whole {
			if err := c.take(line); err != nil {
				return nil, b, err
			}
		}
	}
	return nil, b, nil
}

// Done reports whether the body has come whole.
func (c *Chunks) Done() bool { return c.state == chunkDone }

// Trailer returns the fields behind the last chunk.
func (c *Chunks) Trailer() ([]messages.Field, error) {
	if len(c.trailer) == 0 {
		return nil, nil
	}
	return parseFields(string(c.trailer))
}

// cutLine cuts a line off b, with its end, and reports whether it is whole. One that
// is not is kept.
func (c *Chunks) cutLine(b []byte) (line, rest []byte, whole bool, err error) {
	bound := maxChunkLine
	if c.state == chunkTrailer {
		bound = messages.MaxAnswerHeader - len(c.trailer)
	}
	n := bytes.IndexByte(b, '\n') + 1
	line = b[:n]
	if n == 0 {
		line = b
	}
	if len(c.line)+len(line) > max(bound, 2) {
		if c.state == chunkTrailer {
			return nil, b, false, errTrailer
		}
		return nil, b, false, errChunk
	}
	if n == 0 {
		c.line = append(c.line, b...)
		return nil, nil, false, nil
	}
	if len(c.line) > 0 {
		c.line = append(c.line, line...)
		line, c.line = c.line, nil
	}
	return line, b[n:], true, nil
}

// take takes a line that has come whole.
func (c *Chunks) take(line []byte) error {
	text, ended := bytes.CutSuffix(line, []byte("\r\n"))
	if !ended || bytes.IndexByte(text, '\r') >= 0 {
		return errChunk
	}
	switch c.state {
	case chunkDataEnd:
		if len(text) > 0 {
			return errChunk
		}
		c.state = chunkSize
	case chunkSize:
		size, ok := parseChunkSize(text)
		if !ok {
			return errChunk
		}
		c.state, c.left = chunkData, size
		if size == 0 {
			c.state = chunkTrailer
		}
	case chunkTrailer:
		if len(text) == 0 {
			c.state = chunkDone
			return nil
		}
		c.trailer = append(c.trailer, line...)
	}
	return nil
}

// parseChunkSize reads the size before a chunk, whose extensions say nothing that
// anybody here has to know.
func parseChunkSize(line []byte) (n int64, ok bool) {
	digits, _, _ := bytes.Cut(line, []byte{';'})
	digits = bytes.TrimRight(digits, " \t") // RFC 9112, section 7.1.1
	if len(digits) == 0 || len(digits) > 15 {
		return 0, false
	}
	for _, d := range digits {
		i := strings.IndexByte("0123456789abcdef", d|0x20)
		if i < 0 || d < '0' {
			return 0, false
		}
		n = n<<4 | int64(i)
	}
	return n, true
}

// Unchunk returns the body that a chunked one stands for, and whether b was one, from
// its first byte to its last. Any other b comes back as it is: then it was decoded
// before. It overwrites b. A trailer is dropped.
func Unchunk(b []byte) (body []byte, ok bool) {
	if !eachChunk(b, func([]byte) {}) {
		return b, false
	}
	body = b[:0] // what is written is always behind what is read
	eachChunk(b, func(data []byte) { body = append(body, data...) })
	return body, true
}

// eachChunk calls take with the data of each chunk, and reports whether all of b was
// a chunked body.
func eachChunk(b []byte, take func(data []byte)) bool {
	var chunks Chunks
	for len(b) > 0 && !chunks.Done() {
		data, rest, err := chunks.Next(b)
		if err != nil {
			return false
		}
		take(data)
		b = rest
	}
	return chunks.Done() && len(b) == 0
}
