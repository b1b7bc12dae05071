package gossh

import (
	"encoding/binary"

	"wsproxy/messages"
)

// A reassembler joins what gossh-wasm has cut: a message of exactly cutAt
// bytes may have its rest in the next one. Which it is can't be seen at the
// cut, only from what follows:
//
//   - An object ends where its braces say.
//   - The payload of a data frame doesn't say where it ends. After a full
//     message the next one is a frame of its own if it begins with the header
//     of a connection of this tunnel, or a control message if it is one about a
//     request or connection of this tunnel; else it is more payload.
//
// Nothing is held back but the beginning of a message, until it is clear what
// that is. A reassembler belongs to the reading pump.
type reassembler struct {
	piece func(data []byte, text, end bool) // takes the messages as they were before they were cut
	knows func(id []byte) bool              // whether the client was given an id

	within  bool   // a WebSocket message is under way
	length  int    // of it, as far as it has come
	unclear bool   // it may be a message of its own, or the rest of the one before
	head    []byte // what has come of it while that is so

	open   messageKind  // what the message under way is, or the one before if it was cut
	object objectExtent // where in an object it stands
}

type messageKind uint8

const (
	kindNone   messageKind = iota
	kindObject             // a control message
	kindFrame              // a data frame
)

// take takes a piece of a WebSocket message, the last one if end is set.
func (r *reassembler) take(data []byte, text, end bool) {
	if !r.within {
		r.within, r.length, r.head = true, 0, r.head[:0]
		if text {
			r.finish() // such a client's other messages are not cut, nor is this one
		}
		r.unclear = r.open == kindFrame
	}
	r.length += len(data)
	if r.unclear {
		r.head = append(r.head, data...)
		switch v := r.judge(end); {
		case v == verdictUnclear:
			return
		case v == verdictFresh:
			r.finish()
		}
		data, r.unclear = r.head, false
	}
	if r.open == kindNone && len(data) > 0 {
		r.open, r.object = kindFrame, objectExtent{}
		if text || data[0] == '{' {
			r.open = kindObject
		}
	}
	if r.open == kindObject {
		r.object.read(data)
	}
	if !end {
		r.piece(data, text, false)
		return
	}
	r.within = false
	if r.length == cutAt && !text && (r.open == kindFrame || !r.object.over) {
		r.piece(data, text, false)
		return
	}
	r.piece(data, text, true)
	r.open = kindNone
}

// finish ends a message that was cut where it ended.
func (r *reassembler) finish() {
	if r.open != kindNone {
		r.piece(nil, false, true)
		r.open = kindNone
	}
}

// What the start of a message after a full piece of a data frame is.
type verdict uint8

const (
	verdictUnclear verdict = iota
	verdictFresh           // a message of its own
	verdictRest            // more payload
)

// judge judges the message whose beginning is in head, all of it if end is set.
func (r *reassembler) judge(end bool) verdict {
	if len(r.head) > 0 && r.head[0] == '{' {
		if !end && r.length < cutAt {
			return verdictUnclear
		}
		if id, whole := messages.PeekControl(r.head); (whole || r.length >= cutAt) && r.knows([]byte(id)) {
			return verdictFresh
		}
		return verdictRest
	}
	const idLength = 2 * messages.IDBytes
	start := binary.BigEndian.AppendUint32(nil, idLength)
	for i := range min(len(start), len(r.head)) {
		if r.head[i] != start[i] {
			return verdictRest
		}
	}
	switch {
	case len(r.head) >= messages.DataHeader:
		if r.knows(r.head[4:messages.DataHeader]) {
			return verdictFresh
		}
		return verdictRest
	case end:
		return verdictRest
	}
	return verdictUnclear
}

// An objectExtent finds the end of a JSON object that comes in pieces. Whether
// the object is valid it leaves to others.
type objectExtent struct {
	depth   int
	quoted  bool
	escaped bool
	over    bool // the object is complete
}

func (e *objectExtent) read(b []byte) {
	for _, c := range b {
		switch {
		case e.escaped:
			e.escaped = false
		case e.quoted:
			e.escaped, e.quoted = c == '\\', c != '"'
		case c == '"':
			e.quoted = true
		case c == '{' || c == '[':
			e.depth++
		case c == '}' || c == ']':
			e.depth--
			e.over = e.over || e.depth <= 0
		}
	}
}
