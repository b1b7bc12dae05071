package http1

import (
	"errors"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// ErrMalformed says that a part of a request can't be written: a service might
// read it as something else.
var ErrMalformed = errors.New("a part of the request can't be written in HTTP/1.1")

// AppendRequestLine appends the first two lines of a request: what it asks for, and
// of whom.
func AppendRequestLine(b []byte, method, target, host string) ([]byte, error) {
	if !httpguts.ValidHeaderFieldName(method) || !validTarget(target) || !httpguts.ValidHostHeader(host) {
		return b, ErrMalformed
	}
	b = append(b, method...)
	b = append(b, ' ')
	b = append(b, target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	b = append(b, host...)
	return append(b, "\r\n"...), nil
}

// validTarget reports whether a request target ends where the line's next blank
// stands, and nowhere else (RFC 9112, section 3.2).
func validTarget(target string) bool {
	if target == "" {
		return false
	}
	for i := range len(target) {
		if c := target[i]; c <= ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

// AppendField appends a line of a header or trailer. Blanks around the value are
// none of it (RFC 9110, section 5.5).
func AppendField(b []byte, name, value string) ([]byte, error) {
	if !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(value) {
		return b, ErrMalformed
	}
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, strings.Trim(value, " \t")...)
	return append(b, "\r\n"...), nil
}

// Room that the frame of a chunk takes before and behind its data, in bytes. A chunk
// is no longer than 64 KiB.
const (
	ChunkHead = 6 // four hex digits and the line's end
	ChunkTail = 2
)

// PutChunk makes a chunk of the n bytes at room[ChunkHead:], at least one and
// below 64 KiB, and returns where it stands.
func PutChunk(room []byte, n int) (from, to int) {
	const digits = "0123456789abcdef"
	from = ChunkHead - 2
	copy(room[from:], "\r\n")
	for rest := n; rest > 0; rest >>= 4 {
		from--
		room[from] = digits[rest&0xf]
	}
	copy(room[ChunkHead+n:], "\r\n")
	return from, ChunkHead + n + ChunkTail
}

// LastChunk ends a body in chunks; the trailer and an empty line follow.
const LastChunk = "0\r\n"

// SwitchingHead returns the head of an answer that says that the connection speaks a
// protocol from now on, with these fields beside. What can't be written of them is left
// out.
func SwitchingHead(protocol string, header http.Header) []byte {
	head := []byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + protocol + "\r\n")
	for name, values := range header {
		for _, value := range values {
			if line, err := AppendField(head, name, value); err == nil {
				head = line
			}
		}
	}
	return append(head, "\r\n"...)
}
