package tap

import (
	"bytes"
	"math"
)

// A requestHead is what the observer reads of a request's head. The slices point
// into the head.
type requestHead struct {
	method, path  []byte
	authorization []byte // the first one's value
	authorized    int    // how many there are
	accept        []byte
	upgrade       bool
	framed        int // fields that frame: more than one of them is no strict request
	body          framing
}

// parseRequest reads the head of a request with its empty line. It is for what the
// proxy writes, and takes nothing that could be read in two ways.
func parseRequest(head []byte, r *requestHead) bool {
	*r = requestHead{}
	line, rest, ok := cutStrictLine(head)
	if !ok {
		return false
	}
	space := bytes.IndexByte(line, ' ')
	if space <= 0 || !isToken(line[:space]) {
		return false
	}
	r.method, line = line[:space], line[space+1:]
	space = bytes.IndexByte(line, ' ')
	if space <= 0 {
		return false
	}
	r.path, line = line[:space], line[space+1:]
	if string(line) != "HTTP/1.1" && string(line) != "HTTP/1.0" {
		return false
	}
	for {
		if line, rest, ok = cutStrictLine(rest); !ok {
			return false
		}
		if len(line) == 0 {
			return r.framed <= 1
		}
		name, value, ok := cutField(line)
		if !ok || !isToken(name) {
			return false
		}
		switch len(name) {
		case len("Content-Length"):
			if equalFold(name, "content-length") {
				if r.body.length, ok = parseLength(value); !ok {
					return false
				}
				r.framed++
			}
		case len("Transfer-Encoding"):
			if equalFold(name, "transfer-encoding") {
				if !equalFold(value, "chunked") {
					return false
				}
				r.body.chunked = true
				r.framed++
			}
		case len("Authorization"):
			if equalFold(name, "authorization") {
				if r.authorized == 0 {
					r.authorization = value
				}
				r.authorized++
			}
		case len("Upgrade"):
			r.upgrade = r.upgrade || equalFold(name, "upgrade")
		case len("Accept"):
			if equalFold(name, "accept") {
				r.accept = value
			}
		}
	}
}

// An answerHead is what the observer reads of an answer's head.
type answerHead struct {
	status      int
	encoded     bool // it has a Content-Encoding
	eventStream bool
	body        framing // as if the request was a GET
}

// parseAnswer reads the head of an answer, of any service.
func parseAnswer(head []byte, a *answerHead) bool {
	*a = answerHead{body: framing{untilClose: true}}
	line, rest, _ := cutLine(head)
	if len(line) < len("HTTP/1.1 200") || string(line[:7]) != "HTTP/1." || line[8] != ' ' {
		return false
	}
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return false
		}
		a.status = a.status*10 + int(c-'0')
	}
	if len(line) > 12 && line[12] != ' ' || a.status < 100 {
		return false
	}
	coded, sized := false, false
	for {
		var ended bool
		if line, rest, ended = cutLine(rest); ended {
			break
		}
		if line[0] == ' ' || line[0] == '\t' { // goes on with the field before
			continue
		}
		name, value, ok := cutField(line)
		if !ok {
			return false
		}
		switch len(name) {
		case len("Content-Length"):
			if equalFold(name, "content-length") {
				length, ok := parseLength(value)
				if !ok || sized && length != a.body.length {
					return false
				}
				sized, a.body.length = true, length
			}
		case len("Transfer-Encoding"):
			if equalFold(name, "transfer-encoding") {
				// The last coding decides, of the last field.
				coded = true
				if i := bytes.LastIndexByte(value, ','); i >= 0 {
					value = trimBlanks(value[i+1:])
				}
				a.body.chunked = equalFold(value, "chunked")
			}
		case len("Content-Encoding"):
			a.encoded = a.encoded || equalFold(name, "content-encoding")
		case len("Content-Type"):
			if equalFold(name, "content-type") {
				const events = "text/event-stream"
				a.eventStream = len(value) >= len(events) && equalFold(value[:len(events)], events)
			}
		}
	}
	a.body.untilClose = coded && !a.body.chunked || !coded && !sized
	if coded {
		a.body.length = 0
	}
	return true
}

// hasNoBody reports whether an answer with this status has none, whatever its head says.
func (a *answerHead) hasNoBody(toHEAD bool) bool {
	return toHEAD || a.status == 204 || a.status == 304
}

// cutLine returns the first line of b without its end, and what follows. It reports
// whether the line is the empty one that ends a head.
func cutLine(b []byte) (line, rest []byte, ended bool) {
	i := bytes.IndexByte(b, '\n')
	if i < 0 {
		return nil, nil, true
	}
	line, rest = b[:i], b[i+1:]
	if i > 0 && line[i-1] == '\r' {
		line = line[:i-1]
	}
	return line, rest, len(line) == 0
}

// cutStrictLine is cutLine for lines that end with CR and LF, and have no other CR,
// nor a NUL, in them: readers differ about those.
func cutStrictLine(b []byte) (line, rest []byte, ok bool) {
	i := bytes.IndexByte(b, '\n')
	if i < 1 || b[i-1] != '\r' {
		return nil, nil, false
	}
	line = b[:i-1]
	return line, b[i+1:], bytes.IndexByte(line, '\r') < 0 && bytes.IndexByte(line, 0) < 0
}

// cutField cuts a field's line at its colon, without the blanks around its value.
func cutField(line []byte) (name, value []byte, ok bool) {
	i := bytes.IndexByte(line, ':')
	if i <= 0 {
		return nil, nil, false
	}
	return line[:i], trimBlanks(line[i+1:]), true
}

func trimBlanks(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// equalFold reports whether b is s, which is in lower case, in any case.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != s[i] {
			return false
		}
	}
	return true
}

// isToken reports whether b is a token (RFC 9110, section 5.6.2).
func isToken(b []byte) bool {
	for _, c := range b {
		if !token[c] {
			return false
		}
	}
	return len(b) > 0
}

var token = func() (table [256]bool) {
	for c := byte('!'); c < 0x7f; c++ {
		table[c] = bytes.IndexByte([]byte(`"(),/:;<=>?@[\]{}`), c) < 0
	}
	return table
}()

// parseLength reads the value of a Content-Length.
func parseLength(b []byte) (uint64, bool) {
	if len(b) == 0 {
		return 0, false
	}
	n := uint64(0)
	for _, c := range b {
		if c < '0' || c > '9' || n > (math.MaxInt64-9)/10 {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}
