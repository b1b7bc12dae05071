package messages

import (
	"bytes"
	"errors"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Control messages are read and written by hand: each carries a whole HTTP
// body, and encoding/json goes over it twice, copies it, and took a third of
// the time that a request costs. The fuzz tests hold both directions to
// encoding/json.

var (
	errJSON      = errors.New("a control message is not valid JSON")
	errWrongType = errors.New("a field of a control message has the wrong type")
)

// A jsonReader takes a JSON text apart. Strings come back as parts of the text,
// which it overwrites as it resolves their escapes.
type jsonReader struct {
	b []byte
	i int
}

// next skips white space and returns the next byte, or 0 at the end.
func (r *jsonReader) next() byte {
	for r.i < len(r.b) {
		switch c := r.b[r.i]; c {
		case ' ', '\t', '\r', '\n':
			r.i++
		default:
			return c
		}
	}
	return 0
}

// take skips white space and then c, and reports whether c was there.
func (r *jsonReader) take(c byte) bool {
	if r.next() != c {
		return false
	}
	r.i++
	return true
}

// object calls member for each member of an object, after its name. member
// must read the value.
func (r *jsonReader) object(member func(name []byte) error) error {
	if !r.take('{') {
		return errWrongType
	}
	if r.take('}') {
		return nil
	}
	for {
		name, err := r.name()
		if err != nil {
			return err
		}
		if err := member(name); err != nil {
			return err
		}
		if r.take('}') {
			return nil
		}
		if !r.take(',') {
			return errJSON
		}
	}
}

// name reads the name of a member, and the colon behind it.
func (r *jsonReader) name() ([]byte, error) {
	if r.next() != '"' {
		return nil, errJSON
	}
	name, err := r.str()
	if err == nil && !r.take(':') {
		err = errJSON
	}
	return name, err
}

// array calls element before each element of an array. element must read it.
func (r *jsonReader) array(element func() error) error {
	if !r.take('[') {
		return errWrongType
	}
	if r.take(']') {
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		if r.take(']') {
			return nil
		}
		if !r.take(',') {
			return errJSON
		}
	}
}

// null skips null, and reports whether it was there.
func (r *jsonReader) null() bool {
	if r.next() == 'n' && bytes.HasPrefix(r.b[r.i:], []byte("null")) {
		r.i += 4
		return true
	}
	return false
}

// str reads a string.
func (r *jsonReader) str() ([]byte, error) {
	if r.next() != '"' {
		return nil, errWrongType
	}
	r.i++
	s := r.b[r.i:]
	n := plain(s)
	if n == len(s) {
		return nil, errJSON
	}
	if s[n] == '"' {
		r.i += n + 1
		return validText(s[:n]), nil
	}
	return r.escaped(s, n)
}

// plain returns how many bytes of s are neither a quote, a backslash nor a
// control character. It looks at eight at a time.
func plain(s []byte) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(s); i += 8 {
		_ = s[i+7]
		v := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		quote, slash := v^(ones*'"'), v^(ones*'\\')
		if ((v-ones*0x20)&^v|(quote-ones)&^quote|(slash-ones)&^slash)&highs != 0 {
			break
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' {
			break
		}
	}
	return i
}

// escaped reads on in a string whose first n bytes are plain.
func (r *jsonReader) escaped(s []byte, n int) ([]byte, error) {
	out, at := n, n // what is read goes to s[:out]
	for at < len(s) {
		switch c := s[at]; {
		case c == '"':
			r.i += at + 1
			return validText(s[:out]), nil
		case c < 0x20:
			return nil, errJSON
		case c == '\\':
			if at+1 >= len(s) {
				return nil, errJSON
			}
			var short byte
			switch s[at+1] {
			case '"', '\\', '/':
				short = s[at+1]
			case 'b':
				short = '\b'
			case 'f':
				short = '\f'
			case 'n':
				short = '\n'
			case 'r':
				short = '\r'
			case 't':
				short = '\t'
			case 'u':
				char, used, ok := unicodeEscape(s[at:])
				if !ok {
					return nil, errJSON
				}
				at += used
				out += utf8.EncodeRune(s[out:], char) // at most 3 bytes for 6, or 4 for 12
				continue
			default:
				return nil, errJSON
			}
			s[out] = short
			out++
			at += 2
		default:
			m := plain(s[at:])
			copy(s[out:], s[at:at+m])
			out += m
			at += m
		}
	}
	return nil, errJSON
}

