package tunnel

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/budget"
)

// A response that waits for other tunnels' memory is given up after twice the
// stall time: its request is answered, and the tunnel reads on.
func TestLargeResponseIsGivenUpForWantOfMemory(t *testing.T) {
	const stall = 30 * time.Millisecond
	r := startWith(t, func(s *Settings) { s.StallTimeout = stall })
	there := r.othersHold(rigPool)
	begun := time.Now()
	response := []byte(`{"type":"http_response","id":"0123456789ab","status":200,"body":"` + strings.Repeat("a", 3<<20) + `"}`)
	go func() {
		_ = r.client.WriteMessage(websocket.TextMessage, response)
		_ = r.client.WriteMessage(websocket.TextMessage, []byte(`{"type":"tcp_close","connId":"c"}`))
	}()
	testkit.Hears[*messages.ReadingWaits](r.handler)
	testkit.Hears[*messages.Garbage](r.handler)
	m := testkit.Hears[*messages.FromClient](r.handler)
	if dropped, ok := m.Message.(*messages.Dropped); !ok || *dropped != (messages.Dropped{ID: "0123456789ab", Reason: messages.ReasonMemory}) || m.Size != 0 {
		t.Errorf("the request is answered with %+v", m)
	}
	if waited := time.Since(begun); waited < 2*stall {
		t.Errorf("it was given up after %s", waited)
	}
	r.mux.Handled(0)
	r.mux.Handled(0)
	testkit.Eventually(t, "its bytes are given back", func() bool { return r.mux.answers.Held() == 0 })
	there() // now there is memory again
	if m := testkit.Hears[*messages.FromClient](r.handler); m.Message.(*messages.Close).ConnID != "c" {
		t.Errorf("after it comes %+v", m)
	}
	r.mux.Handled(33)
}

// A response that would not fit if other tunnels had no memory at all is given
// up at once, wherever its id stands.
func TestResponseThatNeverFitsIsGivenUpAtOnce(t *testing.T) {
	const id = `"id":"0123456789ab",`
	long := `"body":"` + strings.Repeat("a", 3<<20) + `",`
	for name, fields := range map[string]string{"first": id + long, "last": long + id} {
		t.Run(name, func(t *testing.T) { testNeverFits(t, `{`+fields+`"type":"http_response"}`) })
	}
}

func testNeverFits(t *testing.T, response string) {
	r := startWith(t, func(s *Settings) {
		s.Memory, s.StallTimeout = budget.NewPool(4<<20), time.Hour
	})
	go func() {
		_ = r.client.WriteMessage(websocket.TextMessage, []byte(response))
		_ = r.client.WriteMessage(websocket.TextMessage, []byte(`{"type":"tcp_close","connId":"c"}`))
	}()
	testkit.Hears[*messages.Garbage](r.handler)
	m := testkit.Hears[*messages.FromClient](r.handler)
	if dropped, ok := m.Message.(*messages.Dropped); !ok || dropped.ID != "0123456789ab" || dropped.Reason != messages.ReasonMemory {
		t.Errorf("the request is answered with %+v", m)
	}
	r.mux.Handled(0)
	r.mux.Handled(0)
	if m := testkit.Hears[*messages.FromClient](r.handler); m.Message.(*messages.Close).ConnID != "c" {
		t.Errorf("after it comes %+v", m)
	}
	r.mux.Handled(33)
}

// It waits for memory as long as it may, and is whole then.
func TestLargeResponseWaitsForMemory(t *testing.T) {
	r := startRig(t, rigOptions{})
	there := r.othersHold(rigPool)
	go func() {
		_ = r.client.WriteMessage(websocket.TextMessage, []byte(`{"type":"http_response","id":"0123456789ab","body":"`+strings.Repeat("a", 3<<20)+`"}`))
	}()
	testkit.Eventually(t, "the reader waits", func() bool { return r.mux.answers.Held() > 0 && !r.mux.session.Conn().Reading() })
	there()
	m := testkit.Hears[*messages.FromClient](r.handler)
	if answer := m.Message.(*messages.Response); len(answer.Body) != 3<<20 {
		t.Errorf("the body has %d bytes", len(answer.Body))
	}
	r.settle(m)
	testkit.Eventually(t, "its bytes are given back", func() bool { return r.settings.Memory.Held() == 0 })
}

// Requests that wait for a client that doesn't read stay within the memory of
// all, and it comes back when nobody waits for them any more.
func TestRequestsThatWaitForTheClientAreCharged(t *testing.T) {
	const size, limit = 256 << 10, 4 << 20
	r := startRig(t, rigOptions{credit: true, change: func(s *Settings) { s.Memory = budget.NewPool(4 * limit) }})
	r.smallBuffers() // and the client takes nothing
	sent := 0
	message := bytes.Repeat([]byte("x"), size)
	message[0] = '{'
	for r.mux.Request(fmt.Sprint(sent), bytes.Clone(message)) {
		if sent++; r.settings.Memory.Held() > limit {
			t.Fatalf("%d bytes are held", r.settings.Memory.Held())
		}
		if sent > 1<<10 {
			t.Fatal("there is no end of memory")
		}
	}
	testkit.Eventually(t, "one is being written", func() bool { return r.mux.queue.Backlog() == sent-1 })
	for id := range sent {
		r.mux.Forget(fmt.Sprint(id))
	}
	if held := r.settings.Memory.Held(); held != size {
		t.Errorf("%d bytes are held, %d are being written", held, size)
	}
	go func() { // the client reads at last
		for {
			if _, _, err := r.client.ReadMessage(); err != nil {
				return
			}
		}
	}()
	testkit.Eventually(t, "nothing is held when what was being written is", func() bool { return r.settings.Memory.Held() == 0 })
	if !r.mux.Request("after", make([]byte, size)) {
		t.Error("there still is no memory")
	}
}

