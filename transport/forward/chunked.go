package forward

import (
	"bytes"
	"strconv"
)

// maxChunkLine bounds a line of a chunked body, in bytes: a size, extensions,
// or a trailer field.
const maxChunkLine = 4 << 10

// decodeChunked returns the body that a chunked one stands for (RFC 9112,
// section 7.1), and whether b was one, from its first byte to its last. Any
// other b comes back as it is: then it was decoded before. It overwrites b.
func decodeChunked(b []byte) (body []byte, ok bool) {
	if !isChunked(b) {
		return b, false
	}
	body = b[:0]
	for {
		size, rest, _ := chunkSize(b)
		if size == 0 {
			return body, true
		}
		body = append(body, rest[:size]...)
		b = rest[size+2:]
	}
}

// isChunked reports whether all of b is a chunked body.
func isChunked(b []byte) bool {
	for {
		size, rest, ok := chunkSize(b)
		switch {
		case !ok:
			return false
		case size == 0:
			return isTrailer(rest)
		case len(rest) < size+2 || rest[size] != '\r' || rest[size+1] != '\n':
			return false
		}
		b = rest[size+2:]
	}
}

// chunkSize reads the line before a chunk.
func chunkSize(b []byte) (size int, rest []byte, ok bool) {
	line, rest, ok := chunkLine(b)
	if !ok {
		return 0, nil, false
	}
	digits, _, _ := bytes.Cut(line, []byte(";"))
	digits = bytes.TrimRight(digits, " \t") // bad whitespace that some senders leave
	n, err := strconv.ParseUint(string(digits), 16, 31)
	if err != nil || len(digits) > 8 {
		return 0, nil, false
	}
	return int(n), rest, true
}

// chunkLine cuts off a line that ends with CR LF. A CR or an LF by itself ends
// no line and has no place within one (RFC 9112, section 2.2): recipients that
// differ on it can be made to see different bodies.
func chunkLine(b []byte) (line, rest []byte, ok bool) {
	end := bytes.IndexAny(b[:min(len(b), maxChunkLine)], "\r\n")
	if end < 0 || !bytes.HasPrefix(b[end:], []byte("\r\n")) {
		return nil, nil, false
	}
	return b[:end], b[end+2:], true
}

// isTrailer reports whether b is a trailer, which is dropped, and nothing more.
func isTrailer(b []byte) bool {
	for {
		line, rest, ok := chunkLine(b)
		if !ok {
			return false
		}
		if len(line) == 0 {
			return len(rest) == 0
		}
		b = rest
	}
}
