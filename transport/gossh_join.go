package transport

import (
	"encoding/binary"

	"wsproxy/messages"
)

// A gosshJoiner joins what gossh-wasm has cut: a message of exactly gosshCut
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
// that is. A joiner belongs to the reading pump.
type gosshJoiner struct {
	piece func(data []byte, text, end bool) // takes the messages as they were before they were cut
	knows func(id []byte) bool              // whether the client was given an id
	limit uint64                            // the longest message before it was cut, in bytes

	within  bool   // a WebSocket message is under way
	length  int    // of it, as far as it has come
	unclear bool   // it may be a message of its own, or the rest of the one before
	head    []byte // what has come of it while that is so

	open   gosshOpen  // what the message under way is, or the one before if it was cut
	joined uint64     // bytes of that, so far
	object jsonExtent // where in an object it stands
}

type gosshOpen uint8

const (
	gosshNothing gosshOpen = iota
	gosshObject            // a control message
	gosshFrame             // a data frame
)

// take takes a piece of a WebSocket message, the last one if end is set. It
// reports false for a message that is longer than the limit, when joined.
func (j *gosshJoiner) take(data []byte, text, end bool) (ok bool) {
	if !j.within {
		j.within, j.length, j.head = true, 0, j.head[:0]
		if text {
			j.finish() // such a client's other messages are not cut, nor is this one
		}
		j.unclear = j.open == gosshFrame
	}
	j.length += len(data)
	if j.unclear {
		j.head = append(j.head, data...)
		switch verdict := j.judge(end); {
		case verdict == gosshUnclear:
			return true
		case verdict == gosshFresh:
			j.finish()
		}
		data, j.unclear = j.head, false
	}
	if j.open == gosshNothing && len(data) > 0 {
		j.open, j.object = gosshFrame, jsonExtent{}
		if text || data[0] == '{' {
			j.open = gosshObject
		}
	}
	if j.open == gosshObject {
		j.object.read(data)
		if j.joined += uint64(len(data)); j.joined > j.limit {
			return false
		}
	}
	if !end {
		j.piece(data, text, false)
		return true
	}
	j.within = false
	if j.length == gosshCut && !text && (j.open == gosshFrame || !j.object.over) {
		j.piece(data, text, false)
		return true
	}
	j.piece(data, text, true)
	j.open, j.joined = gosshNothing, 0
	return true
}

// finish ends a message that was cut where it ended.
func (j *gosshJoiner) finish() {
	if j.open != gosshNothing {
		j.piece(nil, false, true)
		j.open, j.joined = gosshNothing, 0
	}
}

// What the start of a message after a full piece of a data frame is.
type gosshVerdict uint8

const (
	gosshUnclear gosshVerdict = iota
	gosshFresh                // a message of its own
	gosshRest                 // more payload
)

// judge judges the message whose beginning is in head, all of it if end is set.
func (j *gosshJoiner) judge(end bool) gosshVerdict {
	if len(j.head) > 0 && j.head[0] == '{' {
		if !end && j.length < gosshCut {
			return gosshUnclear
		}
		if id, whole := messages.PeekControl(j.head); (whole || j.length >= gosshCut) && j.knows([]byte(id)) {
			return gosshFresh
		}
		return gosshRest
	}
	const idLength = 2 * messages.IDBytes
	start := binary.BigEndian.AppendUint32(nil, idLength)
	for i := range min(len(start), len(j.head)) {
		if j.head[i] != start[i] {
			return gosshRest
		}
	}
	switch {
	case len(j.head) >= messages.DataHeader:
		if j.knows(j.head[4:messages.DataHeader]) {
			return gosshFresh
		}
		return gosshRest
	case end:
		return gosshRest
	}
	return gosshUnclear
}

// A jsonExtent finds the end of a JSON object that comes in pieces. Whether
// the object is valid it leaves to others.
type jsonExtent struct {
	depth   int
	quoted  bool
	escaped bool
	over    bool // the object is complete
}

func (e *jsonExtent) read(b []byte) {
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
