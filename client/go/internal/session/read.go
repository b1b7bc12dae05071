package session

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"time"

	"wsproxy/client/go/internal/socket"
	"wsproxy/messages"
	"wsproxy/transport/wsock/replay"
)

// maxMessage is the longest message of section 9, and the longest that a tunnel
// in the plain way takes: those with data are at most half as long.
const maxMessage = replay.MaxPayload + replay.TrailerSize

// A buffer holds a message while it is read. An idle session has none.
type buffer [maxMessage + 1]byte

var buffers = sync.Pool{New: func() any { return new(buffer) }}

// errTorn is of a message that is not as it was sent: a front proxy that reloads
// may complete it with bytes of its own.
var errTorn = errors.New("a message was cut short")

// A violation is what the server has done and must not. It ends the session.
type violation struct {
	code int
	what string
}

func (v *violation) Error() string { return "the server breaks the protocol: " + v.what }

var (
	errTooLong    = &violation{messages.CloseTooBig, "a message is longer than 64 KiB"}
	errText       = &violation{messages.CloseUnsupported, "a relay has a message that is none of a relay's"}
	errBadAck     = &violation{messages.CloseProtocolError, "it acknowledges what it was not sent"}
	errUnreadable = &violation{messages.CloseProtocolError, "it acknowledges what can't be read"}
	errBeyond     = &violation{messages.CloseProtocolError, "it sends more than it may"}
)

// read reads a WebSocket to its end, and returns that.
func (s *Session) read(sock *socket.Conn) error {
	stream := !s.resumable && s.o.Unit == replay.Bytes
	for {
		kind, err := sock.Next()
		if err != nil {
			return err
		}
		if stream && kind != socket.Binary {
			return errText
		}
		b := buffers.Get().(*buffer)
		if stream {
			err = s.stream(sock, b[:])
		} else {
			err = s.message(sock, kind, b[:])
		}
		buffers.Put(b)
		if err != nil {
			return err
		}
	}
}

