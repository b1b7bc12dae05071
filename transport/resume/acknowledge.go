package resume

import (
	"time"

	"wsproxy/messages"
	"wsproxy/transport/wsock"
	"wsproxy/transport/wsock/replay"
)

// ackDelay is how long after something was passed on the client hears of it at the
// latest: fixed by the protocol.
const ackDelay = time.Second

// passed notes that units were passed on, and tells the client when that is due.
// Under mu.
func (s *Session) passed(units int64) {
	if units > 0 {
		s.in.Passed(units)
	}
	s.acknowledge(false)
}

// acknowledge tells the client what was passed on, if that is due, or if it is to hear
// of whatever there is. Under mu.
func (s *Session) acknowledge(now bool) {
	k := s.socket
	if k == nil || !k.opened || s.over {
		return // it hears when there is a WebSocket
	}
	if now || s.in.Due() {
		position, limit := s.in.Ack()
		var room [textRoom]byte
		k.conn.Urge(wsock.UrgentAck, s.frame(messages.AppendAck(room[:0], s.unit.Name(), position, limit)))
	}
	s.look()
}

// look sees to it that what is due in a while is not forgotten. Under mu.
func (s *Session) look() {
	if !s.timed && (s.in.Waits() || s.in.IsWide()) {
		s.timed = true
		time.AfterFunc(ackDelay, s.late)
	}
}

// late tells the client of what was passed on a while ago, and narrows the window of
// one who sends little.
func (s *Session) late() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timed = false; s.over {
		return
	}
	if s.in.Position()-s.looked < s.unit.FirstLimit() {
		s.in.Quiet()
	}
	s.looked = s.in.Position()
	s.acknowledge(s.in.Waits())
}

// messageBytes is how many bytes one of a tunnel's messages is taken for when it is
// granted: of so many messages as the protocol grants at most, they are a RESUME_BUFFER
// of its default.
const messageBytes = 1 << 10

// maxMessages is how many messages a tunnel's client may have under way at most: fixed by
// the protocol.
const maxMessages = 1024

func (s *Session) unitBytes() int64 {
	if s.unit == replay.Messages {
		return messageBytes
	}
	return 1
}

func (s *Session) maxWindow() int64 {
	if s.unit == replay.Messages {
		return maxMessages
	}
	return s.settings.Buffer
}