// Requests, which come from anyone, leave a quarter of what a tunnel may hold:
// else its client would not be read.
func TestRequestsLeaveSomeOfATunnelsMemory(t *testing.T) {
	const limit = 1600
	r := newRig(t, rigOptions{change: func(s *Settings) { s.Memory = budget.NewPool(4 * limit) }})
	requests := r.mux.Memory()
	if !requests.Try(limit/4*3) || requests.Try(1) {
		t.Error("requests have not three quarters")
	}
	if !r.mux.memory.Try(limit/4) || r.mux.memory.Try(1) {
		t.Error("the rest of the tunnel has not a quarter")
	}
	requests.Add(-limit / 4 * 3)
	r.mux.memory.Add(-limit / 4)
}

// What others hold is no matter to a tunnel's small messages, and none to its
// raw data.
func TestTunnelReadsOnWhileOthersHoldAllMemory(t *testing.T) {
	for _, credit := range []bool{true, false} {
		r := startRig(t, rigOptions{credit: credit})
		there := r.othersHold(rigPool)
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
		response := []byte(`{"type":"http_response","id":"0123456789ab","body":"` + strings.Repeat("a", rigFairPart/2) + `"}`)
		for range 16 {
			r.clientSends(websocket.BinaryMessage, dataMessage("c", testkit.Pattern(256<<10)))
			r.clientSends(websocket.TextMessage, response)
		}
		testkit.Eventually(t, "everything is read", func() bool { return data.Load() == 4<<20 && responses.Load() == 16 })
		if !r.mux.Request("small", make([]byte, 4<<10)) {
			t.Error("a small request is refused")
		}
		if r.mux.Request("large", make([]byte, 2*rigFairPart)) {
			t.Error("a large one is not")
		}
		stop()
		there()
	}
}

// A tunnel whose own peers hold what is scarce isn't read until they have given
// some back.
func TestTunnelWaitsForMemoryThatItsPeersHold(t *testing.T) {
	r := startRig(t, rigOptions{})
	there := r.othersHold(rigPool)
	r.mux.memory.Add(rigFairPart + 1)
	if !r.mux.Full() {
		t.Error("the Mux is not full")
	}
	var data atomic.Int64
	stop := r.handles(func(m any) {
		if m, ok := m.(*messages.Data); ok {
			data.Add(int64(len(m.Data)))
		}
	})
	go func() { // the first is read: the reader waited for it already
		for range 2 {
			_ = r.client.WriteMessage(websocket.BinaryMessage, dataMessage("c", make([]byte, 64<<10)))
		}
	}()
	testkit.Eventually(t, "the reader waits", func() bool { return data.Load() > 0 && !r.mux.session.Conn().Reading() })
	r.mux.memory.Add(-3)
	testkit.Eventually(t, "the reader goes on", func() bool { return data.Load() == 128<<10 })
	stop()
	r.mux.memory.Add(2 - rigFairPart)
	there()
}

// A response that comes whole before it is seen that there is no memory for it
// is refused as well: else small ones would add up without bound.
func TestSmallResponseBeyondTheReserveIsRefused(t *testing.T) {
	r := startRig(t, rigOptions{})
	there := r.othersHold(rigPool)
	r.mux.memory.Add(rigFairPart) // its outside clients take no answers
	r.clientSends(websocket.TextMessage, []byte(`{"type":"http_response","id":"0123456789ab"}`))
	m := testkit.Hears[*messages.FromClient](r.handler)
	if dropped, ok := m.Message.(*messages.Dropped); !ok || *dropped != (messages.Dropped{ID: "0123456789ab", Reason: messages.ReasonMemory}) {
		t.Errorf("the request is answered with %+v", m)
	}
	r.settle(m)
	r.mux.memory.Add(-rigFairPart)
	there()
}

// One that had to wait for memory as it came, and got it, is answered, though
// its own last bytes are what uses the memory up.
func TestResponseThatGotItsMemoryIsNotRefused(t *testing.T) {
	const size = 3 << 20
	r := startRig(t, rigOptions{})
	there := r.othersHold(rigPool - rigPool/16 - size)
	body := strings.Repeat("a", size-20) // with its frame it is longer
	go r.clientSends(websocket.TextMessage, []byte(`{"type":"http_response","id":"0123456789ab","body":"`+body+`"}`))
	m := testkit.Hears[*messages.FromClient](r.handler)
	if answer, ok := m.Message.(*messages.Response); !ok || string(answer.Body) != body {
		t.Errorf("the request is answered with %T", m.Message)
	}
	r.settle(m)
	there()
}

// One that comes too slowly for any request to wait for it holds nothing.
func TestResponseThatNeverEndsIsGivenUp(t *testing.T) {
	r := startWith(t, func(s *Settings) { s.HTTPTimeout = time.Second })
	w, err := r.client.NextWriter(websocket.TextMessage)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, `{"type":"http_response","id":"0123456789ab","body":"`+strings.Repeat("a", 64<<10)); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it is held", func() bool { return r.mux.memory.Held() > 1<<15 })
	testkit.Eventually(t, "it is given up", func() bool { // at the next sign of life
		_ = r.client.WriteControl(websocket.PongMessage, nil, time.Now().Add(testkit.Patience))
		return r.mux.answers.Held() == 0
	})
	for {
		m, ok := testkit.Hears[any](r.handler).(*messages.FromClient)
		if !ok {
			continue // that it was garbage
		}
		if dropped, ok := m.Message.(*messages.Dropped); !ok || dropped.ID != "0123456789ab" {
			t.Errorf("the request is answered with %+v", m.Message)
		}
		return
	}
}
