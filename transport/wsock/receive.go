package wsock

import (
	"encoding/binary"
	"errors"
	"io"

	"wsproxy/messages"
	"wsproxy/transport/wsock/kernel"
)

// A Receiver is what a session does with what its client sends. Its functions
// are called by the reading pump.
type Receiver struct {
	// Texts says whether text messages are allowed.
	Texts bool
	// Boundaries says whether Payload needs to know where messages end.
	Boundaries bool
	// Afresh says that what Payload does needs more stack than waiting for the
	// client may have: see [Reader.Afresh].
	Afresh bool
	// Wait is called before each read, and may wait for room. nil = never.
	Wait func()
	// Payload takes payload, which is its own until it returns: a part of a
	// message, or with Boundaries the end of one if end is set. It may wait. A
	// reason refuses the rest of what the client sends.
	Payload func(data []byte, text, end bool) (refused messages.Reason)
	// Done, if not nil, is called when Payload has had all that one read has brought,
	// which is as it was left until Done returns. It may wait.
	Done func()
	// Ended, if not nil, is called when nothing more is read, before the owner
	// hears of it. It may wait.
	Ended func()
	// Held, if not nil, is called each second in which the limiter keeps the client
	// from being read, by another goroutine. It returns at once.
	Held func()
	// Received, if not nil, counts the bytes of all frames.
	Received func(n int)
}

// receiveAll is the reading pump. Its frames are small, and r is no copy: a
// stack of four kilobytes of which the parked pump needs more than a fourth
// would never shrink to two. again says that it is to go on in another goroutine.
func (s *Session) receiveAll(r *Receiver) (reason messages.Reason, again bool) {
	if s.at == nil {
		s.host.keepalive.add(s.conn)
	}
	if reason, again = s.receive(r); !again && r.Ended != nil {
		r.Ended()
	}
	return reason, again
}

// receive reads the client until it has ended, and returns why. When the
// session closes, or something was refused, it goes on reading, to no purpose
// but to let the client read what was sent to it.
func (s *Session) receive(r *Receiver) (reason messages.Reason, again bool) {
	if s.at == nil {
		in, err := NewReader(&s.conn.conn, 0)
		if err != nil {
			return messages.ReasonInternal, false
		}
		s.at = &place{in: in, frames: decoder{onPing: s.conn.answer, texts: r.Texts, boundaries: r.Boundaries}}
		if r.Held != nil && s.conn.limiter != nil {
			s.at.held = &holdup{say: r.Held}
		}
	}
	at := s.at
	in := at.in
	if r.Afresh {
		in.Afresh()
	}
	defer func() { at.rest = nil }() // whose buffer is given back, or lost to a panic
	frames := &at.frames
	// Of what comes after a rest as much is read without asking as of one who was parked.
	for asked := s.conn.reading.Load(); ; asked = false {
		// Before the first read, too: else who takes its session up again and again would
		// have that much each time.
		if !asked {
			s.awaitLimit()
		}
		if !asked && r.Wait != nil {
			r.Wait()
		}
		s.conn.reading.Store(true)
		buf, n, err := in.Read()
		s.conn.reading.Store(err == ErrAfresh) // it is waited for, with or without this goroutine
		if err != nil {
			if err == ErrAfresh {
				return "", true
			}
			reason = s.conn.Failure(err)
			s.halfClosed.Store(reason == messages.ReasonClientGone && errors.Is(err, io.EOF) && !kernel.WasReset(s.conn.raw))
			return reason, false
		}
		s.conn.heard.Add(1)
		if s.conn.limiter != nil {
			s.conn.limiter.Passed(fromClient, n)
		}
		if r.Received != nil {
			r.Received(n)
		}
		used := false
		for at.rest = buf[:n]; len(at.rest) > 0; {
			var data []byte
			data, at.rest, at.result, reason = frames.decode(at.rest)
			if !at.refused && !s.discard.Load() && (len(data) > 0 || at.result == decodedMessage) {
				used = true
				if no := r.Payload(data, frames.isText, at.result == decodedMessage); no != "" {
					s.refuse(no)
				}
			}
			switch at.result {
			case decodedClose:
				s.closeFrame = true
				if len(frames.control) >= 2 {
					s.closeCode = int(binary.BigEndian.Uint16(frames.control))
				}
				r.done(buf)
				return messages.ReasonClientClosed, false
			case decodedBad:
				if reason == messages.ReasonProtocolError {
					s.garbled = true
					r.done(buf)
					return reason, false
				}
				s.refuse(reason) // the client is read on, to its close frame
			}
		}
		at.rest = nil // even empty it would hold the buffer
		r.done(buf)
		if !used && !at.refused && !s.discard.Load() { // as of a pong, and not of what is read to no purpose
			s.conn.conn.Soon()
		}
	}
}

// done ends what one read has brought.
func (r *Receiver) done(buf *Buffer) {
	if r.Done != nil {
		r.Done()
	}
	GiveBuffer(buf)
}

// refuse tells the owner that no more is taken of what the client sends, once.
func (s *Session) refuse(reason messages.Reason) {
	if !s.at.refused {
		s.at.refused = true
		s.Tell(s.ended(reason))
	}
}
