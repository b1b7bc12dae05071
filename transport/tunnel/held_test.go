package tunnel

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/messages"
)

// What is passed on while the tally ends is the other owner's: nothing comes
// back twice, and nothing is held by nobody.
func TestTallyThatEndsWhileItIsPassedOn(t *testing.T) {
	for round := range 10_000 {
		total := NewBudget(nil, 1<<40)
		owner := &account{budget: total}
		owner.add(5)
		owner.add(7)
		owner.add(11)
		var ready atomic.Int32
		meet := func() {
			for ready.Add(1); ready.Load() < 3; {
				runtime.Gosched()
			}
		}
		var all sync.WaitGroup
		all.Go(func() { meet(); owner.pass(5) })
		all.Go(func() { meet(); owner.pass(7) })
		meet()
		for range round % 60 { // a little later each time
			_ = owner.held.Load()
		}
		owner.end()
		all.Wait()
		if held := total.held.Load(); held != 12 {
			t.Fatalf("%d bytes are held, 12 were passed on", held)
		}
	}
}

// A budget with a reserve takes that much whatever others hold.
func TestBudgetWithAReserve(t *testing.T) {
	total := NewBudget(nil, 100)
	tunnel := NewBudget(total, math.MaxInt64)
	tunnel.reserve = 30
	total.add(100)
	if tunnel.full() || !tunnel.try(30) {
		t.Error("there is no reserve")
	}
	if tunnel.full() || tunnel.try(1) {
		t.Error("more than the reserve was taken")
	}
	if tunnel.add(1); !tunnel.full() {
		t.Error("more than the reserve is not too much")
	}
	tunnel.add(-1)
	total.add(-100)
	if tunnel.full() || !tunnel.try(70) || tunnel.try(1) {
		t.Error("what there is was not taken, or more")
	}
	if tunnel.add(-100); total.held.Load() != 0 || tunnel.held.Load() != 0 {
		t.Errorf("%d and %d bytes are left", total.held.Load(), tunnel.held.Load())
	}
}

func TestLanesForgetARequestThatWaits(t *testing.T) {
	var drops tunnelDrops
	l := newSendQueue(drops.drop)
	for _, name := range []string{"a", "b", "c"} {
		l.sendControl(frame{bytes: []byte(name), request: name})
	}
	l.sendControl(tunnelFrame("credit"))
	l.forget("b")
	l.forget("nobody")
	drops.want(t, "b")
	if got, _ := tunnelTakes(l); got != "a c credit" {
		t.Errorf("what goes out: %s", got)
	}
	l.forget("a") // it is being written
	drops.want(t, "b")
	if l.backlog() != 0 {
		t.Error("something is left")
	}
}

// Requests that wait for a client that doesn't read stay within the memory of
// all, and it comes back when nobody waits for them any more.
func TestRequestsThatWaitForTheClientAreCharged(t *testing.T) {
	const size, limit = 256 << 10, 4 << 20
	r := startedTunnelRig(t, true, func(tools *Settings) { tools.total = NewBudget(nil, limit) })
	r.link.client.turn.Lock() // the client takes nothing
	sent := 0
	for r.link.Request(fmt.Sprint(sent), append(make([]byte, 0, size), '{', '}')) {
		if sent++; r.tools.total.held.Load() > limit {
			t.Fatalf("%d bytes are held", r.tools.total.held.Load())
		}
		if sent > 1<<10 {
			t.Fatal("there is no end of memory")
		}
	}
	for id := range sent {
		r.link.Forget(fmt.Sprint(id))
	}
	r.link.client.turn.Unlock()
	eventually(t, "nothing is held when what was being written is", func() bool { return r.tools.total.held.Load() == 0 })
	if !r.link.Request("after", make([]byte, size)) {
		t.Error("there still is no memory")
	}
}

// What others hold is no matter to a tunnel's small messages, and none to its
// raw data.
func TestTunnelReadsOnWhileOthersHoldAllMemory(t *testing.T) {
	for _, credit := range []bool{true, false} {
		r := startedTunnelRig(t, credit, nil)
		r.tools.total.add(r.tools.total.limit)
		var data, responses atomic.Int64
		stop := r.handles(func(m any) {
			switch m := m.(type) {
			case *messages.Data:
				data.Add(int64(len(m.Data)))
			case *messages.FromClient:
				if _, ok := m.Message.(*messages.Response); ok {
					responses.Add(1)
				}
			}
		})
		response := []byte(`{"type":"http_response","id":"0123456789ab","body":"` + strings.Repeat("a", memoryReserve/2) + `"}`)
		for range 16 {
			r.clientSends(websocket.BinaryMessage, tunnelData("c", pattern(256<<10)))
			r.clientSends(websocket.TextMessage, response)
		}
		eventually(t, "everything is read", func() bool { return data.Load() == 4<<20 && responses.Load() == 16 })
		if !r.link.Request("small", make([]byte, 4<<10)) {
			t.Error("a small request is refused")
		}
		if r.link.Request("large", make([]byte, 2*memoryReserve)) {
			t.Error("a large one is not")
		}
		stop()
		r.tools.total.add(-r.tools.total.limit)
	}
}

