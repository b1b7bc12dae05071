package tunnel

import (
	"slices"
	"sync"

	"wsproxy/messages"
	"wsproxy/transport/wsock"
)

const (
	// writeBatch is about how many bytes of control messages, and how many of
	// raw connections, a tunnel's writer gives the kernel at once: what waits
	// together goes out in one system call, neither kind starves the other, and
	// a frame that comes meanwhile waits no longer than that takes.
	writeBatch = 64 << 10
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
// Control messages go first; streams are served in turns. Any goroutine may
// add; one takes.
type sendQueue struct {
	mu      sync.Mutex
	control []frame
	turn    []*streamQueue // those that have something, in the order of their turns
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
	closed bool          // under all.mu: nothing is added any more
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
		if !s.inTurn {
			s.inTurn = true
			q.turn = append(q.turn, s)
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
// ever come. It doesn't wait. If urgent is set, it takes control messages only,
// unless these are the last frames of all.
func (q *sendQueue) take(batch []frame, urgent bool) (next []frame, more bool) {
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
	// One frame of each stream, then another of each, until the batch is full.
	size = 0
	for len(q.turn) > 0 && size < writeBatch && (!urgent || q.ended) {
		s := q.turn[0]
		q.turn[0] = nil
		q.turn = q.turn[1:]
		if len(s.frames) == 0 { // it was cut
			s.inTurn = false
			continue
		}
		first := len(batch)
		batch = append(batch, s.pop())
		if q.coalesce > 0 && batch[first].data {
			batch = s.coalesceTo(batch, q.coalesce)
		}
		for _, f := range batch[first:] {
			size += len(f.bytes)
		}
		if s.inTurn = len(s.frames) > 0; s.inTurn {
			q.turn = append(q.turn, s)
		}
	}
	return batch, !q.ended || len(q.control) > 0 || len(q.turn) > 0
}

// pop takes the stream's first frame. Under all.mu.
func (s *streamQueue) pop() frame {
	f := s.frames[0]
	s.frames[0] = frame{}
	s.frames = s.frames[1:]
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
	waiting, turn := q.control, q.turn
	q.control, q.turn, q.ended = nil, nil, true
	for _, s := range turn {
		waiting = append(waiting, s.frames...)
		s.frames, s.inTurn = nil, false
	}
	q.mu.Unlock()
	signal(q.wake)
	for _, f := range waiting {
		q.drop(f)
	}
}
