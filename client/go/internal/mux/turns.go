package mux

import (
	"slices"

	"wsproxy/transport/wsock"
)

const (
	// quantum is how many bytes a stream sends in its turn: the longest message, so
	// that none needs more than one turn to be due.
	quantum = wsock.BufferSize
	// brief is the length in bytes below which what is next of a stream goes before
	// the first message of another that is new, too.
	brief = 4 << 10
)

// turns decides which stream sends next. Streams are served in turns that are
// counted in bytes, and one that had nothing to send goes before those that had.
// But until all others have had their turns it has only one turn's bytes,
// however often it has nothing: so nobody is for ever new by sending little
// (deficit round robin with a list of new flows: RFC 8290, section 4). The
// server's send queue does the same.
type turns struct {
	fresh []*Stream // those that had nothing, in the order of their turns; before rest
	rest  []*Stream // those that have, or had, something; some are fresh, too
}

// A turn is what turns knows of a stream.
type turn struct {
	inFresh, inRest bool
	spent           bool // it is not fresh again before it has left rest
	due             int  // bytes that it may send before others have their turns
}

// add has a stream served that can send something. It may have been added before.
func (t *turns) add(s *Stream) {
	if s.turn.inFresh {
		return
	}
	if !s.turn.inRest {
		s.turn.due, s.turn.spent = quantum, false
	}
	if !s.turn.spent {
		s.turn.inFresh = true
		t.fresh = append(t.fresh, s)
	}
}

// next returns the stream that is to send its next message, or nil.
func (t *turns) next() *Stream {
	for {
		list, i := &t.rest, 0
		if len(t.fresh) > 0 { // a hundred downloads that begin are not before a keystroke
			list, i = &t.fresh, max(slices.IndexFunc(t.fresh, (*Stream).isBrief), 0)
		}
		if len(*list) == 0 {
			return nil
		}
		s := (*list)[i]
		waits := s.sendable()
		if waits && s.turn.due > 0 {
			return s
		}
		*list = slices.Delete(*list, i, i+1)
		if waits {
			s.turn.due, s.turn.spent = s.turn.due+quantum, true
		}
		if s.turn.inFresh {
			s.turn.inFresh = false
			waits = waits || len(t.rest) > 0 // if it sends again, its bytes of this turn are counted
		} else {
			s.turn.inRest = false
		}
		if waits && !s.turn.inRest {
			s.turn.inRest = true
			t.rest = append(t.rest, s)
		}
	}
}

// sent counts bytes of a message of the stream that next has returned.
func (t *turns) sent(s *Stream, bytes int) { s.turn.due -= bytes }
