package resume

import (
	"bytes"
	"encoding/binary"

	"wsproxy/messages"
	"wsproxy/messages/renewal"
	"wsproxy/transport/wsock"
	"wsproxy/transport/wsock/replay"
)

// A piece is one of a message that waits to be passed on.
type piece struct {
	data      []byte // goes back by [wsock.Release]
	text, end bool
}

// payload takes a piece of what the client sends.
func (k *socket) payload(data []byte, text, end bool) (refused messages.Reason) {
	switch {
	case !end || k.parts.size > 0:
		return k.part(data, text, end)
	case text || k.session.isJSON(data):
		return k.json(data, text)
	}
	return k.whole(data)
}

// part takes a piece of a message that comes in several.
func (k *socket) part(data []byte, text, end bool) (refused messages.Reason) {
	if !k.parts.add(data) {
		return messages.ReasonMessageTooBig
	}
	if !text && !k.parts.dropped && k.session.isBeyond(k.parts.size-replay.TrailerSize) {
		k.parts.drop()
	}
	switch {
	case !end:
		return ""
	case text || !k.parts.dropped && k.session.isJSON(k.parts.chunks[0]):
		message := bytes.Join(k.parts.chunks, nil)
		k.parts.release()
		return k.json(message, text)
	}
	position, ok := k.parts.cutTrailer()
	size, dropped := k.parts.size, k.parts.dropped
	chunks := k.parts.pass()
	if !ok {
		return messages.ReasonProtocolError
	}
	s := k.session
	s.mu.Lock()
	defer s.mu.Unlock()
	refused, expected := k.came(size, position)
	if dropped && expected { // its limit has grown since, but it was not told so in time
		return messages.ReasonBeyondLimit
	}
	first := expected && s.isIdle()
	var left []piece
	for i, data := range chunks {
		end := i == len(chunks)-1
		n, all := 0, !expected
		if first && len(left) == 0 {
			n, all = s.try(data, false, end)
		}
		switch {
		case all:
			giveChunk(data)
		case len(data)-n < replay.Poolable: // the rest of the buffer would wait with it
			left = append(left, piece{retain(data[n:]), false, end})
			giveChunk(data)
		default:
			left = append(left, piece{data[n:], false, end})
		}
	}
	if expected {
		s.enqueue(first, left...)
		s.dealWith(k)
	}
	return refused
}

