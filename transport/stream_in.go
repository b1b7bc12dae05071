package transport

import (
	"errors"
	"io"
	"time"

	"wsproxy/messages"
)

// pumpIn reads the outside peer into the stream's lane: no more than the
// client allows, and no more than the writer keeps up with.
func (s *stream) pumpIn() {
	in, err := newReader(s.conn, dataRoom)
	if err != nil {
		return
	}
	allowed := messages.Window
	for {
		if _, ok := await(s, in, s.lane.room); !ok {
			return
		}
		in.limit = bufferSize
		if s.link.credit {
			if allowed == 0 {
				n, ok := s.awaitCredit(in)
				if !ok {
					return
				}
				allowed = n
			}
			in.limit = dataRoom + allowed
		}
		buf, n, err := in.read()
		if err != nil {
			s.insideEnd(err)
			return
		}
		if s.held != nil {
			if _, ok := await(s, in, s.held); !ok {
				giveBuffer(buf)
				return
			}
		}
		s.in.Add(int64(n))
		if allowed -= n; s.link.credit {
			select {
			case more := <-s.credit:
				allowed = min(allowed+more, messages.Window)
			default:
			}
		}
		s.lane.send(payloadFrame(buf, s.id, n), false)
		if pause := s.pace.next(n); pause > 0 {
			if _, ok := await(s, in, time.After(pause)); !ok {
				return
			}
		}
	}
}

// await waits for the go-ahead of the pump that reads the outside peer. When
// the stream ends first it does what remains to be done, and reports false.
func await[T any](s *stream, in *reader, ready <-chan T) (value T, ok bool) {
	select {
	case value = <-ready:
		return value, true
	case <-s.deaf:
		s.insideEnd(drain(in))
	case <-s.done:
	}
	return value, false
}

// creditLook is how often a peer for whose bytes the client gives no credit is
// looked at.
const creditLook = 250 * time.Millisecond

// awaitCredit is await for credit. The peer's end needs none: so it is found
// also behind a window that is used up, and a reset behind bytes that wait.
func (s *stream) awaitCredit(in *reader) (n int, ok bool) {
	look := time.NewTicker(creditLook)
	defer look.Stop()
	for {
		select {
		case n = <-s.credit:
			return n, true
		case <-s.deaf:
			s.insideEnd(drain(in))
			return 0, false
		case <-s.done:
			return 0, false
		case <-look.C:
			if err := in.peek(); err != nil {
				s.insideEnd(err)
				return 0, false
			}
		}
	}
}

// drain reads to no purpose but that the peer is not held up: one that has to
// get rid of its answers before it reads on would never take what is left for
// it.
func drain(in *reader) error {
	in.limit = bufferSize
	for {
		buf, _, err := in.read()
		if err != nil {
			return err
		}
		giveBuffer(buf)
	}
}

// insideEnd tells client and conn that the outside peer will send no more. Of
// an orderly end the conn hears when it is on its way to the client: what it
// grants the client begins only then.
func (s *stream) insideEnd(err error) {
	reason := messages.CloseReset
	if raw, rawErr := s.conn.SyscallConn(); errors.Is(err, io.EOF) && rawErr == nil && !wasReset(raw) {
		reason = messages.CloseEOF
	}
	select {
	case <-s.done: // it was closed here, and who did so has told the client why
		return
	default:
	}
	told := func() { s.tell(&messages.OutsideEnded{Reason: reason}) }
	if reason != messages.CloseEOF {
		told()
		return
	}
	f := s.link.controlFrame(messages.EncodeClose(s.id, reason))
	f.gone = told
	s.lane.send(f, false) // not the last: if the stream is aborted, the client hears why
}

// dataRoom is what a data frame needs before its payload: the header of a
// WebSocket frame and that of the tunnel's protocol.
const dataRoom = serverHeader + messages.DataHeader

// payloadFrame makes a data frame of the n bytes at buf[dataRoom:].
func payloadFrame(buf *buffer, id string, n int) frame {
	messages.PutDataHeader(buf[serverHeader:], id)
	start := putHeader(buf[:], opBinary, messages.DataHeader+n)
	return frame{bytes: buf[start : dataRoom+n], buf: buf, data: true}
}
