package tunnel

import (
	"errors"
	"io"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/tunnel/sendqueue"
	"wsproxy/transport/wsock"
)

// pumpIn reads the outside peer into the stream's queue: no more than the
// client allows, and no more than the writer keeps up with.
func (s *Stream) pumpIn() {
	in, err := wsock.NewReader(s.conn, sendqueue.DataRoom)
	if err != nil {
		return
	}
	in.SentEnd(&s.sentEnd)
	much := false // the last read has filled half of what two buffers take
	for {
		if _, ok := await(s, in, s.queue.Room()); !ok {
			return
		}
		if s.mux.memory.Full() { // then no more than one frame waits
			if _, ok := await(s, in, s.queue.Room()); !ok {
				return
			}
			s.queue.GiveRoom()
		}
		in.Limit(wsock.BufferSize)
		if s.mux.credit {
			if s.allowed == 0 {
				n, ok := s.awaitCredit(in)
				if !ok {
					return
				}
				s.allowed = n
			}
			in.Limit(s.allowed)
		}
		var buf, other *wsock.Buffer
		var n, m int
		if much && s.takesTwo() {
			if buf, n, other, m, err = in.ReadTwo(); other == nil {
				s.queue.GiveRoom()
			}
		} else {
			buf, n, err = in.Read()
		}
		if err != nil {
			s.peerEnded(in, err)
			return
		}
		if much = n+m >= wsock.PairSize/2; other != nil {
			s.counted(n+m, 2)
			s.queue.SendTwo(sendqueue.Data(buf, s.id, sendqueue.DataRoom, n), sendqueue.Data(other, s.id, sendqueue.DataRoom, m))
			continue
		}
		if s.special.Ready != nil {
			if _, ok := await(s, in, s.special.Ready); !ok {
				wsock.GiveBuffer(buf)
				return
			}
		}
		s.sendData(buf, sendqueue.DataRoom, n)
		if s.special.Pause == nil {
			continue
		}
		if pause := s.special.Pause(n); pause > 0 {
			if _, ok := await(s, in, time.After(pause)); !ok {
				return
			}
		}
	}
}

// takesTwo takes room for another data frame, and reports whether two are to be read at
// once: the client takes as much, and keeps up.
func (s *Stream) takesTwo() bool {
	return s.special.Ready == nil && s.special.Pause == nil && !s.mux.memory.Full() &&
		(!s.mux.credit || s.allowed >= wsock.PairSize) && s.queue.TryRoom()
}

// sendData sends the n bytes at buf[from:], which are no more than the client
// allows.
func (s *Stream) sendData(buf *wsock.Buffer, from, n int) {
	s.counted(n, 1)
	s.queue.Send(sendqueue.Data(buf, s.id, from, n), false)
}

// counted notes that n bytes, in so many buffers, go to the client.
func (s *Stream) counted(n, buffers int) {
	s.in.Add(int64(n))
	if s.isRaw() {
		s.mux.settings.Host.Flows.Raw.ToClient.Add(int64(n))
	}
	s.touch()
	s.mux.memory.Add(int64(buffers) * wsock.BufferSize) // the frames', until they are written or dropped
	s.allowed -= n
	if s.mux.credit {
		select {
		case more := <-s.credit:
			s.allowed = min(s.allowed+more, messages.MaxWindow)
		default:
		}
	}
}

// isRaw reports whether it counts as a raw connection: nothing of this process speaks
// over it.
func (s *Stream) isRaw() bool { return s.protocol == "" }

// touch notes that something moves.
func (s *Stream) touch() {
	if s.joined {
		s.moved.Store(time.Now().UnixNano())
	}
}

// await waits for the go-ahead of the pump that reads the outside peer. When
// the stream ends first it does what remains to be done, and reports false.
func await[T any](s *Stream, in *wsock.Reader, ready <-chan T) (value T, ok bool) {
	select {
	case value = <-ready:
		return value, true
	case <-s.unread:
		s.peerEnded(in, drain(in))
	case <-s.done:
	}
	return value, false
}

// creditLook is how often a peer for whose bytes the client gives no credit is
// looked at.
const creditLook = 250 * time.Millisecond

// awaitCredit is await for credit. The peer's end needs none: so it is found
// also behind a window that is used up, and a reset behind bytes that wait.
func (s *Stream) awaitCredit(in *wsock.Reader) (n int, ok bool) {
	look := time.NewTicker(creditLook)
	defer look.Stop()
	for {
		select {
		case n = <-s.credit:
			return n, true
		case <-s.unread:
			s.peerEnded(in, drain(in))
			return 0, false
		case <-s.done:
			return 0, false
		case <-look.C:
			if err := in.Peek(); err != nil {
				s.peerEnded(in, err)
				return 0, false
			}
		}
	}
}

// drain reads to no purpose but that the peer is not held up: one that has to
// get rid of its answers before it reads on would never take what is left for
// it.
func drain(in *wsock.Reader) error {
	in.Limit(wsock.BufferSize)
	for {
		buf, _, err := in.Read()
		if err != nil {
			return err
		}
		wsock.GiveBuffer(buf)
	}
}

// peerEnded tells client and conn that the outside peer will send no more. Of
// an orderly end the conn hears when it is on its way to the client: what it
// grants the client begins only then.
func (s *Stream) peerEnded(in *wsock.Reader, err error) {
	reason := messages.CloseReset
	if errors.Is(err, io.EOF) && !in.WasReset() {
		reason = messages.CloseEOF
	}
	select {
	case <-s.done: // it was closed here, and who did so has told the client why
		return
	default:
	}
	s.mu.Lock()
	s.peerEnd = true // now each word of the client counts for the conn
	s.mu.Unlock()
	told := func() { s.tell(&messages.OutsideEnded{Reason: reason}) }
	if reason != messages.CloseEOF {
		told()
		return
	}
	s.queue.Send(s.mux.frameClose(s.id, reason, told), false) // not the last: if the stream is aborted, the client hears why
}
