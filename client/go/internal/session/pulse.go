package session

import (
	"time"
)

const (
	// quiet is how long nothing may come while the server owes a word: an ack
	// comes a second after what it acknowledges, at the latest, and more data after
	// data. Then it is asked.
	quiet = 1500 * time.Millisecond
	// idle is the same while it owes none.
	idle = 15 * time.Second
	// patience is how long the answer may take at first: with quiet and two ticks
	// a change of network is noticed within five seconds.
	patience = 2500 * time.Millisecond
	// mostPatience is the same on a line where that was too short several times.
	mostPatience = 20 * time.Second
	// tick is how often the clocks are looked at while an answer is due, slowTick
	// while none is.
	tick     = 500 * time.Millisecond
	slowTick = 2 * time.Second
	// slack is how late a tick may be: beyond that the machine was asleep, and what
	// was heard before says nothing.
	slack = 2 * time.Second
	// answerClose is how long the answer to a close frame may take while nothing
	// else comes, on a session that can be taken up to hear it.
	answerClose = 10 * time.Second
	// silence is how long nothing may come in the plain way. The server pings every
	// PING_INTERVAL, 30 s by default.
	silence = 75 * time.Second
	// enough bytes acknowledged by the other end's kernel, since the question, are
	// data that stands before it on a slow line. The question itself is less.
	enough = 512
)

// A pulse finds out whether a WebSocket that looks open still leads anywhere:
// after a change of network it may look so for many minutes. Under the session's
// mu.
type pulse struct {
	timer    *time.Timer
	due      time.Time     // when the timer is to fire
	came     uint64        // bytes that had come at the last look
	heard    time.Time     // when more had come
	owed     time.Time     // since when the server owes a word, zero if it doesn't
	asked    time.Time     // zero if it has answered
	curious  bool          // data has come since it was asked last: more may be missing
	patience time.Duration // 0 = patience
	acked    uint64        // by the kernel, at the question
	written  uint64        // to the kernel, at the question
	pinged   time.Time     // in the plain way
	moved    time.Time     // when something was acknowledged that this side has sent
}

// now returns the time by both clocks: the one that stops while the machine sleeps,
// or counts on, and the one on the wall.
func now() time.Time { return time.Now() }

// elapsed returns how long ago since was, by whichever clock says more.
func elapsed(since, now time.Time) time.Duration {
	return max(now.Sub(since), now.Round(0).Sub(since.Round(0)))
}

// start begins with a new WebSocket.
func (p *pulse) start(s *Session) {
	t := now()
	p.came, p.heard, p.owed, p.asked, p.curious, p.pinged, p.moved = s.sock.Came(), t, time.Time{}, time.Time{}, false, t, t
	p.arm(s, slowTick)
}

// watch looks for the machine's waking up while there is no WebSocket.
func (p *pulse) watch(s *Session) { p.arm(s, slowTick) }

func (p *pulse) stop() {
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}

func (p *pulse) arm(s *Session, d time.Duration) {
	p.stop()
	p.due = now().Add(d)
	p.timer = time.AfterFunc(d, s.tick)
}

// look looks earlier, if the server owes a word since now.
func (p *pulse) look(s *Session) {
	if p.owed.IsZero() && s.isOwed() {
		p.owed = now()
		if p.timer != nil && p.due.Sub(p.owed) > tick {
			p.arm(s, tick)
		}
	}
}

// isOwed reports whether the server has to say something soon. Under mu.
func (s *Session) isOwed() bool {
	if !s.resumable || s.sock == nil || s.line.close {
		return false
	}
	return s.out.Acknowledged() < s.out.Sent() || s.line.eof && s.ended
}

// progressed notes that data has come, or was acknowledged. Under mu.
func (s *Session) progressed(data bool) {
	p := &s.pulse
	p.patience, s.tries.failed = 0, 0
	p.heard, p.asked = now(), time.Time{}
	if s.sock != nil {
		p.came = s.sock.Came()
	}
	if !data {
		p.owed, p.moved = time.Time{}, p.heard
		p.look(s)
	} else if !p.curious {
		p.curious = true
		if p.timer != nil && p.due.Sub(p.heard) > quiet {
			p.arm(s, quiet)
		}
	}
}

// tick looks at the clocks.
func (s *Session) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, t := &s.pulse, now()
	if p.timer == nil || s.over || t.Before(p.due) {
		return // it was stopped, or armed anew, when it fired
	}
	slept := elapsed(p.due, t) > slack
	next := slowTick
	switch {
	case s.sock == nil:
		if slept {
			s.hurry()
		}
	case s.resumable:
		next = s.check(t, slept)
	default:
		s.checkPlain(t)
	}
	if c := &s.closing; s.sock != nil && c.stall > 0 && elapsed(p.moved, t) > c.stall {
		s.abort(3000, "")
	}
	p.arm(s, next)
}

// check asks or gives up where it is time, and returns when to look again.
func (s *Session) check(t time.Time, slept bool) time.Duration {
	p := &s.pulse
	if came := s.sock.Came(); came != p.came {
		p.came, p.heard, p.asked = came, t, time.Time{}
	}
	if s.line.close {
		if elapsed(s.line.closedAt, t) > answerClose && elapsed(p.heard, t) > answerClose {
			s.giveUp()
		}
		return slowTick
	}
	switch {
	case slept:
		p.ask(s, t)
	case p.asked.IsZero():
		since := p.heard
		bound := idle
		if !p.owed.IsZero() || p.curious {
			bound = quiet
			if p.owed.After(since) {
				since = p.owed
			}
		}
		if elapsed(since, t) >= bound {
			p.ask(s, t)
		} else if bound == idle {
			return slowTick
		}
	case elapsed(p.asked, t) < p.bound():
	case p.isMoving(s):
		p.note(s, t) // the question stands behind data that goes out
	default:
		p.patience = min(2*p.bound(), mostPatience)
		s.giveUp()
	}
	return tick
}

func (p *pulse) bound() time.Duration { return max(p.patience, patience) }

// ask has the writer ask.
func (p *pulse) ask(s *Session, t time.Time) {
	p.curious = false
	s.line.ping = true
	s.work.Signal()
	p.note(s, t)
}

func (p *pulse) note(s *Session, t time.Time) {
	p.asked, p.acked, p.written = t, s.sock.Acked(), s.sock.Written()
}

// isMoving reports whether data goes out that stands before the question.
func (p *pulse) isMoving(s *Session) bool {
	return s.line.ping && s.sock.Written() > p.written || s.sock.Acked() > p.acked+enough
}

// giveUp loses the WebSocket. The keeper finds its end.
func (s *Session) giveUp() {
	s.line.silent = true
	s.sock.Abandon()
}

// checkPlain is check in the plain way, where pings are the WebSocket protocol's. A
// server whose target doesn't take more doesn't read them, but has pings of its
// own; while this side doesn't read it hears nothing. What a write waits for the kernel
// knows: the server's silence counts from its end on.
func (s *Session) checkPlain(t time.Time) {
	p := &s.pulse
	written := s.sock.Written()
	if written != p.written {
		p.written, p.moved = written, t
	}
	if came := s.sock.Came(); came != p.came || s.isFull() || s.line.writing {
		p.came, p.heard = came, t
	}
	if (elapsed(p.heard, t) >= idle || s.isFull()) && elapsed(p.pinged, t) >= idle && !s.line.close {
		p.pinged, s.line.wsPing = t, true
		s.work.Signal()
	}
	if elapsed(p.heard, t) >= silence {
		s.giveUp()
	}
}
