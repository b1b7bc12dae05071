package tunnel

import (
	"slices"
	"sync"

	"wsproxy/messages"
	"wsproxy/transport/tunnel/inflight"
	"wsproxy/transport/wsock"
)

const (
	// writeBatch is about how many bytes of control messages, and at most how many
	// of raw connections, a tunnel's writer gives the kernel at once: what waits
	// together goes out in one system call, neither kind starves the other, and
	// a frame that comes meanwhile waits no longer than that takes.
	writeBatch = inflight.MaxBatch
	// sendQuantum is how many bytes a stream sends in its turn: the longest data
	// frame, so that none needs more than one turn to be due.
	sendQuantum = wsock.BufferSize
	// streamDepth is how many frames of one connection wait for the writer: one
	// on its way, one behind it. Then its outside peer is not read.
	streamDepth = 2
	// smallFrame is the length in bytes below which data frames are taken for
	// the words of a dialogue, if two come in a row.
	smallFrame = 4 << 10
)

// A frame is a whole WebSocket frame that waits for the writer.
type frame struct {
	head   [wsock.MaxHeader]byte // what goes before bytes
	headed uint8                 // how much of head does
	bytes  []byte
	buf    *wsock.Buffer // goes back to the pool when the frame is written; may be nil
	data   bool          // whether it is one of the streamDepth
	gone   func()        // called when it is written or dropped; may be nil

	interactive bool // whether somebody waits for it

	request string // the id of the http_request that it is, or ""
	charged int64  // bytes of the tunnel's memory, which come back when it is written or dropped
}

// payload returns what a data frame carries for its connection.
func (f *frame) payload() []byte {
	header := 2
	if f.bytes[1] > 125 {
		header = wsock.ServerHeader
	}
	return f.bytes[header+messages.DataHeader:]
}

// A sendQueue is what waits for a tunnel's writer, the only one that writes to
// its WebSocket: control messages of the tunnel in one queue, and one queue for
// each stream, in which its tcp_open, data and tcp_close keep their order.
// Nothing reaches the WebSocket by another way, so no close overtakes its data.
// Control messages go first. Streams are served in turns that are counted in bytes, one
// that had nothing waiting before those that had. But until all others have had their
// turns it has only one turn's bytes, however often it has nothing: so nobody is for
// ever new by sending little (deficit round robin with a list of new flows: RFC 8290,
// section 4; there such a flow waits for its turn as soon as it had nothing, but a round
// of a hundred streams would be three megabytes here). Any goroutine may add; one takes.
type sendQueue struct {
	mu      sync.Mutex
	control []frame
	fresh   []*streamQueue // those that had nothing, in the order of their turns; before turn
	turn    []*streamQueue // those that have, or had, something, in the order of their turns; some are fresh, too
	ended   bool           // nothing is added any more
	wake    chan struct{}  // has room for one: something was added, or it ended
	drop    func(frame)    // gives back what a frame held
	// coalesce is up to how many payload bytes data frames of one stream that
	// wait become one; 0 = never. Set once.
	coalesce int
}

// A streamQueue is the part of a sendQueue that belongs to one stream.
type streamQueue struct {
	all    *sendQueue    // set once
	frames []frame       // under all.mu
	inTurn bool          // under all.mu: whether it is in all.turn
	fresh  bool          // under all.mu: whether it is in all.fresh
	spent  bool          // under all.mu: it is not fresh again before it has left all.turn
	due    int           // under all.mu: bytes that it may send before others have their turns
	closed bool          // under all.mu: nothing is added any more
	begun  bool          // under all.mu: a frame has left it
	small  bool          // under all.mu: the last data frame was
	room   chan struct{} // streamDepth tokens: one for each data frame that may wait
}

func newSendQueue(drop func(frame)) *sendQueue {
	return &sendQueue{wake: make(chan struct{}, 1), drop: drop}
}

func (q *sendQueue) newStream() *streamQueue {
	s := &streamQueue{all: q, room: make(chan struct{}, streamDepth)}
	for range streamDepth {
		s.room <- struct{}{}
	}
	return s
}

// sendControl adds a control message, or drops it if the writer has ended.
func (q *sendQueue) sendControl(f frame) {
	q.mu.Lock()
	ended := q.ended
	if !ended {
		q.control = append(q.control, f)
	}
	q.mu.Unlock()
	if ended {
		q.drop(f)
		return
	}
	signal(q.wake)
}

// forget drops a request that waits, if it does.
func (q *sendQueue) forget(request string) {
	q.mu.Lock()
	i := slices.IndexFunc(q.control, func(f frame) bool { return f.request == request })
	if i < 0 {
		q.mu.Unlock()
		return
	}
	f := q.control[i]
	q.control = slices.Delete(q.control, i, i+1)
	q.mu.Unlock()
	q.drop(f)
}

// send adds a frame to a stream's queue. A data frame needs a token from room. last
// closes the queue after it.
func (s *streamQueue) send(f frame, last bool) {
	q := s.all
	q.mu.Lock()
	refused := q.ended || s.closed
	if !refused {
		s.frames = append(s.frames, f)
		s.closed = last
		if !s.inTurn && !s.fresh {
			s.due, s.spent = sendQuantum, false
		}
		if len(s.frames) == 1 && !s.fresh && !s.spent {
			s.fresh = true
			q.fresh = append(q.fresh, s)
		}
	}
	q.mu.Unlock()
	if refused {
		q.drop(f)
		return
	}
	signal(q.wake)
}

