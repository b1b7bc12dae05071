package transport

import (
	"bytes"
	"errors"
	"strconv"
)

// maxChunkLine bounds a line of a chunked body, in bytes: a size, extensions,
// or a trailer field.
const maxChunkLine = 4 << 10

var errChunked = errors.New("its chunked body is damaged")

// decodeChunked returns the body that a chunked one stands for (RFC 9112,
// section 7.1). A body that does not begin like one was decoded before, and
// comes back as it is; one that begins like one and is damaged is an error.
// It overwrites b.
func decodeChunked(b []byte) ([]byte, error) {
	if _, _, ok := chunkSize(b); !ok {
		return b, nil
	}
	out := b[:0]
	for {
		size, rest, ok := chunkSize(b)
		if !ok {
			return nil, errChunked
		}
		if size == 0 {
			return out, endOfChunks(rest)
		}
		if len(rest) < size+2 || rest[size] != '\r' || rest[size+1] != '\n' {
			return nil, errChunked
		}
		out = append(out, rest[:size]...)
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

// endOfChunks reads the trailer, which is dropped, and makes sure that nothing
// follows it.
func endOfChunks(b []byte) error {
	for {
		line, rest, ok := chunkLine(b)
		if !ok {
			return errChunked
		}
		b = rest
		if len(line) == 0 {
			break
		}
	}
	if len(b) > 0 {
		return errChunked
	}
	return nil
}