// isBeyond reports whether so many bytes of one message are more than a relay's client
// may send. What is known to be refused is not kept; for what, its end will tell.
func (s *Session) isBeyond(size int) bool {
	if s.unit != replay.Bytes {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return int64(size) > s.in.Left()
}

// whole takes a binary message that has come in one piece.
func (k *socket) whole(data []byte) (refused messages.Reason) {
	size := len(data) - replay.TrailerSize
	if size < 0 {
		return messages.ReasonProtocolError // a front proxy has cut the message short
	}
	s := k.session
	s.mu.Lock()
	defer s.mu.Unlock()
	refused, expected := k.came(size, binary.BigEndian.Uint64(data[size:]))
	if !expected {
		return refused
	}
	n, all, first := 0, false, s.isIdle()
	if first {
		n, all = s.try(data[:size], false, true)
	}
	if !all {
		s.enqueue(first, piece{retain(data[n:size]), false, true})
	}
	s.dealWith(k)
	return ""
}

// isIdle reports whether nothing waits, and nobody passes on. Under mu.
func (s *Session) isIdle() bool { return !s.passing && len(s.queue) == 0 }

// try passes a piece of a message on, as far as that can be done without waiting, and
// returns how many bytes that were, and whether that is all of it. The session was idle
// when the message came. Under mu, but not while it does: another WebSocket may bring
// what follows meanwhile, which waits.
func (s *Session) try(data []byte, text, end bool) (n int, all bool) {
	s.passing = true
	func() {
		s.mu.Unlock()
		defer s.mu.Lock()
		n = s.sink.Try(data, text, end)
	}()
	s.passing = false
	s.changed.Broadcast()
	all = n == len(data)
	s.passed(s.unitsOf(n, end && all))
	return n, all
}

// isJSON reports whether a tunnel's message that begins so is a control message,
// whatever it is framed as.
func (s *Session) isJSON(data []byte) bool {
	return s.unit == replay.Messages && len(data) > 0 && data[0] == '{'
}

// came counts a binary message of size bytes that ends at a position, and reports
// whether it is the one that is expected. Only what the session's WebSocket of the
// moment brings has an effect. If a front proxy has completed the message with wrong
// bytes the WebSocket is lost. Under mu.
func (k *socket) came(size int, position uint64) (refused messages.Reason, expected bool) {
	s := k.session
	units := uint64(1)
	if s.unit == replay.Bytes {
		units = uint64(size)
	}
	switch {
	case s.socket != k:
		return "", false
	case size > replay.MaxPayload:
		return messages.ReasonMessageTooBig, false
	case position != s.in.Position()+units:
		return messages.ReasonProtocolError, false
	case s.in.Came(int64(units)) != nil:
		return messages.ReasonBeyondLimit, false
	}
	return "", true
}

// json takes a JSON message: one of section 9, or a tunnel's.
func (k *socket) json(message []byte, text bool) (refused messages.Reason) {
	if len(message) > replay.MaxPayload {
		return messages.ReasonMessageTooBig
	}
	s := k.session
	m, err := messages.DecodeResume(message, s.unit.Name())
	if err == messages.ErrNotJSON {
		return messages.ReasonProtocolError // a front proxy has cut the message short
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.socket != k {
		return ""
	}
	switch m.Kind {
	case messages.KindAck:
		if err != nil {
			return messages.ReasonBadAck
		}
		return s.acked(m.Position, m.Limit)
	case messages.KindPing:
		k.pong()
		return ""
	case messages.KindPong:
		return ""
	}
	if s.unit == replay.Messages {
		return k.control(message, text, m.Kind)
	}
	if m.Kind != messages.KindEOF {
		if token, ok := renewal.DecodeAuth(message); ok {
			s.renewer.Take(token, s.Tell, func(answer []byte) { k.conn.Urge(wsock.UrgentAuth, s.frame(answer)) })
			return ""
		}
		return messages.ReasonUnknownMessage
	}
	s.in.Ended()
	s.inEnded = true
	s.passOn()
	return ""
}

// control takes a tunnel's JSON message that is none that both ends of any session
// know. Under mu.
func (k *socket) control(message []byte, text bool, kind messages.ResumeKind) (refused messages.Reason) {
	s := k.session
	if kind != messages.KindOther { // of section 9, and of no use here
		return ""
	}
	if s.in.Came(1) != nil {
		return messages.ReasonBeyondLimit
	}
	all, first := false, s.isIdle()
	if first {
		_, all = s.try(message, text, true)
	}
	if !all {
		var left []piece
		for len(message) > wsock.BufferSize {
			left = append(left, piece{retain(message[:wsock.BufferSize]), text, false})
			message = message[wsock.BufferSize:]
		}
		s.enqueue(first, append(left, piece{retain(message), text, true})...)
	}
	s.dealWith(k)
	return ""
}

// acked takes an acknowledgement. Under mu.
func (s *Session) acked(position, limit uint64) (refused messages.Reason) {
	if s.out.Acked(position, limit) != nil {
		return messages.ReasonBadAck
	}
	s.known = true
	s.freed()
	return ""
}

// retain returns a copy of bytes that wait, which takes up little more than they are
// counted as. It goes to [wsock.Release].
func retain(b []byte) []byte {
	if len(b) < replay.Poolable {
		return append([]byte(nil), b...)
	}
	return wsock.Retain(b)
}

// enqueue has what is left of a message wait to be passed on, ahead of what has come
// meanwhile if its beginning was tried. The data is the session's now. Under mu.
func (s *Session) enqueue(ahead bool, left ...piece) {
	for _, p := range left {
		s.queued += int64(len(p.data))
	}
	switch {
	case ahead:
		s.queue = append(left, s.queue...)
	case len(left) == 1 && s.join(left[0]):
	default:
		s.queue = append(s.queue, left...)
	}
}

// join adds a few bytes of a relay to those that wait: by itself a byte would take up
// dozens of times what it is counted as. Under mu.
func (s *Session) join(p piece) bool {
	if s.unit != replay.Bytes || len(s.queue) == 0 {
		return false
	}
	last := &s.queue[len(s.queue)-1]
	if len(last.data)+len(p.data) >= wsock.Poolable {
		return false
	}
	last.data, last.end = append(last.data, p.data...), p.end
	return true
}

// dealWith sees to it that what k has brought is passed on, or waits within its bounds.
// Under mu.
func (s *Session) dealWith(k *socket) {
	s.passOn()
	if s.unit == replay.Messages {
		s.awaitQueue(k)
	}
}

// awaitQueue waits while a tunnel's messages that could not be passed on are more
// bytes than there is memory for: a limit in messages does not bound those. Under mu.
func (s *Session) awaitQueue(k *socket) {
	for {
		more := s.queued - FirstBytes - s.counted
		if more <= 0 || s.socket != k || s.over {
			return
		}
		if s.held.Try(more) {
			s.counted += more
			return
		}
		s.changed.Wait()
	}
}

// dequeued notes that n bytes were passed on that had waited. Under mu.
func (s *Session) dequeued(n int) {
	s.queued -= int64(n)
	if spare := s.counted - max(s.queued-FirstBytes, 0); spare > 0 {
		s.counted -= spare
		s.held.Add(-spare)
	}
	s.changed.Broadcast()
}
