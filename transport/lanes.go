package transport

import (
	"slices"
	"sync"

	"wsproxy/messages"
)

const (
	// writeBatch is about how many bytes of control messages, and how many of
	// raw connections, a tunnel's writer gives the kernel at once: what waits
	// together goes out in one system call, neither kind starves the other, and
	// a frame that comes meanwhile waits no longer than that takes.
	writeBatch = 64 << 10
	// laneDepth is how many frames of one connection wait for the writer: one
	// on its way, one behind it. Then its outside peer is not read.
	laneDepth = 2
	// smallFrame is the length in bytes below which data frames are taken for
	// the words of a dialogue, if two come in a row.
	smallFrame = 4 << 10
)

// A frame is a whole WebSocket frame that waits for the writer.
type frame struct {
	head   [maxHeaderBytes]byte // what goes before bytes
	headed uint8                // how much of head does
	bytes  []byte
	buf    *buffer // goes back to the pool when the frame is written; may be nil
	data   bool    // whether it is one of the laneDepth
	hurry  bool    // whether somebody waits for it
	gone   func()  // called when it is written or dropped; may be nil

	request string // the id of the http_request that it is, or ""
	charged int64  // bytes of the tunnel's memory, which come back when it is written or dropped
}

// payload returns what a data frame carries for its connection.
func (f *frame) payload() []byte {
	header := 2
	if f.bytes[1] > 125 {
		header = serverHeader
	}
	return f.bytes[header+messages.DataHeader:]
}

// lanes is what waits for a tunnel's writer, the only one that writes to its
// WebSocket: control messages of the tunnel in one queue, and one queue, a
// lane, for each raw connection, in which its tcp_open, data and tcp_close
// keep their order. Control messages go first; lanes are served in turns. Any
// goroutine may add; one takes.
type lanes struct {
	mu      sync.Mutex
	control []frame
	turn    []*lane       // those that have something, in the order of their turns
	ended   bool          // nothing is added any more
	wake    chan struct{} // has room for one: something was added, or it ended
	drop    func(frame)   // gives back what a frame held
	join    int           // payload bytes up to which data frames that wait are joined; 0 = never; set once
}

// A lane is the queue of one raw connection.
type lane struct {
	all    *lanes
	frames []frame       // under all.mu
	inTurn bool          // under all.mu: whether it is in all.turn
	closed bool          // under all.mu: nothing is added any more
	small  bool          // under all.mu: the last data frame was
	room   chan struct{} // laneDepth tokens: one for each data frame that may wait
}

func newLanes(drop func(frame)) *lanes {
	return &lanes{wake: make(chan struct{}, 1), drop: drop}
}

func (l *lanes) newLane() *lane {
	n := &lane{all: l, room: make(chan struct{}, laneDepth)}
	for range laneDepth {
		n.room <- struct{}{}
	}
	return n
}

// sendControl adds a control message, or drops it if the writer has ended.
func (l *lanes) sendControl(f frame) {
	l.mu.Lock()
	ended := l.ended
	if !ended {
		l.control = append(l.control, f)
	}
	l.mu.Unlock()
	if ended {
		l.drop(f)
		return
	}
	signal(l.wake)
}

// forget drops a request that waits, if it does.
func (l *lanes) forget(request string) {
	l.mu.Lock()
	i := slices.IndexFunc(l.control, func(f frame) bool { return f.request == request })
	if i < 0 {
		l.mu.Unlock()
		return
	}
	f := l.control[i]
	l.control = slices.Delete(l.control, i, i+1)
	l.mu.Unlock()
	l.drop(f)
}

// send adds a frame to a lane. A data frame needs a token from room. last
// closes the lane after it.
func (n *lane) send(f frame, last bool) {
	l := n.all
	l.mu.Lock()
	refused := l.ended || n.closed
	if !refused {
		n.frames = append(n.frames, f)
		n.closed = last
		if !n.inTurn {
			n.inTurn = true
			l.turn = append(l.turn, n)
		}
	}
	l.mu.Unlock()
	if refused {
		l.drop(f)
		return
	}
	signal(l.wake)
}

