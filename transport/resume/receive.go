package resume

import (
	"bytes"
	"errors"

	"wsproxy/messages"
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
	if end && k.parts.size == 0 {
		one := [1][]byte{data}
		return k.message(one[:], len(data), text)
	}
	if !k.parts.add(data) {
		return messages.ReasonMessageTooBig
	}
	if !end {
		return ""
	}
	refused = k.message(k.parts.chunks(), k.parts.size, text)
	k.parts.release()
	return refused
}

// message takes a whole message of size bytes. It overwrites chunks.
func (k *socket) message(chunks [][]byte, size int, text bool) (refused messages.Reason) {
	s := k.session
	if text || s.options.Unit == replay.Messages && size > 0 && isJSON(chunks) {
		if size > replay.MaxPayload {
			return messages.ReasonMessageTooBig
		}
		if len(chunks) > 1 {
			chunks[0] = bytes.Join(chunks, nil)
		}
		return k.json(chunks[0], text)
	}
	payload, position, ok := cutTrailer(chunks, size)
	if !ok {
		return messages.ReasonProtocolError // a front proxy has cut the message short
	}
	if size -= replay.TrailerSize; size > replay.MaxPayload {
		return messages.ReasonMessageTooBig
	}
	units := uint64(size)
	if s.options.Unit == replay.Messages {
		units = 1
	}
	return k.accept(payload, units, func() bool { return position == s.in.Position()+units }, false)
}

// isJSON reports whether a tunnel's message is a control message, whatever it is
// framed as.
func isJSON(chunks [][]byte) bool { return chunks[0][0] == '{' }

