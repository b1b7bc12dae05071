package http1

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"wsproxy/messages"
)

// What Length is of an answer whose body has no length.
const (
	Chunked    = -1 // it comes in chunks
	UntilClose = -2 // it lasts until the connection ends
)

// An Answer is the head of an answer.
type Answer struct {
	Status int // 100 to 999
	// Fields are all lines of the header, in order. A name need not be valid, nor a
	// value.
	Fields []messages.Field
	// Length is that of the body which follows, in bytes, or one of the constants
	// above.
	Length int64
	// Keep reports whether the service reads another request behind the body.
	Keep bool
}

// ErrFields says that an answer's header, or its trailer, has more than
// [messages.MaxAnswerFields].
var ErrFields = errors.New("it has too many fields")

// Other errors of ParseAnswer.
var (
	errStatusLine = errors.New("its first line is none of HTTP/1.1")
	errFraming    = errors.New("its header says in two ways, or in none that is known, how long its body is")
	errNoField    = errors.New("a line of its header is no field")
)

// HeadEnd returns where the head ends that b begins with, or -1 if it has not come
// whole. What stands before from was looked at before.
func HeadEnd(b []byte, from int) int {
	for i := max(from-3, 0); ; {
		n := bytes.IndexByte(b[i:], '\n')
		if n < 0 {
			return -1
		}
		i += n + 1
		switch rest := b[i:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return i + 1
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return i + 2
		}
	}
}

// ParseAnswer reads a head that has come whole, of an answer to a request with a
// method. Lines may end without a carriage return (RFC 9112, section 2.2).
func ParseAnswer(head []byte, method string) (a Answer, err error) {
	text := string(head) // once, for all values
	line, text := cutLine(text)
	proto, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	if (proto != "HTTP/1.1" && proto != "HTTP/1.0") || len(code) != 3 {
		return a, errStatusLine
	}
	if a.Status, err = strconv.Atoi(code); err != nil || a.Status < 100 {
		return a, errStatusLine
	}
	if a.Fields, err = parseFields(text); err != nil {
		return a, err
	}
	return a, a.frame(method, proto == "HTTP/1.1")
}

// cutLine cuts the first line off, without its end.
func cutLine(text string) (line, rest string) {
	line, rest, _ = strings.Cut(text, "\n")
	return strings.TrimSuffix(line, "\r"), rest
}

// parseFields reads the lines of a header or trailer up to an empty one. A line that
// goes on in the next is joined with a blank (RFC 9112, section 5.2), and blanks
// before the colon are no part of a name (section 5.1).
func parseFields(text string) (fields []messages.Field, err error) {
	fields = make([]messages.Field, 0, min(strings.Count(text, "\n"), messages.MaxAnswerFields))
	for text != "" {
		var line string
		if line, text = cutLine(text); line == "" {
			break
		}
		if line[0] == ' ' || line[0] == '\t' {
			if len(fields) == 0 {
				return nil, errNoField
			}
			last := &fields[len(fields)-1]
			last.Value = strings.Trim(last.Value+" "+strings.Trim(line, " \t"), " \t")
			continue
		}
		name, value, found := strings.Cut(line, ":")
		if !found {
			return nil, errNoField
		}
		if len(fields) == messages.MaxAnswerFields {
			return nil, ErrFields
		}
		fields = append(fields, messages.Field{
			Name:  http.CanonicalHeaderKey(strings.TrimRight(name, " \t")),
			Value: strings.Trim(value, " \t"),
		})
	}
	return fields, nil
}

// frame says how long the body is (RFC 9112, section 6.3), and whether the
// connection goes on (section 9.3).
func (a *Answer) frame(method string, current bool) error {
	length, lengths, codings := int64(-1), 0, ""
	closes, keeps := false, current
	for _, f := range a.Fields {
		switch f.Name {
		case "Content-Length":
			for text := range strings.SplitSeq(f.Value, ",") {
				n, err := strconv.ParseUint(strings.Trim(text, " \t"), 10, 63)
				if err != nil || lengths > 0 && int64(n) != length {
					if a.hasBody(method) {
						return errFraming
					}
					continue
				}
				length = int64(n)
				lengths++
			}
		case "Transfer-Encoding":
			codings += "," + f.Value
		case "Connection":
			for option := range strings.SplitSeq(f.Value, ",") {
				switch strings.ToLower(strings.Trim(option, " \t")) {
				case "close":
					closes = true
				case "keep-alive":
					keeps = true
				}
			}
		}
	}
	a.Keep = keeps && !closes
	switch {
	case !a.hasBody(method):
		a.Length = 0
	case codings != "":
		if !strings.EqualFold(strings.Trim(codings, ", \t"), "chunked") {
			return errFraming
		}
		a.Length = Chunked
		a.Keep = a.Keep && current && lengths == 0
	case lengths > 0:
		a.Length = length
	default:
		a.Length, a.Keep = UntilClose, false
	}
	return nil
}

// hasBody reports whether an answer may have a body (RFC 9110, section 6.4.1).
func (a *Answer) hasBody(method string) bool {
	return method != http.MethodHead && a.Status >= 200 && a.Status != http.StatusNoContent && a.Status != http.StatusNotModified
}