// unicodeEscape reads \uXXXX, or two of them that are a surrogate pair. Half a
// pair is the replacement character.
func unicodeEscape(s []byte) (char rune, used int, ok bool) {
	first, ok := hex4(s)
	if !ok {
		return 0, 0, false
	}
	if utf16.IsSurrogate(first) {
		if second, ok := hex4(s[6:]); ok {
			if char := utf16.DecodeRune(first, second); char != utf8.RuneError {
				return char, 12, true
			}
		}
		return utf8.RuneError, 6, true
	}
	return first, 6, true
}

func hex4(s []byte) (char rune, ok bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	for _, c := range s[2:6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		char = char<<4 | rune(c)
	}
	return char, true
}

// validText replaces what is not UTF-8 by the replacement character.
func validText(s []byte) []byte {
	if utf8.Valid(s) {
		return s
	}
	return bytes.ToValidUTF8(s, []byte("\uFFFD"))
}

// integer reads a number that is one. It stays in front of one that is not.
func (r *jsonReader) integer() (int, error) {
	c := r.next()
	if c != '-' && (c < '0' || c > '9') {
		return 0, errWrongType
	}
	start := r.i
	text, err := r.number()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		r.i = start
		return 0, errWrongType
	}
	return int(n), nil
}

// number reads a number's text (RFC 8259, section 6).
func (r *jsonReader) number() ([]byte, error) {
	start := r.i
	digits := func() int {
		from := r.i
		for r.i < len(r.b) && r.b[r.i] >= '0' && r.b[r.i] <= '9' {
			r.i++
		}
		return r.i - from
	}
	at := func(c byte) bool {
		if r.i < len(r.b) && r.b[r.i] == c {
			r.i++
			return true
		}
		return false
	}
	at('-')
	if !at('0') && digits() == 0 {
		return nil, errJSON
	}
	if at('.') && digits() == 0 {
		return nil, errJSON
	}
	if at('e') || at('E') {
		if !at('+') {
			at('-')
		}
		if digits() == 0 {
			return nil, errJSON
		}
	}
	return r.b[start:r.i], nil
}

// skip reads over a value of any type, however deep it is nested. Which
// containers it is in it notes in the bytes that it has read already: each
// container has taken one of them, at least.
func (r *jsonReader) skip() error {
	start, depth := r.i, 0
	for {
		open := r.next()
		if open == '{' || open == '[' {
			r.i++
			if !r.take(open + 2) { // '}' or ']'
				r.b[start+depth] = open
				depth++
				if err := r.skipName(open); err != nil {
					return err
				}
				continue
			}
		} else if err := r.skipPlain(open); err != nil {
			return err
		}
		for { // behind a value
			if depth == 0 {
				return nil
			}
			open = r.b[start+depth-1]
			if !r.take(open + 2) {
				break
			}
			depth--
		}
		if !r.take(',') {
			return errJSON
		}
		if err := r.skipName(open); err != nil {
			return err
		}
	}
}

// skipName reads over what stands before a value in a container.
func (r *jsonReader) skipName(open byte) error {
	if open == '[' {
		return nil
	}
	_, err := r.name()
	return err
}

// skipPlain reads over a value that is no container and begins with c.
func (r *jsonReader) skipPlain(c byte) error {
	switch c {
	case '"':
		_, err := r.str()
		return err
	case 't', 'f', 'n':
		for _, word := range []string{"true", "false", "null"} {
			if bytes.HasPrefix(r.b[r.i:], []byte(word)) {
				r.i += len(word)
				return nil
			}
		}
		return errJSON
	}
	_, err := r.number()
	return err
}
