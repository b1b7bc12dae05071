package sendqueue

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"wsproxy/transport/wsock"
)

// drops counts what a Queue gives back.
type drops struct {
	mu   sync.Mutex
	seen map[string]int // by the frames' names
}

// frame is namedFrame for a frame that is counted.
func (d *drops) frame(name string) Frame {
	f := namedFrame(name)
	f.gone = func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.seen == nil {
			d.seen = map[string]int{}
		}
		d.seen[name]++
	}
	return f
}

// want fails unless these frames came back, each once.
func (d *drops) want(t *testing.T, names string) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	for name := range strings.FieldsSeq(names) {
		if d.seen[name] != 1 {
			t.Errorf("%s came back %d times", name, d.seen[name])
		}
	}
	if n := len(strings.Fields(names)); len(d.seen) != n {
		t.Errorf("%d frames came back, want %d: %v", len(d.seen), n, d.seen)
	}
}

// nobody wants to know what frames were charged with.
func nobody(int64, bool) {}

func namedFrame(name string) Frame { return Frame{bytes: []byte(name)} }

// takes takes a batch and says what it was.
func takes(l *Queue) (names string, more bool) {
	batch, more := l.Take(nil, writeBatch)
	var all []string
	for _, f := range batch {
		name, _, _ := strings.Cut(string(f.bytes), "|")
		all = append(all, name)
	}
	return strings.Join(all, " "), more
}

func TestStreamsTakeTurnsBehindControl(t *testing.T) {
	l := New(nobody, 0)
	a, b, c := l.NewStream(), l.NewStream(), l.NewStream()
	for _, f := range []string{"a1", "a2", "a3"} {
		a.Send(namedFrame(f), false)
	}
	b.Send(namedFrame("b1"), true)
	b.Send(namedFrame("late"), false)
	c.Send(namedFrame("c1"), false)
	c.Send(namedFrame("c2"), false)
	l.Control(namedFrame("x"))
	l.Control(namedFrame("y"))
	if got, more := takes(l); got != "x y a1 a2 a3 b1 c1 c2" || !more {
		t.Errorf("what goes out: %s, and more: %t", got, more)
	}
	if got, more := takes(l); got != "" || !more {
		t.Errorf("out of nothing comes %q, and more: %t", got, more)
	}
}

// Large frames of one stream go out one at a time, and the turn goes on where it
// was at the next batch; control goes first in each.
func TestStreamsKeepTheirTurnsOverBatches(t *testing.T) {
	l := New(nobody, 0)
	large := "|" + strings.Repeat(" ", writeBatch)
	a, b := l.NewStream(), l.NewStream()
	for i := range 3 {
		a.Send(namedFrame(fmt.Sprint("a", i, large)), false)
		b.Send(namedFrame(fmt.Sprint("b", i, large)), false)
	}
	l.Control(namedFrame("x" + large))
	l.Control(namedFrame("y" + large))
	for i, want := range []string{"x a0", "y b0", "a1", "b1", "z a2", "b2", ""} {
		if i == 4 {
			l.Control(namedFrame("z"))
		}
		if got, _ := takes(l); got != want {
			t.Errorf("batch %d is %q, want %q", i, got, want)
		}
	}
}

// However much control there is, streams get their share of each batch.
func TestControlDoesNotStarveStreams(t *testing.T) {
	l := New(nobody, 0)
	n := l.NewStream()
	for range 10_000 {
		l.Control(namedFrame("x|" + strings.Repeat(" ", 1000)))
	}
	if l.Backlog() != 10_000 {
		t.Errorf("the backlog is %d", l.Backlog())
	}
	n.Send(namedFrame("a"), false)
	got, _ := takes(l)
	if !strings.HasSuffix(got, " a") || len(got) > 2*(writeBatch/1000+2) {
		t.Errorf("the first batch is %q", got)
	}
}

func TestDataFramesNeedRoom(t *testing.T) {
	l := New(nobody, 0)
	n := l.NewStream()
	tokens := func() (k int) {
		k = len(n.room)
		return k
	}
	for range streamDepth {
		<-n.room
		n.Send(Frame{bytes: []byte("a"), data: true}, false)
	}
	n.Send(namedFrame("close"), true) // needs none
	if tokens() != 0 {
		t.Error("there is room for more than streamDepth")
	}
	if got, _ := takes(l); got != "a a close" || tokens() != streamDepth {
		t.Errorf("%s are taken, and there is room for %d", got, tokens())
	}
}

func TestCutQueueGivesBackWhatWaits(t *testing.T) {
	var d drops
	l := New(nobody, 0)
	a, b := l.NewStream(), l.NewStream()
	a.Send(d.frame("a1"), false)
	a.Send(d.frame("a2"), false)
	b.Send(d.frame("b1"), false)
	a.Cut()
	a.Send(d.frame("a3"), true)
	a.Cut()
	if got, more := takes(l); got != "b1" || !more {
		t.Errorf("what goes out: %s", got)
	}
	d.want(t, "a1 a2 a3")
}

func TestEndedQueueIsStillTaken(t *testing.T) {
	var d drops
	l := New(nobody, 0)
	n, cut := l.NewStream(), l.NewStream()
	large := "|" + strings.Repeat(" ", writeBatch)
	l.Control(d.frame("x"))
	n.Send(d.frame("a"+large), false)
	n.Send(d.frame("b"), false)
	cut.Send(d.frame("cut"), false)
	l.End()
	cut.Cut()
	l.Control(d.frame("late1"))
	n.Send(d.frame("late2"), false)
	if got, more := takes(l); got != "x a" || !more {
		t.Errorf("first %s, and more: %t", got, more)
	}
	if got, more := takes(l); got != "b" || more {
		t.Errorf("then %s, and more: %t", got, more)
	}
	d.want(t, "cut late1 late2")
}

