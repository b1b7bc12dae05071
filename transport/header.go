package transport

import "bytes"

// maxFields bounds the fields of a request's header: fixed by the protocol,
// section 12. Browsers send some 20. net/http bounds bytes alone, and a field of
// three bytes costs it some hundred.
const maxFields = 200

// A headerScan looks at a request's header while net/http reads it, which hides
// some of it, and counts no fields. The zero value is at a header's beginning.
type headerScan struct {
	fields int  // lines of fields that have begun
	size   int  // bytes of the header, lines before it included
	partly bool // its beginning was not seen
	lines  bool // a line that is not empty has ended: the next empty one is the header's end

	// Of the line that comes.
	length uint8 // of it, without its end; at most 2, which stands for more
	cr     bool  // its first byte is a carriage return
	name   *fieldName
	match  uint8 // how much of that name it has begun with

	hasLength, hasCoding bool // whether there are fields of these names
}

// A fieldName is a name that the scan looks for, in lower case and with its
// colon.
type fieldName string

var (
	lengthName fieldName = "content-length:"
	codingName fieldName = "transfer-encoding:"
)

// join has the scan begin somewhere within a header, and within a line.
func (s *headerScan) join() { s.partly, s.lines, s.length = true, true, 2 }

// read takes what has come, and reports whether it held the header's end. It
// keeps nothing of p.
func (s *headerScan) read(p []byte) (end bool) {
	for i := 0; i < len(p); {
		rest := p[i:]
		n := bytes.IndexByte(rest, '\n')
		line := rest
		if n >= 0 {
			line = rest[:n]
		}
		if len(line) > 0 && s.length < 2 {
			s.start(line)
		}
		if s.name != nil {
			s.compare(line)
		}
		if n < 0 {
			s.size += len(rest)
			return false
		}
		i += n + 1
		s.size += n + 1
		empty := s.length == 0 || s.length == 1 && s.cr
		s.length, s.cr, s.name = 0, false, nil
		switch {
		case !empty:
			s.lines = true
		case s.lines:
			return true
		}
	}
	return false
}

// start looks at the first bytes of a line. A line is a field if it is not the
// request line, and no continuation of the one before.
func (s *headerScan) start(line []byte) {
	if s.length == 0 {
		s.cr = line[0] == '\r'
		if s.lines && line[0] != ' ' && line[0] != '\t' && !s.cr {
			s.fields++
			switch line[0] | 0x20 {
			case 'c':
				s.name, s.match = &lengthName, 0
			case 't':
				s.name, s.match = &codingName, 0
			}
		}
	}
	s.length = uint8(min(int(s.length)+len(line), 2))
}

// compare goes on comparing the line's beginning with the name it may have.
func (s *headerScan) compare(line []byte) {
	name := *s.name
	for _, b := range line {
		if 'A' <= b && b <= 'Z' {
			b |= 0x20
		}
		if b != name[s.match] {
			s.name = nil
			return
		}
		if s.match++; int(s.match) == len(name) {
			s.hasLength = s.hasLength || s.name == &lengthName
			s.hasCoding = s.hasCoding || s.name == &codingName
			s.name = nil
			return
		}
	}
}
