package tunnel

import (
	"math"
	"sync"

	"wsproxy/messages"
	"wsproxy/transport/wsock"
)

// What the client sends to an outside peer that keeps up meets no mailbox, if it is short: the
// reading pump gives it to the kernel from where it was read. What the kernel doesn't take at
// once, and all that comes until that is written, goes by handler and conn to the stream's own
// pump. So does what is long, of which that pump writes more at once: each write wakes a peer
// who waits, which costs more than a mailbox.

// A table has the streams of which the client was told, and which it has not closed.
type table struct {
	mu  sync.Mutex
	all map[string]*Stream // under mu: by id
}

func (t *table) add(s *Stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all[s.id] = s
}

func (t *table) remove(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, id)
}

// maxGathered is how many pieces go to an outside peer at once: the kernel is told of that
// many without an allocation.
const maxGathered = 8

// address notes whose data comes next.
func (in *inbound) address(id []byte) {
	if in.to == nil || in.to.id != string(id) {
		in.flush()
		t := &in.mux.streams
		t.mu.Lock()
		in.to = t.all[string(id)] // nil if it has none
		t.mu.Unlock()
	}
	if in.to != nil {
		in.connID = in.to.id
	} else {
		in.connID = string(id)
	}
}

// deliver passes payload on to its stream, maybe not before flush is called.
func (in *inbound) deliver(data []byte) {
	if in.to == nil {
		in.post(&messages.Data{ConnID: in.connID, Data: wsock.Retain(data)}, len(data))
		return
	}
	if in.gathered = append(in.gathered, data); len(in.gathered) == maxGathered {
		in.flush()
	}
}

// flush passes on what was gathered, before that is overwritten.
func (in *inbound) flush() {
	if len(in.gathered) == 0 {
		return
	}
	s, n := in.to, 0
	if len(in.gathered[len(in.gathered)-1]) < wsock.Poolable {
		n = s.pass(in.gathered)
	}
	for _, data := range in.gathered {
		if n >= len(data) {
			n -= len(data)
			continue
		}
		data, n = data[n:], 0
		s.tellPassed() // ahead of the rest
		s.mu.Lock()
		s.mailed++
		s.mu.Unlock()
		in.post(&messages.Data{ConnID: s.id, Data: wsock.Retain(data)}, len(data))
	}
	clear(in.gathered)
	in.gathered = in.gathered[:0]
}

// pass gives the outside peer's kernel what it takes of these pieces at once, if nothing is on
// its way to the peer before them, and returns how many bytes need no more care. It is the
// reading pump's, and never waits.
func (s *Stream) pass(pieces [][]byte) (n int) {
	s.mu.Lock()
	s.passing = s.direct != nil && s.mailed == 0 && s.waiting == 0 &&
		!s.over && !s.endWrite && !s.closeWrite && !s.peerEnd
	passing := s.passing
	s.mu.Unlock()
	if !passing {
		return 0
	}
	n, err := s.direct.TryAll(pieces)
	s.mu.Lock()
	if s.passing = false; s.endWrite || s.closeWrite {
		signal(s.wake) // the out pump waits with the end
	}
	s.mu.Unlock()
	if err != nil {
		s.Abort(messages.CloseReset)
		return math.MaxInt
	}
	s.movedOut(n)
	if s.passed += n; s.passed >= passedWorth {
		s.tellPassed()
	}
	return n
}

// tellPassed tells the conn of what was passed on, if that matters to it.
func (s *Stream) tellPassed() {
	if s.mux.credit && s.passed > 0 {
		s.tell(&messages.PassedOn{N: s.passed})
	}
	s.passed = 0
}