// cut closes a stream's queue and drops what waits in it.
func (s *streamQueue) cut() {
	s.all.mu.Lock()
	waiting := s.frames
	s.frames, s.closed = nil, true
	s.all.mu.Unlock()
	for _, f := range waiting {
		s.all.drop(f)
	}
}

// abandon is cut, with a last frame in the place of what waits. If nothing has left the
// queue the client has not heard of the stream, and does not hear of its end.
func (s *streamQueue) abandon(last frame) {
	s.all.mu.Lock()
	waiting := s.frames
	s.frames = nil
	begun := s.begun
	s.all.mu.Unlock()
	for _, f := range waiting {
		s.all.drop(f)
	}
	if begun {
		s.send(last, true)
	} else {
		s.cut()
	}
}

// end closes a stream's queue, and calls gone when nothing waits in it any more.
func (s *streamQueue) end(gone func()) {
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

// take returns the frames to be written next, in batch, and whether more will
// ever come. It doesn't wait. room is about how many bytes of data may go out: if
// it is 0 it takes only control messages and a small frame of each stream that had
// nothing waiting, unless these are the last frames of all.
func (q *sendQueue) take(batch []frame, room int) (next []frame, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	size := 0
	taken := 0
	for taken < len(q.control) && size < writeBatch {
		size += len(q.control[taken].bytes)
		taken++
	}
	batch = append(batch, q.control[:taken]...)
	clear(q.control[:taken]) // the queue keeps nothing of what has left it
	if q.control = q.control[taken:]; len(q.control) == 0 {
		q.control = nil
	}
	if q.ended {
		room = writeBatch
	}
	for size = 0; ; {
		s := q.serve(size < room)
		if s == nil || size >= writeBatch {
			return batch, !q.ended || len(q.control)+len(q.fresh)+len(q.turn) > 0
		}
		first := len(batch)
		batch = append(batch, s.pop())
		if q.coalesce > 0 && batch[first].data {
			batch = s.coalesceTo(batch, q.coalesce)
		}
		n := 0
		for _, f := range batch[first:] {
			n += len(f.bytes)
		}
		size += n
		s.due -= n
	}
}

// serve returns the stream whose turn it is, which has a frame that waits, or
// nil. If not everyone may send, that is one of those that had nothing, and the
// frame is small. Under mu.
func (q *sendQueue) serve(everyone bool) *streamQueue {
	for {
		list, i := &q.turn, 0
		if len(q.fresh) > 0 { // small frames first: a hundred downloads that begin are not before a keystroke
			list, i = &q.fresh, max(slices.IndexFunc(q.fresh, (*streamQueue).isBrief), 0)
		}
		if len(*list) == 0 {
			return nil
		}
		s := (*list)[i]
		waits := len(s.frames) > 0
		switch {
		case waits && s.due > 0 && (everyone || s.fresh && s.isBrief()):
			return s
		case !everyone && (waits && s.due > 0 || !s.fresh):
			return nil
		}
		*list = slices.Delete(*list, i, i+1)
		if waits {
			s.due, s.spent = s.due+sendQuantum, true
		}
		if s.fresh {
			s.fresh = false
			waits = waits || len(q.turn) > 0 // if it sends again, its bytes of this turn are counted
		} else {
			s.inTurn = false
		}
		if waits && !s.inTurn {
			s.inTurn = true
			q.turn = append(q.turn, s)
		}
	}
}

// isBrief reports whether the next frame is small, or there is none. Under all.mu.
func (s *streamQueue) isBrief() bool {
	return len(s.frames) == 0 || len(s.frames[0].bytes) < smallFrame
}

// pop takes the stream's first frame. Under all.mu.
func (s *streamQueue) pop() frame {
	f := s.frames[0]
	s.frames[0] = frame{}
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
func (s *streamQueue) coalesceTo(batch []frame, limit int) []frame {
	first := len(batch) - 1
	total := len(batch[first].payload())
	for len(s.frames) > 0 && s.frames[0].data && total+len(s.frames[0].payload()) <= limit {
		f := s.pop()
		f.bytes = f.payload()
		total += len(f.bytes)
		batch = append(batch, f)
	}
	if f := &batch[first]; len(batch) > first+1 {
		f.bytes = f.bytes[len(f.bytes)-len(f.payload())-messages.DataHeader:]
		f.headed = uint8(len(wsock.AppendHeader(f.head[:0], wsock.OpBinary, messages.DataHeader+total)))
	}
	return batch
}

// backlog returns how many control messages wait.
func (q *sendQueue) backlog() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.control)
}

// end refuses everything from now on. What waits is still taken.
func (q *sendQueue) end() {
	q.mu.Lock()
	q.ended = true
	q.mu.Unlock()
	signal(q.wake)
}

// clear drops what waits.
func (q *sendQueue) clear() {
	q.mu.Lock()
	waiting, streams := q.control, append(q.fresh, q.turn...)
	q.control, q.fresh, q.turn, q.ended = nil, nil, nil, true
	for _, s := range streams {
		waiting = append(waiting, s.frames...)
		s.frames, s.inTurn, s.fresh = nil, false, false
	}
	q.mu.Unlock()
	signal(q.wake)
	for _, f := range waiting {
		q.drop(f)
	}
}