// cut closes a lane and drops what waits in it.
func (n *lane) cut() {
	n.all.mu.Lock()
	waiting := n.frames
	n.frames, n.closed = nil, true
	n.all.mu.Unlock()
	for _, f := range waiting {
		n.all.drop(f)
	}
}

// end closes a lane, and calls gone when nothing waits in it any more.
func (n *lane) end(gone func()) {
	n.all.mu.Lock()
	n.closed = true
	waits := len(n.frames) > 0
	if waits {
		last := &n.frames[len(n.frames)-1]
		before := last.gone
		last.gone = func() {
			if before != nil {
				before()
			}
			gone()
		}
	}
	n.all.mu.Unlock()
	if !waits {
		gone()
	}
}

// take returns the frames to be written next, in batch, and whether more will
// ever come. It doesn't wait. If urgent is set, it takes control messages only,
// unless these are the last frames of all.
func (l *lanes) take(batch []frame, urgent bool) (next []frame, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	size := 0
	taken := 0
	for taken < len(l.control) && size < writeBatch {
		size += len(l.control[taken].bytes)
		taken++
	}
	batch = append(batch, l.control[:taken]...)
	clear(l.control[:taken]) // the queue keeps nothing of what has left it
	if l.control = l.control[taken:]; len(l.control) == 0 {
		l.control = nil
	}
	// One frame of each lane, then another of each, until the batch is full.
	size = 0
	for len(l.turn) > 0 && size < writeBatch && (!urgent || l.ended) {
		n := l.turn[0]
		l.turn[0] = nil
		l.turn = l.turn[1:]
		if len(n.frames) == 0 { // it was cut
			n.inTurn = false
			continue
		}
		first := len(batch)
		batch = append(batch, n.pop())
		if l.join > 0 && batch[first].data {
			batch = n.joinTo(batch, l.join)
		}
		for _, f := range batch[first:] {
			size += len(f.bytes)
		}
		if n.inTurn = len(n.frames) > 0; n.inTurn {
			l.turn = append(l.turn, n)
		}
	}
	return batch, !l.ended || len(l.control) > 0 || len(l.turn) > 0
}

// pop takes the lane's first frame. Under all.mu.
func (n *lane) pop() frame {
	f := n.frames[0]
	n.frames[0] = frame{}
	n.frames = n.frames[1:]
	if f.data {
		n.room <- struct{}{} // has room: f had taken a token from it
		small := len(f.bytes) < smallFrame
		f.hurry, n.small = small && n.small, small
	}
	return f
}

// joinTo makes one data frame of the last one of batch and those that wait
// behind it in the lane, up to limit bytes of payload. Under all.mu.
func (n *lane) joinTo(batch []frame, limit int) []frame {
	first := len(batch) - 1
	total := len(batch[first].payload())
	for len(n.frames) > 0 && n.frames[0].data && total+len(n.frames[0].payload()) <= limit {
		f := n.pop()
		f.bytes = f.payload()
		total += len(f.bytes)
		batch = append(batch, f)
	}
	if f := &batch[first]; len(batch) > first+1 {
		f.bytes = f.bytes[len(f.bytes)-len(f.payload())-messages.DataHeader:]
		f.headed = uint8(len(appendHeader(f.head[:0], opBinary, messages.DataHeader+total)))
	}
	return batch
}

// backlog returns how many control messages wait.
func (l *lanes) backlog() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.control)
}

// end refuses everything from now on. What waits is still taken.
func (l *lanes) end() {
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	signal(l.wake)
}

// clear drops what waits.
func (l *lanes) clear() {
	l.mu.Lock()
	waiting, turn := l.control, l.turn
	l.control, l.turn, l.ended = nil, nil, true
	for _, n := range turn {
		waiting = append(waiting, n.frames...)
		n.frames, n.inTurn = nil, false
	}
	l.mu.Unlock()
	signal(l.wake)
	for _, f := range waiting {
		l.drop(f)
	}
}