// stream takes a message of a relay in the plain way, of any length, as it comes.
func (s *Session) stream(sock *socket.Conn, b []byte) error {
	for {
		n, err := sock.Read(b)
		if n > 0 {
			s.take(b[:n], false, int64(n))
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// message takes a message as a whole.
func (s *Session) message(sock *socket.Conn, kind socket.Kind, b []byte) error {
	n, err := whole(sock, b)
	if err != nil {
		return err
	}
	json := kind == socket.Text || s.o.Unit == replay.Messages && n > 0 && b[0] == '{'
	switch {
	case !s.resumable:
		s.take(b[:n], json, 1)
		return nil
	case json:
		return s.json(b[:n])
	}
	return s.data(b[:n])
}

// whole reads the rest of a message.
func whole(sock *socket.Conn, b []byte) (n int, err error) {
	for {
		if n == len(b) {
			return 0, errTooLong
		}
		m, err := sock.Read(b[n:])
		n += m
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

// data takes a binary message that is not JSON.
func (s *Session) data(b []byte) error {
	size := len(b) - replay.TrailerSize
	if size < 0 {
		return errTorn
	}
	units := int64(1)
	if s.o.Unit == replay.Bytes {
		units = int64(size)
	}
	if err := s.came(units, b[size:]); err != nil || units == 0 {
		return err
	}
	s.take(b[:size], false, units)
	return nil
}

// came counts a message, whose trailer must be right if it has one.
func (s *Session) came(units int64, trailer []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if trailer != nil && binary.BigEndian.Uint64(trailer) != s.in.Position()+uint64(units) {
		return errTorn
	}
	if s.in.Came(units) != nil {
		return errBeyond
	}
	s.progressed(true)
	return nil
}

// take gives what has come to the Sink. In the plain way it waits while too much
// is not passed on.
func (s *Session) take(payload []byte, json bool, units int64) {
	s.mu.Lock()
	aborted := s.closing.aborted
	if s.o.Unit == replay.Messages {
		s.unacked.bytes += len(payload)
		s.unacked.messages++
	}
	if !s.resumable {
		s.behind += units
	} else if aborted {
		s.in.Passed(units)
		s.acknowledge()
	}
	s.mu.Unlock()
	if aborted {
		return
	}
	s.o.Sink.Take(payload, json)
	if s.resumable {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.isFull() && !s.closing.aborted && s.ctx.Err() == nil {
		s.changed.Wait()
	}
}

// isFull reports whether reading pauses, in the plain way. Under mu.
func (s *Session) isFull() bool {
	return !s.resumable && s.behind > max(s.o.Window, int64(s.o.Unit.FirstLimit()))
}

// json takes a JSON message of a session that is resumable.
func (s *Session) json(b []byte) error {
	if len(b) > replay.MaxPayload {
		return errTooLong
	}
	m, err := messages.DecodeResume(b, s.o.Unit.Name())
	if err == messages.ErrNotJSON {
		return errTorn
	}
	switch m.Kind {
	case messages.KindAck:
		if err != nil {
			return errUnreadable
		}
		return s.acked(m.Position, m.Limit)
	case messages.KindPing:
		s.mu.Lock()
		defer s.mu.Unlock()
		s.line.pong = true
		s.work.Signal()
		return nil
	case messages.KindPong:
		return nil
	}
	if s.o.Unit == replay.Bytes {
		return s.peerEnds(m.Kind)
	}
	if m.Kind != messages.KindOther { // of section 9, and of no use here
		return nil
	}
	if err := s.came(1, nil); err != nil {
		return err
	}
	s.take(b, true, 1)
	return nil
}

// peerEnds takes what a relay's server has to say beside what every server has.
func (s *Session) peerEnds(kind messages.ResumeKind) error {
	if kind != messages.KindEOF {
		return errText
	}
	s.mu.Lock()
	again := s.ended
	s.ended = true
	s.in.Ended()
	s.pulse.look(s) // its close frame may be due
	s.mu.Unlock()
	if !again {
		s.o.Sink.PeerEnded()
	}
	return nil
}

// worth is for how many bytes of room the writer is woken while more acks are
// to come soon.
const worth = replay.MaxPayload

func (s *Session) acked(position, limit uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.out.Acknowledged()
	if s.out.Acked(position, s.limited(position, limit)) != nil {
		return errBadAck
	}
	if s.out.Acknowledged() > before {
		s.progressed(false)
	}
	if s.out.Room() >= worth || s.out.Sent()-s.out.Acknowledged() < 2*worth || s.o.Unit == replay.Messages {
		s.work.Signal()
	}
	return nil
}

// ackDelay is how long what was passed on may wait for more, so that one ack tells
// of all. The protocol's bound is a second.
const ackDelay = 500 * time.Millisecond

// ackBytes is after how many bytes of a tunnel's messages an ack is due, however few
// these are: the server keeps what is not acknowledged, in 1 MiB by default, which may be
// no more than 31 messages. Over 50 ms it is 150 Mbit/s if less than 100 KB of it waits
// for an ack to be due.
const ackBytes = 64 << 10

// longMessage is from how many bytes on the first limit, 64 messages, is as much as
// the server keeps: with shorter ones acks by number come first, which raise it.
const longMessage = 16 << 10

// unacked is what has come of a tunnel since the last ack.
type unacked struct {
	bytes, messages int
	wide            bool // the limit is as high as it may become
}

func (u *unacked) isDue() bool {
	return u.bytes >= ackBytes && (u.wide || u.bytes >= u.messages*longMessage)
}

// acknowledge has the writer send an ack if one is due. Under mu.
func (s *Session) acknowledge() {
	switch {
	case s.sock == nil || s.over:
	case s.in.Due() || s.in.Waits() && s.unacked.isDue():
		s.line.ack = true
		s.work.Signal()
	case s.in.Waits() && !s.timed:
		s.timed = true
		time.AfterFunc(ackDelay, s.late)
	}
}

// late has the writer tell what was passed on a while ago.
func (s *Session) late() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timed = false
	if s.sock != nil && s.in.Waits() && !s.over {
		s.line.ack = true
		s.work.Signal()
	}
}
