package tunnel

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"wsproxy/transport/budget"
	"wsproxy/transport/wsock"
)

// drops counts what a sendQueue gives back.
type drops struct {
	mu   sync.Mutex
	seen map[string]int // by the frames' bytes
}

func (d *drops) drop(f frame) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen == nil {
		d.seen = map[string]int{}
	}
	d.seen[string(f.bytes)]++
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

func namedFrame(name string) frame { return frame{bytes: []byte(name)} }

// takes takes a batch and says what it was.
func takes(l *sendQueue) (names string, more bool) {
	batch, more := l.take(nil, writeBatch)
	var all []string
	for _, f := range batch {
		name, _, _ := strings.Cut(string(f.bytes), "|")
		all = append(all, name)
	}
	return strings.Join(all, " "), more
}

func TestStreamsTakeTurnsBehindControl(t *testing.T) {
	l := newSendQueue((&drops{}).drop)
	a, b, c := l.newStream(), l.newStream(), l.newStream()
	for _, f := range []string{"a1", "a2", "a3"} {
		a.send(namedFrame(f), false)
	}
	b.send(namedFrame("b1"), true)
	b.send(namedFrame("late"), false)
	c.send(namedFrame("c1"), false)
	c.send(namedFrame("c2"), false)
	l.sendControl(namedFrame("x"))
	l.sendControl(namedFrame("y"))
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
	l := newSendQueue((&drops{}).drop)
	large := "|" + strings.Repeat(" ", writeBatch)
	a, b := l.newStream(), l.newStream()
	for i := range 3 {
		a.send(namedFrame(fmt.Sprint("a", i, large)), false)
		b.send(namedFrame(fmt.Sprint("b", i, large)), false)
	}
	l.sendControl(namedFrame("x" + large))
	l.sendControl(namedFrame("y" + large))
	for i, want := range []string{"x a0", "y b0", "a1", "b1", "z a2", "b2", ""} {
		if i == 4 {
			l.sendControl(namedFrame("z"))
		}
		if got, _ := takes(l); got != want {
			t.Errorf("batch %d is %q, want %q", i, got, want)
		}
	}
}

// However much control there is, streams get their share of each batch.
func TestControlDoesNotStarveStreams(t *testing.T) {
	l := newSendQueue((&drops{}).drop)
	n := l.newStream()
	for range 10_000 {
		l.sendControl(namedFrame("x|" + strings.Repeat(" ", 1000)))
	}
	if l.backlog() != 10_000 {
		t.Errorf("the backlog is %d", l.backlog())
	}
	n.send(namedFrame("a"), false)
	got, _ := takes(l)
	if !strings.HasSuffix(got, " a") || len(got) > 2*(writeBatch/1000+2) {
		t.Errorf("the first batch is %q", got)
	}
}

func TestDataFramesNeedRoom(t *testing.T) {
	l := newSendQueue((&drops{}).drop)
	n := l.newStream()
	tokens := func() (k int) {
		k = len(n.room)
		return k
	}
	for range streamDepth {
		<-n.room
		n.send(frame{bytes: []byte("a"), data: true}, false)
	}
	n.send(namedFrame("close"), true) // needs none
	if tokens() != 0 {
		t.Error("there is room for more than streamDepth")
	}
	if got, _ := takes(l); got != "a a close" || tokens() != streamDepth {
		t.Errorf("%s are taken, and there is room for %d", got, tokens())
	}
}

func TestCutQueueGivesBackWhatWaits(t *testing.T) {
	var d drops
	l := newSendQueue(d.drop)
	a, b := l.newStream(), l.newStream()
	a.send(namedFrame("a1"), false)
	a.send(namedFrame("a2"), false)
	b.send(namedFrame("b1"), false)
	a.cut()
	a.send(namedFrame("a3"), true)
	a.cut()
	if got, more := takes(l); got != "b1" || !more {
		t.Errorf("what goes out: %s", got)
	}
	d.want(t, "a1 a2 a3")
}

