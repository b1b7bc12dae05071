package head

import (
	"bytes"
	"errors"

	"wsproxy/messages"
)

const (
	// framing is how many bytes a head has beside names and values: a status
	// line, and a colon, a blank and a line's end for each field.
	framing = 1 << 10
	// maxInterim is how many interim answers (1xx) may come before the final
	// one. A service sends one or two.
	maxInterim = 16
	// statusBytes is how much of a status line is looked at for the status.
	statusBytes = 32
)

// Why an answer's head is refused. The texts have no byte of it.
var (
	ErrTooLarge = errors.New("the answer's head has more than 200 fields or 64 KiB")
	ErrInterim  = errors.New("there are more than 16 interim answers")
	errStatus   = errors.New("the answer has no status line")
)

// A Counter counts the bytes and lines of an answer's head, each interim answer
// by itself. The zero value waits for the first byte of an answer. It belongs to
// one goroutine.
type Counter struct {
	over    bool   // the head of the final answer has passed
	status  []byte // the beginning of the status line
	size    int    // bytes of the head so far
	lines   int    // whole lines of the head so far
	column  int    // bytes of the line under way
	cr      bool   // the line under way has a CR and nothing else
	interim int
}

// Count counts the next bytes of a connection, as they come. The error says why
// no more should be read: [ErrTooLarge], [ErrInterim], or that there is no status
// line. What follows the head it doesn't look at.
func (c *Counter) Count(p []byte) error {
	for len(p) > 0 && !c.over {
		line, ended := p, false
		if i := bytes.IndexByte(p, '\n'); i >= 0 {
			line, ended = p[:i+1], true
		}
		p = p[len(line):]
		if err := c.line(line, ended); err != nil {
			return err
		}
	}
	return nil
}

// line counts a line, or a part of one.
func (c *Counter) line(part []byte, ended bool) error {
	if c.size += len(part); c.size > messages.MaxAnswerHeader+framing {
		return ErrTooLarge
	}
	if room := statusBytes - len(c.status); c.lines == 0 && room > 0 {
		c.status = append(c.status, part[:min(room, len(part))]...)
	}
	if c.column == 0 {
		c.cr = part[0] == '\r'
	}
	c.column += len(part)
	if !ended {
		return nil
	}
	empty := c.column == 1 || c.column == 2 && c.cr
	c.column = 0
	if empty {
		return c.end()
	}
	if c.lines++; c.lines > 1+messages.MaxAnswerFields {
		return ErrTooLarge
	}
	return nil
}

// end is the empty line behind a head. Another head follows an interim answer,
// but not 101, which is a final one.
func (c *Counter) end() error {
	_, status, _ := bytes.Cut(c.status, []byte{' '})
	status = bytes.TrimLeft(status, " ")
	if len(status) < 3 {
		return errStatus
	}
	if status[0] != '1' || string(status[:3]) == "101" {
		c.over = true
		return nil
	}
	if c.interim++; c.interim > maxInterim {
		return ErrInterim
	}
	c.status, c.size, c.lines = c.status[:0], 0, 0
	return nil
}