// json takes a JSON message: one of section 9, or a tunnel's.
func (k *socket) json(message []byte, text bool) (refused messages.Reason) {
	s := k.session
	m, err := messages.DecodeResume(message, s.options.Unit.Name())
	switch {
	case errors.Is(err, messages.ErrNotJSON):
		return messages.ReasonProtocolError // a front proxy has cut the message short
	case err != nil && m.Kind == messages.KindAck:
		return messages.ReasonBadAck
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.socket != k {
		return ""
	}
	switch m.Kind {
	case messages.KindAck:
		return s.acked(m.Position, m.Limit)
	case messages.KindPing:
		k.conn.Urge(wsock.UrgentAnswer, s.frame([]byte(messages.PongText)))
	case messages.KindPong:
	case messages.KindEOF:
		if s.options.Unit == replay.Bytes {
			s.in.Ended()
			s.inEnded = true
			s.passOn()
		}
	default:
		if s.options.Unit == replay.Bytes {
			return messages.ReasonUnknownMessage
		}
		if m.Kind != messages.KindOther {
			return ""
		}
		s.mu.Unlock()
		refused = k.accept([][]byte{message}, 1, nil, text)
		s.mu.Lock()
	}
	return refused
}

// acked takes an acknowledgement. Under mu.
func (s *Session) acked(position, limit uint64) (refused messages.Reason) {
	if err := s.out.Acked(position, limit); err != nil {
		return messages.ReasonBadAck
	}
	s.known = true
	s.giveBack()
	select {
	case s.room <- struct{}{}:
	default:
	}
	return ""
}

// accept counts a message that has come whole, and passes it on, or has it wait. Only
// what the session's WebSocket of the moment brings has an effect. is, under mu,
// reports whether it is the message that is expected, else the WebSocket is lost.
func (k *socket) accept(chunks [][]byte, units uint64, is func() bool, text bool) (refused messages.Reason) {
	s := k.session
	s.mu.Lock()
	if s.socket != k {
		s.mu.Unlock()
		return ""
	}
	if is != nil && !is() {
		s.mu.Unlock()
		return messages.ReasonProtocolError
	}
	if err := s.in.Came(int64(units)); err != nil {
		s.mu.Unlock()
		return messages.ReasonBeyondLimit
	}
	if len(chunks) == 0 {
		chunks = append(chunks, nil) // an empty message is one, too
	}
	direct := !s.passing && len(s.queue) == 0
	s.passing = s.passing || direct
	s.mu.Unlock()
	rest, passed := chunks, int64(0)
	if direct {
		rest, passed = s.try(chunks, text)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, data := range rest {
		for first := true; first || len(data) > 0; first = false {
			n := min(len(data), wsock.BufferSize)
			s.queue = append(s.queue, piece{wsock.Retain(data[:n]), text, i == len(rest)-1 && n == len(data)})
			s.queued += int64(n)
			data = data[n:]
		}
	}
	if direct {
		s.passing = false
		s.passed(passed)
	}
	s.passOn()
	if s.options.Unit == replay.Messages {
		s.awaitQueue(k)
	}
	return ""
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
		s.written.Wait()
	}
}

// dequeued notes that n bytes were passed on that had waited. Under mu.
func (s *Session) dequeued(n int) {
	s.queued -= int64(n)
	if spare := s.counted - max(s.queued-FirstBytes, 0); spare > 0 {
		s.counted -= spare
		s.held.Add(-spare)
	}
	s.written.Broadcast()
}

// try passes on what can be without waiting, and returns the rest, and how many
// units were passed on.
func (s *Session) try(chunks [][]byte, text bool) (rest [][]byte, units int64) {
	for i, data := range chunks {
		n := s.options.Sink.Try(data, text, i == len(chunks)-1)
		if s.options.Unit == replay.Bytes {
			units += int64(n)
		}
		if n < len(data) {
			chunks[i] = data[n:]
			return chunks[i:], units
		}
	}
	if s.options.Unit == replay.Messages {
		units = 1
	}
	return nil, units
}

// passOn sees to it that what waits is passed on. Under mu.
func (s *Session) passOn() {
	if s.passing || len(s.queue) == 0 && (!s.inEnded || s.endPassed) {
		return
	}
	s.passing = true
	whole := false
	wsock.StartPump(s.Log(), "resume in", func() {
		for p := (piece{}); ; {
			var end, more bool
			switch p, end, more = s.nextPiece(p); {
			case !more:
				whole = true
				return
			case end:
				s.options.Sink.End()
			default:
				s.options.Sink.Take(p.data, p.text, p.end)
			}
		}
	}, func() {
		if !whole {
			s.Tell(s.first.ended(messages.ReasonInternal))
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.passing = s.passing && whole
		s.written.Broadcast()
	})
}

// nextPiece notes that a piece was passed on, and returns what is to be passed on
// next: a piece, or the client's end. If there is nothing, nobody passes on any more.
func (s *Session) nextPiece(before piece) (p piece, end, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dequeued(len(before.data))
	s.passed(s.unitsOf(before))
	wsock.Release(before.data)
	switch {
	case len(s.queue) > 0:
		p, s.queue[0] = s.queue[0], piece{}
		if s.queue = s.queue[1:]; len(s.queue) == 0 {
			s.queue = nil
		}
		return p, false, true
	case s.inEnded && !s.endPassed:
		s.endPassed = true
		return p, true, true
	}
	s.passing = false
	s.written.Broadcast()
	return p, false, false
}

// unitsOf returns how many units are passed on with a piece.
func (s *Session) unitsOf(p piece) int64 {
	switch {
	case s.options.Unit == replay.Bytes:
		return int64(len(p.data))
	case p.end:
		return 1
	}
	return 0
}

// AwaitPassed waits until all that has come was passed on. It is for who has seen to
// it that the sink doesn't wait for ever. ended says whether the client's end was
// passed on, too.
func (s *Session) AwaitPassed() (ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.passing {
		s.written.Wait()
	}
	return s.endPassed
}

// Waits reports whether something has come that was not passed on.
func (s *Session) Waits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queue) > 0
}

// EndPassed reports whether the client has said that nothing follows, and the sink
// was told so.
func (s *Session) EndPassed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.endPassed
}
