package messages

// A ControlScan finds the type and the id of a control message that is read to
// its end without being kept, whatever the order of its fields. The zero value
// is ready. It belongs to one goroutine.
//
// It takes the text as JSON and does not check that. A name or value that is
// written with escapes is not recognized: no client writes these so.
type ControlScan struct {
	kind, id string
	depth    int
	quoted   bool // in a string
	escaped  bool // behind a backslash
	value    bool // at depth 1: behind a colon
	name     string
	text     []byte // of the string under way at depth 1, as far as it is kept
}

// scanned is how many bytes of a string are kept: more than the types and ids
// that are looked for have.
const scanned = 32

// Kind returns the type, "" as long as it has not come.
func (s *ControlScan) Kind() string { return s.kind }

// ID returns the id, "" as long as it has not come.
func (s *ControlScan) ID() string { return s.id }

// Read reads the next piece of the message.
func (s *ControlScan) Read(b []byte) {
	for i := 0; i < len(b); i++ {
		c := b[i]
		if s.quoted {
			if !s.escaped && (s.depth > 1 || len(s.text) >= scanned) { // nothing of it is kept
				i += plain(b[i:])
				if i == len(b) {
					return
				}
				c = b[i]
			}
			s.inString(c)
			continue
		}
		switch c {
		case '"':
			s.quoted, s.text = true, s.text[:0]
		case '{', '[':
			s.depth++
		case '}', ']':
			s.depth--
		case ':':
			s.value = s.value || s.depth == 1
		case ',':
			s.value = s.value && s.depth != 1
		}
	}
}

func (s *ControlScan) inString(c byte) {
	switch {
	case s.escaped:
		s.escaped = false
	case c == '\\':
		s.escaped = true
	case c == '"':
		s.quoted = false
		if s.depth == 1 {
			s.endOfString()
		}
		return
	}
	if s.depth == 1 && len(s.text) < scanned {
		s.text = append(s.text, c)
	}
}

func (s *ControlScan) endOfString() {
	switch {
	case !s.value:
		s.name = string(s.text)
	case s.name == "type":
		s.kind = string(s.text)
	case s.name == "id":
		s.id = string(s.text)
	}
}