func TestEndedQueueIsStillTaken(t *testing.T) {
	var d drops
	l := newSendQueue(d.drop)
	n, cut := l.newStream(), l.newStream()
	large := "|" + strings.Repeat(" ", writeBatch)
	l.sendControl(namedFrame("x"))
	n.send(namedFrame("a"+large), false)
	n.send(namedFrame("b"), false)
	cut.send(namedFrame("cut"), false)
	l.end()
	cut.cut()
	l.sendControl(namedFrame("late1"))
	n.send(namedFrame("late2"), false)
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
	l := newSendQueue(d.drop)
	a, b := l.newStream(), l.newStream()
	l.sendControl(namedFrame("x"))
	a.send(namedFrame("a1"), false)
	a.send(namedFrame("a2"), false)
	b.send(namedFrame("b1"), true)
	<-l.wake
	l.clear()
	select {
	case <-l.wake: // a writer that waits must see the end
	default:
		t.Error("the writer is not woken")
	}
	l.sendControl(namedFrame("y"))
	a.send(namedFrame("a3"), false)
	b.cut()
	l.clear()
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
		l := newSendQueue(func(f frame) { dropped.Add(1); wsock.GiveBuffer(f.buf) })
		const senders, each = 6, 200
		sent := int64(0)
		var all sync.WaitGroup
		stop := make(chan struct{})
		for i := range senders {
			n := l.newStream()
			all.Go(func() {
				for j := range each {
					switch {
					case i == 0:
						l.sendControl(frame{bytes: fmt.Append(nil, "x ", j), buf: wsock.TakeBuffer()})
						continue
					case i == 1 && j == each/2:
						n.cut()
					}
					select {
					case <-n.room:
						n.send(frame{bytes: fmt.Append(nil, i, " ", j), buf: wsock.TakeBuffer(), data: true}, j == each-1)
					case <-stop:
						n.send(frame{bytes: fmt.Append(nil, i, " ", j), buf: wsock.TakeBuffer()}, false)
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
				batch, more := l.take(nil, writeBatch)
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
					l.clear()
				}
			}
		}()
		if round%2 == 1 {
			l.end()
		}
		close(stop)
		all.Wait()
		l.end()
		<-ended
		if got := taken + dropped.Load(); got != sent {
			t.Fatalf("round %d: %d frames were sent, %d went out and %d came back", round, sent, taken, dropped.Load())
		}
	}
}

// A queue that is empty holds nothing of what went through it.
func TestEmptyQueueHoldsNoBuffer(t *testing.T) {
	before := pooled.Held()
	l := newSendQueue(func(frame) {})
	all := make([]*streamQueue, 50)
	for i := range all {
		n := l.newStream()
		all[i] = n
		for range streamDepth {
			<-n.room
			buf := wsock.TakeBuffer()
			n.send(frame{bytes: buf[:10], buf: buf, data: true}, false)
		}
	}
	for range 50 {
		buf := wsock.TakeBuffer()
		l.sendControl(frame{bytes: buf[:10], buf: buf})
	}
	for range 10 {
		batch, _ := l.take(nil, writeBatch)
		for _, f := range batch {
			wsock.GiveBuffer(f.buf)
		}
	}
	if held := pooled.Held() - before; held > 5 { // the frames above may still be in some register
		t.Errorf("%d buffers are held by queues in which nothing waits", held)
	}
	for _, n := range all {
		n.cut()
	}
}

// Small data is interactive when it comes twice in a row: once may be how a
// transfer begins or ends.
func TestDialogueIsKnown(t *testing.T) {
	l := newSendQueue((&drops{}).drop)
	n := l.newStream()
	for i, piece := range []struct {
		size        int
		interactive bool
	}{{10, false}, {10, true}, {smallFrame, false}, {10, false}, {smallFrame - 1, true}, {1, true}} {
		<-n.room
		n.send(frame{bytes: make([]byte, piece.size), data: true}, false)
		if batch, _ := l.take(nil, writeBatch); len(batch) != 1 || batch[0].interactive != piece.interactive {
			t.Errorf("piece %d of %d bytes: %+v", i, piece.size, batch[0].interactive)
		}
	}
}

// What the writer has in hand when it fails comes back, too.
func TestWriterThatFailsDropsWhatItHolds(t *testing.T) {
	drops := &drops{}
	l := New(&Settings{Memory: budget.NewPool(1 << 30)}, func(*Mux) Dialect { return Text }, Options{User: "anyone"})
	for i := range 3 {
		f := namedFrame(fmt.Sprint(i))
		f.gone = func() { drops.drop(namedFrame(fmt.Sprint("gone", i))) }
		l.queue.sendControl(f)
	}
	defer func() {
		if recover() == nil {
			t.Error("it did not fail")
		}
		drops.want(t, "gone0 gone1 gone2")
	}()
	l.inFlight.Watch(func() wsock.Sending { return wsock.Sending{} })
	l.pumpOut() // has no client to write to
}

func TestQueueForgetsARequestThatWaits(t *testing.T) {
	var drops drops
	l := newSendQueue(drops.drop)
	for _, name := range []string{"a", "b", "c"} {
		l.sendControl(frame{bytes: []byte(name), request: name})
	}
	l.sendControl(namedFrame("credit"))
	l.forget("b")
	l.forget("nobody")
	drops.want(t, "b")
	if got, _ := takes(l); got != "a c credit" {
		t.Errorf("what goes out: %s", got)
	}
	l.forget("a") // it is being written
	drops.want(t, "b")
	if l.backlog() != 0 {
		t.Error("something is left")
	}
}
