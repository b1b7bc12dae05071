package resume

import (
	"wsproxy/transport/wsock"
	"wsproxy/transport/wsock/replay"
)

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
				s.sink.End()
			default:
				s.sink.Take(p.data, p.text, p.end)
			}
		}
	}, func() {
		if !whole {
			s.failed(&s.passing)
		}
	})
}

// nextPiece notes that a piece was passed on, and returns what is to be passed on
// next: a piece, or the client's end. If there is nothing, nobody passes on any more.
func (s *Session) nextPiece(before piece) (p piece, end, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dequeued(len(before.data))
	s.passed(s.unitsOf(len(before.data), before.end))
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
	s.changed.Broadcast()
	return p, false, false
}

// unitsOf returns how many units are passed on with n bytes of a message, or with its
// last ones.
func (s *Session) unitsOf(n int, last bool) int64 {
	switch {
	case s.unit == replay.Bytes:
		return int64(n)
	case last:
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
		s.changed.Wait()
	}
	return s.endPassed
}

// Waits reports whether something has come that was not passed on.
func (s *Session) Waits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.isIdle()
}

// EndCame reports whether the client has said that nothing follows.
func (s *Session) EndCame() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inEnded
}

// EndPassed reports whether the client has said that nothing follows, and the sink
// was told so.
func (s *Session) EndPassed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.endPassed
}
