package tunnel

import (
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/messages"
)

// A response that waits for other tunnels' memory is given up after twice the
// stall time: its request is answered, and the tunnel reads on.
func TestLargeResponseIsGivenUpForWantOfMemory(t *testing.T) {
	const stall = 30 * time.Millisecond
	r := startedTunnelRig(t, false, func(tools *Settings) { tools.stall = stall })
	r.tools.total.add(r.tools.total.limit) // other tunnels have it all
	begun := time.Now()
	response := []byte(`{"type":"http_response","id":"0123456789ab","status":200,"body":"` + strings.Repeat("a", 3<<20) + `"}`)
	go func() {
		_ = r.client.WriteMessage(websocket.TextMessage, response)
		_ = r.client.WriteMessage(websocket.TextMessage, []byte(`{"type":"tcp_close","connId":"c"}`))
	}()
	hears[*messages.Garbage](r.handler)
	m := hears[*messages.FromClient](r.handler)
	if dropped, ok := m.Message.(*messages.Dropped); !ok || *dropped != (messages.Dropped{ID: "0123456789ab", Reason: messages.ReasonMemory}) || m.Size != 0 {
		t.Errorf("the request is answered with %+v", m)
	}
	if waited := time.Since(begun); waited < 2*stall {
		t.Errorf("it was given up after %s", waited)
	}
	r.link.Handled(0)
	r.link.Handled(0)
	eventually(t, "its bytes are given back", func() bool { return r.link.answers.held.Load() == 0 })
	r.tools.total.add(-r.tools.total.limit) // now there is memory again
	if m := hears[*messages.FromClient](r.handler); m.Message.(*messages.Close).ConnID != "c" {
		t.Errorf("after it comes %+v", m)
	}
	r.link.Handled(33)
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
	r := startedTunnelRig(t, false, func(tools *Settings) {
		tools.total, tools.stall = NewBudget(nil, 1<<20), time.Hour
	})
	go func() {
		_ = r.client.WriteMessage(websocket.TextMessage, []byte(response))
		_ = r.client.WriteMessage(websocket.TextMessage, []byte(`{"type":"tcp_close","connId":"c"}`))
	}()
	hears[*messages.Garbage](r.handler)
	m := hears[*messages.FromClient](r.handler)
	if dropped, ok := m.Message.(*messages.Dropped); !ok || dropped.ID != "0123456789ab" || dropped.Reason != messages.ReasonMemory {
		t.Errorf("the request is answered with %+v", m)
	}
	r.link.Handled(0)
	r.link.Handled(0)
	if m := hears[*messages.FromClient](r.handler); m.Message.(*messages.Close).ConnID != "c" {
		t.Errorf("after it comes %+v", m)
	}
	r.link.Handled(33)
}

// It waits for memory as long as it may, and is whole then.
func TestLargeResponseWaitsForMemory(t *testing.T) {
	r := startedTunnelRig(t, false, nil)
	r.tools.total.add(r.tools.total.limit)
	go func() {
		_ = r.client.WriteMessage(websocket.TextMessage, []byte(`{"type":"http_response","id":"0123456789ab","body":"`+strings.Repeat("a", 3<<20)+`"}`))
	}()
	eventually(t, "the reader waits", func() bool { return r.link.answers.held.Load() > 0 && !r.link.client.reading.Load() })
	r.tools.total.add(-r.tools.total.limit)
	m := hears[*messages.FromClient](r.handler)
	if answer := m.Message.(*messages.Response); len(answer.Body) != 3<<20 {
		t.Errorf("the body has %d bytes", len(answer.Body))
	}
	r.settle(m)
	eventually(t, "its bytes are given back", func() bool { return r.tools.total.held.Load() == 0 })
}
