package fields

import (
	"strconv"
	"strings"
)

// A Framing is what a tunnel's answer says of how its body was framed on its
// way to the tunnel.
type Framing struct {
	lengths []string // values of Content-Length
	codings []string // values of Transfer-Encoding
}

// Says reports whether there is a Content-Length that says something.
func (f Framing) Says() bool { return !f.Fits(-1) }

// Fits reports whether a body of n bytes is as long as the answer's
// Content-Length says: as one of them if they contradict each other. What is no
// number says nothing.
func (f Framing) Fits(n int64) bool {
	said := false
	for _, line := range f.lengths {
		for text := range strings.SplitSeq(line, ",") {
			length, err := strconv.ParseUint(strings.Trim(text, " \t"), 10, 63)
			if err == nil && int64(length) == n {
				return true
			}
			said = said || err == nil
		}
	}
	return !said
}

// ContentLength returns the Content-Length that an answer gives, if it is
// valid (RFC 9110, section 8.6: several equal ones are one).
func (f Framing) ContentLength() (n int64, ok bool) {
	n = -1
	for _, line := range f.lengths {
		for text := range strings.SplitSeq(line, ",") {
			text = strings.Trim(text, " \t")
			length, err := strconv.ParseUint(text, 10, 63)
			if err != nil || n >= 0 && n != int64(length) {
				return 0, false
			}
			n = int64(length)
		}
	}
	return n, n >= 0
}

// Chunked reports whether the body should be in chunks.
func (f Framing) Chunked() bool {
	for _, line := range f.codings {
		for coding := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.Trim(coding, " \t"), "chunked") {
				return true
			}
		}
	}
	return false
}