func TestClearedQueueGivesBackEverything(t *testing.T) {
	var d drops
	l := New(nobody, 0)
	a, b := l.NewStream(), l.NewStream()
	l.Control(d.frame("x"))
	a.Send(d.frame("a1"), false)
	a.Send(d.frame("a2"), false)
	b.Send(d.frame("b1"), true)
	<-l.wake
	l.Clear()
	select {
	case <-l.wake: // a writer that waits must see the end
	default:
		t.Error("the writer is not woken")
	}
	l.Control(d.frame("y"))
	a.Send(d.frame("a3"), false)
	b.Cut()
	l.Clear()
	if got, more := takes(l); got != "" || more {
		t.Errorf("out of nothing comes %q, and more: %t", got, more)
	}
	d.want(t, "x a1 a2 b1 y a3")
}

// Many send at once, one takes, streams are cut and all of it ends at some
// moment: each frame goes out once or comes back once, and in its stream's order.
func TestEveryFrameGoesOutOrComesBack(t *testing.T) {
	for round := range 20 {
		var dropped atomic.Int64
		l := New(func(int64, bool) { dropped.Add(1) }, 0)
		const senders, each = 6, 200
		sent := int64(0)
		var all sync.WaitGroup
		stop := make(chan struct{})
		for i := range senders {
			n := l.NewStream()
			all.Go(func() {
				for j := range each {
					switch {
					case i == 0:
						l.Control(Frame{bytes: fmt.Append(nil, "x ", j), buf: wsock.TakeBuffer()})
						continue
					case i == 1 && j == each/2:
						n.Cut()
					}
					select {
					case <-n.room:
						n.Send(Frame{bytes: fmt.Append(nil, i, " ", j), buf: wsock.TakeBuffer(), data: true}, j == each-1)
					case <-stop:
						n.Send(Frame{bytes: fmt.Append(nil, i, " ", j), buf: wsock.TakeBuffer()}, false)
					}
				}
			})
			sent += each
		}
		taken, last := int64(0), map[string]int{}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				batch, more := l.Take(nil, writeBatch)
				for _, f := range batch {
					var stream string
					var j int
					_, _ = fmt.Sscan(string(f.bytes), &stream, &j)
					if was, ok := last[stream]; ok && j <= was {
						t.Errorf("stream %s: %d comes after %d", stream, j, was)
					}
					last[stream] = j
					taken++
					wsock.GiveBuffer(f.buf)
				}
				if len(batch) == 0 {
					if !more {
						return
					}
					<-l.wake
				}
				if round%2 == 0 && taken > int64(round*20) {
					l.Clear()
				}
			}
		}()
		if round%2 == 1 {
			l.End()
		}
		close(stop)
		all.Wait()
		l.End()
		<-ended
		if got := taken + dropped.Load(); got != sent {
			t.Fatalf("round %d: %d frames were sent, %d went out and %d came back", round, sent, taken, dropped.Load())
		}
	}
}

// A queue that is empty holds nothing of what went through it.
func TestEmptyQueueHoldsNoBuffer(t *testing.T) {
	before := pooled.Held()
	l := New(nobody, 0)
	all := make([]*Stream, 50)
	for i := range all {
		n := l.NewStream()
		all[i] = n
		for range streamDepth {
			<-n.room
			buf := wsock.TakeBuffer()
			n.Send(Frame{bytes: buf[:10], buf: buf, data: true}, false)
		}
	}
	for range 50 {
		buf := wsock.TakeBuffer()
		l.Control(Frame{bytes: buf[:10], buf: buf})
	}
	for range 10 {
		batch, _ := l.Take(nil, writeBatch)
		for _, f := range batch {
			wsock.GiveBuffer(f.buf)
		}
	}
	if held := pooled.Held() - before; held > 5 { // the frames above may still be in some register
		t.Errorf("%d buffers are held by queues in which nothing waits", held)
	}
	for _, n := range all {
		n.Cut()
	}
}

// Small data is interactive when it comes twice in a row: once may be how a
// transfer begins or ends.
func TestDialogueIsKnown(t *testing.T) {
	l := New(nobody, 0)
	n := l.NewStream()
	for i, piece := range []struct {
		size        int
		interactive bool
	}{{10, false}, {10, true}, {smallFrame, false}, {10, false}, {smallFrame - 1, true}, {1, true}} {
		<-n.room
		n.Send(Frame{bytes: make([]byte, piece.size), data: true}, false)
		if batch, _ := l.Take(nil, writeBatch); len(batch) != 1 || batch[0].interactive != piece.interactive {
			t.Errorf("piece %d of %d bytes: %+v", i, piece.size, batch[0].interactive)
		}
	}
}

func TestQueueForgetsARequestThatWaits(t *testing.T) {
	var d drops
	l := New(nobody, 0)
	for _, name := range []string{"a", "b", "c"} {
		f := d.frame(name)
		f.request = name
		l.Control(f)
	}
	l.Control(namedFrame("credit"))
	l.Forget("b")
	l.Forget("nobody")
	d.want(t, "b")
	if got, _ := takes(l); got != "a c credit" {
		t.Errorf("what goes out: %s", got)
	}
	l.Forget("a") // it is being written
	d.want(t, "b")
	if l.Backlog() != 0 {
		t.Error("something is left")
	}
}