// A tunnel whose own peers hold what is scarce isn't read until they have given
// some back.
func TestTunnelWaitsForMemoryThatItsPeersHold(t *testing.T) {
	r := startedTunnelRig(t, false, nil)
	r.tools.total.add(r.tools.total.limit)
	r.link.buffer.add(memoryReserve + 1)
	if !r.link.Full() {
		t.Error("the link is not full")
	}
	var data atomic.Int64
	stop := r.handles(func(m any) { data.Add(int64(len(m.(*messages.Data).Data))) })
	go func() { // the first is read: the reader waited for it already
		for range 2 {
			_ = r.client.WriteMessage(websocket.BinaryMessage, tunnelData("c", make([]byte, 64<<10)))
		}
	}()
	eventually(t, "the reader waits", func() bool { return data.Load() > 0 && !r.link.client.reading.Load() })
	r.link.buffer.add(-1)
	eventually(t, "the reader goes on", func() bool { return data.Load() == 128<<10 })
	stop()
	r.link.buffer.add(-memoryReserve)
	r.tools.total.add(-r.tools.total.limit)
}

// A response that comes whole before it is seen that there is no memory for it
// is refused as well: else small ones would add up without bound.
func TestSmallResponseBeyondTheReserveIsRefused(t *testing.T) {
	r := startedTunnelRig(t, false, nil)
	r.tools.total.add(r.tools.total.limit)
	r.link.memory.add(memoryReserve) // its outside clients take no answers
	r.clientSends(websocket.TextMessage, []byte(`{"type":"http_response","id":"0123456789ab"}`))
	m := hears[*messages.FromClient](r.handler)
	if dropped, ok := m.Message.(*messages.Dropped); !ok || *dropped != (messages.Dropped{ID: "0123456789ab", Reason: messages.ReasonMemory}) {
		t.Errorf("the request is answered with %+v", m)
	}
	r.settle(m)
	r.link.memory.add(-memoryReserve)
	r.tools.total.add(-r.tools.total.limit)
}

// One that had to wait for memory as it came, and got it, is answered, though
// its own last bytes are what uses the memory up.
func TestResponseThatGotItsMemoryIsNotRefused(t *testing.T) {
	const size = 3 << 20
	r := startedTunnelRig(t, false, nil)
	r.tools.total.add(r.tools.total.limit - size) // others
	body := strings.Repeat("a", size-20)          // with its frame it is longer
	go r.clientSends(websocket.TextMessage, []byte(`{"type":"http_response","id":"0123456789ab","body":"`+body+`"}`))
	m := hears[*messages.FromClient](r.handler)
	if answer, ok := m.Message.(*messages.Response); !ok || string(answer.Body) != body {
		t.Errorf("the request is answered with %T", m.Message)
	}
	r.settle(m)
	r.tools.total.add(size - r.tools.total.limit)
}

// One that comes too slowly for any request to wait for it holds nothing.
func TestResponseThatNeverEndsIsGivenUp(t *testing.T) {
	r := startedTunnelRig(t, false, func(tools *Settings) { tools.timeout = 100 * time.Millisecond })
	w, err := r.client.NextWriter(websocket.TextMessage)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, `{"type":"http_response","id":"0123456789ab","body":"`+strings.Repeat("a", 1<<20)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is held", func() bool { return r.link.memory.held.Load() > 1<<19 })
	eventually(t, "it is given up", func() bool { // at the next sign of life
		_ = r.client.WriteControl(websocket.PongMessage, nil, time.Now().Add(patience))
		return r.link.memory.held.Load() == 0
	})
	for {
		m, ok := hears[any](r.handler).(*messages.FromClient)
		if !ok {
			continue // that it was garbage
		}
		if dropped, ok := m.Message.(*messages.Dropped); !ok || dropped.ID != "0123456789ab" {
			t.Errorf("the request is answered with %+v", m.Message)
		}
		return
	}
}

// A heldWriter is an outside client that notes what is held while it is written
// to.
type heldWriter struct {
	*httptest.ResponseRecorder
	memory *Budget
	held   []int64
}

func (w *heldWriter) Write(p []byte) (int, error) {
	w.held = append(w.held, w.memory.held.Load())
	return w.ResponseRecorder.Write(p)
}

// What an answer is charged comes back while the rest is written.
func TestAnswerIsGivenBackAsItIsWritten(t *testing.T) {
	const size = 1<<20 - 123
	s, memory := tunnelServer(false), NewBudget(nil, 1<<30)
	body := pattern(size)
	held := Reservation{budget: memory}
	held.keep(2 * size) // it came in twice as many bytes
	w := &heldWriter{ResponseRecorder: httptest.NewRecorder(), memory: memory}
	answer := &messages.Response{Status: 200, Body: bytes.Clone(body)}
	if err := s.respond(w, httptest.NewRequest("GET", "/", nil), answer, held); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(w.Body.Bytes(), body) || w.Code != http.StatusOK {
		t.Errorf("%d, %d bytes", w.Code, w.Body.Len())
	}
	for i, held := range w.held {
		rest := int64(size - i*bodyPiece)
		if held < rest || i > 0 && held >= 2*rest {
			t.Errorf("%d bytes are held while %d are left", held, rest)
		}
	}
	if len(w.held) != 4 || memory.held.Load() != 0 || answer.Body != nil {
		t.Errorf("%d writes; %d bytes are held at the end", len(w.held), memory.held.Load())
	}
}
