package fields

import (
	"fmt"
	"net/http"
	"strings"
	"unicode/utf8"
)

// headerSize is about what a header takes in memory, in bytes.
func headerSize(header http.Header) (n int64) {
	const field = 64 // of the map and the slice
	for name, values := range header {
		for _, value := range values {
			n += int64(len(name) + len(value) + field)
		}
	}
	return n
}

// Text returns a header value as text: as ISO 8859-1 if it is not UTF-8 as
// a whole, for that is what such a sender means (RFC 9110, section 5.5).
func Text(value string) string {
	if utf8.ValidString(value) {
		return value
	}
	text := make([]rune, len(value))
	for i := range len(value) {
		text[i] = rune(value[i])
	}
	return string(text)
}

// Target returns path and query as they came. Each byte that is not part
// of valid UTF-8 is percent-encoded: in JSON it would be lost.
func Target(r *http.Request) string {
	target := r.RequestURI
	if !strings.HasPrefix(target, "/") && target != "*" {
		target = r.URL.RequestURI() // absolute form: RFC 9112, section 3.2.2
	}
	if utf8.ValidString(target) {
		return target
	}
	var b strings.Builder
	for i := 0; i < len(target); {
		char, size := utf8.DecodeRuneInString(target[i:])
		if char == utf8.RuneError && size == 1 {
			fmt.Fprintf(&b, "%%%02X", target[i])
		} else {
			b.WriteString(target[i : i+size])
		}
		i += size
	}
	return b.String()
}

// HeadSize is the same of what a request has before its body.
func HeadSize(r *http.Request) int64 { return int64(len(r.RequestURI)) + headerSize(r.Header) }
