package sendqueue

import (
	"wsproxy/messages"
	"wsproxy/transport/wsock"
)

const (
	// streamDepth is how many frames of one connection wait for the writer: one
	// on its way, one behind it. Then its outside peer is not read.
	streamDepth = 2
	// smallFrame is the length in bytes below which data frames are taken for
	// the words of a dialogue, if two come in a row.
	smallFrame = 4 << 10
)

// A Stream is the part of a Queue that belongs to one stream.
type Stream struct {
	all    *Queue        // set once
	frames []Frame       // under all.mu
	inTurn bool          // under all.mu: whether it is in all.turn
	fresh  bool          // under all.mu: whether it is in all.fresh
	spent  bool          // under all.mu: it is not fresh again before it has left all.turn
	due    int           // under all.mu: bytes that it may send before others have their turns
	closed bool          // under all.mu: nothing is added any more
	begun  bool          // under all.mu: a frame has left it
	small  bool          // under all.mu: the last data frame was
	room   chan struct{} // streamDepth tokens: one for each data frame that may wait
}

// NewStream returns the queue of a new stream.
func (q *Queue) NewStream() *Stream {
	s := &Stream{all: q, room: make(chan struct{}, streamDepth)}
	for range streamDepth {
		s.room <- struct{}{}
	}
	return s
}

// Room returns tokens for data frames: who receives one may send one, or gives it back.
func (s *Stream) Room() <-chan struct{} { return s.room }

// TryRoom takes another token of Room, and reports whether it has: it does if two frames
// would leave together, and none waits.
func (s *Stream) TryRoom() bool {
	s.all.mu.Lock()
	pairs := s.all.takesPairs()
	s.all.mu.Unlock()
	if !pairs {
		return false
	}
	select {
	case <-s.room:
		return true
	default:
		return false
	}
}

// GiveRoom gives back a token of Room that was not used.
func (s *Stream) GiveRoom() { s.room <- struct{}{} } // has room: it came from there

// Send adds a frame to a stream's queue, or drops it if that is closed. A data frame
// needs a token from Room. last closes the queue after it.
func (s *Stream) Send(f Frame, last bool) { s.send(last, f) }

// SendTwo is Send for two data frames: the writer finds both.
func (s *Stream) SendTwo(first, second Frame) { s.send(false, first, second) }

func (s *Stream) send(last bool, frames ...Frame) {
	q := s.all
	q.mu.Lock()
	refused := q.ended || s.closed
	if !refused {
		waits := len(s.frames) > 0
		s.frames = append(s.frames, frames...)
		s.closed = last
		if !s.inTurn && !s.fresh {
			s.due, s.spent = sendQuantum, false
		}
		if !waits && !s.fresh && !s.spent {
			s.fresh = true
			q.fresh = append(q.fresh, s)
		}
	}
	q.mu.Unlock()
	if refused {
		q.DropAll(frames)
		return
	}
	q.signal()
}

// Cut closes a stream's queue and drops what waits in it.
func (s *Stream) Cut() {
	s.all.mu.Lock()
	waiting := s.frames
	s.frames, s.closed = nil, true
	s.all.mu.Unlock()
	for _, f := range waiting {
		s.all.drop(f)
	}
}

// Abandon is Cut, with a last frame in the place of what waits. If nothing has left the
// queue the client has not heard of the stream, and does not hear of its end.
func (s *Stream) Abandon(last Frame) {
	s.all.mu.Lock()
	waiting := s.frames
	s.frames = nil
	begun := s.begun
	s.all.mu.Unlock()
	for _, f := range waiting {
		s.all.drop(f)
	}
	if begun {
		s.Send(last, true)
	} else {
		s.Cut()
	}
}

// End closes a stream's queue, and calls gone when nothing waits in it any more: maybe
// at once, else in whatever goroutine drops the last frame.
func (s *Stream) End(gone func()) {
	s.all.mu.Lock()
	s.closed = true
	waits := len(s.frames) > 0
	if waits {
		last := &s.frames[len(s.frames)-1]
		before := last.gone
		last.gone = func() {
			if before != nil {
				before()
			}
			gone()
		}
	}
	s.all.mu.Unlock()
	if !waits {
		gone()
	}
}

// Waiting returns how many frames wait, and whether somebody is told when the last of
// them is gone.
func (s *Stream) Waiting() (frames int, told bool) {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	n := len(s.frames)
	return n, n > 0 && s.frames[n-1].gone != nil
}

// isBrief reports whether the next frame is small, or there is none. Under all.mu.
func (s *Stream) isBrief() bool {
	return len(s.frames) == 0 || len(s.frames[0].bytes) < smallFrame
}

// isPair reports whether its next two frames are data. Under all.mu.
func (s *Stream) isPair() bool {
	return len(s.frames) > 1 && s.frames[0].data && s.frames[1].data
}

// pop takes the stream's first frame. Under all.mu.
func (s *Stream) pop() Frame {
	f := s.frames[0]
	s.frames[0] = Frame{}
	s.frames = s.frames[1:]
	s.begun = true
	if f.data {
		s.room <- struct{}{} // has room: f had taken a token from it
		small := len(f.bytes) < smallFrame
		f.interactive, s.small = small && s.small, small
	}
	return f
}

// coalesceTo makes one data frame of the last one of batch and those that wait
// behind it in the queue, up to limit bytes of payload. Under all.mu.
func (s *Stream) coalesceTo(batch []Frame, limit int) []Frame {
	first := len(batch) - 1
	total := len(batch[first].payload())
	for len(s.frames) > 0 && s.frames[0].data && total+len(s.frames[0].payload()) <= limit {
		f := s.pop()
		f.bytes = f.payload()
		total += len(f.bytes)
		batch = append(batch, f)
	}
	if f := &batch[first]; len(batch) > first+1 {
		f.bytes = f.message()
		f.headed = uint8(len(wsock.AppendHeader(f.head[:0], wsock.OpBinary, messages.DataHeader+total)))
	}
	return batch
}
