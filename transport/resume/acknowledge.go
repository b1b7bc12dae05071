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
	if k == nil || !k.told || s.over {
		return // it hears when there is a WebSocket
	}
	if now || s.in.Due() {
		position, limit := s.in.Ack()
		k.conn.Urge(wsock.UrgentAck, s.frame(messages.AppendAck(nil, s.options.Unit.Word(), position, limit)))
	}
	if s.in.Waits() && !s.timed {
		s.timed = true
		time.AfterFunc(ackDelay, s.late)
	}
}

// late tells the client of what was passed on a while ago.
func (s *Session) late() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timed = false
	if s.in.Waits() {
		s.acknowledge(true)
	}
}

// messageBytes is how many bytes one of a tunnel's messages is taken for when it is
// granted: of so many messages as the protocol grants at most, they are a RESUME_BUFFER
// of its default.
const messageBytes = 1 << 10

// maxMessages is how many messages a tunnel's client may have under way at most: fixed by
// the protocol.
const maxMessages = 1024

func (s *Session) unitBytes() int64 {
	if s.options.Unit == replay.Messages {
		return messageBytes
	}
	return 1
}

func (s *Session) maxWindow() int64 {
	if s.options.Unit == replay.Messages {
		return maxMessages
	}
	return s.settings.Buffer
}
