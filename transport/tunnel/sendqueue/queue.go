package sendqueue

import (
	"slices"
	"sync"

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
	// fewStreams is of how many streams at most that wait two frames at once are taken.
	// Of many everyone waits twice as long then, and what each has got differs by twice
	// as much at any time.
	fewStreams = 8
)

// A Queue is what waits for a tunnel's writer, the only one that writes to
// its WebSocket: control messages of the tunnel in one queue, and one queue for
// each stream, in which its tcp_open, data and tcp_close keep their order.
// Nothing reaches the WebSocket by another way, so no close overtakes its data.
// Control messages go first. Streams are served in turns that are counted in bytes, one
// that had nothing waiting before those that had. But until all others have had their
// turns it has only one turn's bytes, however often it has nothing: so nobody is for
// ever new by sending little (deficit round robin with a list of new flows: RFC 8290,
// section 4; there such a flow waits for its turn as soon as it had nothing, but a round
// of a hundred streams would be three megabytes here). Any goroutine may add; one takes.
type Queue struct {
	mu      sync.Mutex
	control []Frame
	fresh   []*Stream     // those that had nothing, in the order of their turns; before turn
	turn    []*Stream     // those that have, or had, something, in the order of their turns; some are fresh, too
	ended   bool          // nothing is added any more
	ample   bool          // the last Take could take as much as is ever taken
	wake    chan struct{} // has room for one: something was added, or it ended
	freed   Freed         // set once
	// coalesce is up to how many payload bytes data frames of one stream that
	// wait become one; 0 = never. Set once.
	coalesce int
}

// Freed gives back what a frame was charged with, maybe nothing, once for each frame
// that was written or dropped. It may be called by any goroutine that calls the Queue.
type Freed func(bytes int64, request bool)

// New returns a queue in which nothing waits. Data frames of one stream that wait
// become one of up to so many payload bytes; 0 = never.
func New(freed Freed, coalesce int) *Queue {
	return &Queue{wake: make(chan struct{}, 1), freed: freed, coalesce: coalesce}
}

// Control adds a control message, or drops it if the writer has ended.
func (q *Queue) Control(f Frame) {
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
	q.signal()
}

// Forget drops a request that waits, if it does.
func (q *Queue) Forget(request string) {
	q.mu.Lock()
	i := slices.IndexFunc(q.control, func(f Frame) bool { return f.request == request })
	if i < 0 {
		q.mu.Unlock()
		return
	}
	f := q.control[i]
	q.control = slices.Delete(q.control, i, i+1)
	q.mu.Unlock()
	q.drop(f)
}

// Take returns the frames to be written next, in batch, and whether more will
// ever come. It doesn't wait. room is about how many bytes of data may go out: if
// it is 0 it takes only control messages and a small frame of each stream that had
// nothing waiting, unless these are the last frames of all.
func (q *Queue) Take(batch []Frame, room int) (next []Frame, more bool) {
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
	q.ample = room >= writeBatch
	pairs := q.takesPairs() // those that have something may be fewer by and by: it is decided once
	for size = 0; ; {
		s := q.serve(size < room)
		pair := pairs && s != nil && s.isPair()
		if s == nil || size >= writeBatch || pair && size > writeBatch/2 {
			return batch, !q.ended || len(q.control)+len(q.fresh)+len(q.turn) > 0
		}
		first := len(batch)
		batch = append(batch, s.pop())
		switch {
		case q.coalesce > 0 && batch[first].data:
			batch = s.coalesceTo(batch, q.coalesce)
		case pair:
			batch = append(batch, s.pop())
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
func (q *Queue) serve(everyone bool) *Stream {
	for {
		list, i := &q.turn, 0
		if len(q.fresh) > 0 { // small frames first: a hundred downloads that begin are not before a keystroke
			list, i = &q.fresh, max(slices.IndexFunc(q.fresh, (*Stream).isBrief), 0)
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

// takesPairs reports whether two data frames of a stream leave together: then its
// outside peer is read with half the system calls. Not where the client is behind, or
// many want their turns. Under mu.
func (q *Queue) takesPairs() bool { return q.ample && len(q.fresh)+len(q.turn) <= fewStreams }

// Backlog returns how many control messages wait.
func (q *Queue) Backlog() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.control)
}

// End refuses everything from now on. What waits is still taken.
func (q *Queue) End() {
	q.mu.Lock()
	q.ended = true
	q.mu.Unlock()
	q.signal()
}

// Clear drops what waits.
func (q *Queue) Clear() {
	q.mu.Lock()
	waiting, streams := q.control, append(q.fresh, q.turn...)
	q.control, q.fresh, q.turn, q.ended = nil, nil, nil, true
	for _, s := range streams {
		waiting = append(waiting, s.frames...)
		s.frames, s.inTurn, s.fresh = nil, false, false
	}
	q.mu.Unlock()
	q.signal()
	for _, f := range waiting {
		q.drop(f)
	}
}

// Wake returns a channel that has something whenever a frame was added, or the queue
// ended, since it was last received from.
func (q *Queue) Wake() <-chan struct{} { return q.wake }

func (q *Queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// DropAll gives back what these frames hold, written or not, each once however often it
// is called.
func (q *Queue) DropAll(frames []Frame) {
	for i, f := range frames {
		frames[i] = Frame{}
		q.drop(f)
	}
}

// drop gives back what a frame held. Not under mu.
func (q *Queue) drop(f Frame) {
	if f.buf != nil {
		wsock.GiveBuffer(f.buf)
	}
	q.freed(f.charged, f.request != "")
	if f.gone != nil {
		f.gone()
	}
}
