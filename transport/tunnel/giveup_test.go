package tunnel

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

// A message that has begun and does not end gives its memory back when the tunnel
// is to give way, though its client sends nothing more. When it goes on, the
// request of a response hears of it, and what follows is read as ever.
func TestMessageThatDoesNotEndGivesWay(t *testing.T) {
	const begin = `{"type":"http_response","id":"0123456789ab","status":200,"body":"`
	r := startRig(t, rigOptions{})
	w, err := r.client.NextWriter(websocket.TextMessage)
	if err != nil {
		t.Fatal(err)
	}
	sends := func(text string) {
		t.Helper()
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	const half = 1 << 20
	sends(begin + strings.Repeat("a", half))
	testkit.Eventually(t, "it is held", func() bool { return r.mux.Held() >= half })
	if bytes := r.mux.GiveUp(); bytes < half || bytes > half+int64(len(begin)) {
		t.Errorf("%d bytes are to come back", bytes)
	}
	testkit.Eventually(t, "it is given back", func() bool { return r.mux.Held() < giveUpWorth })
	sends(strings.Repeat("b", half) + `"}`)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	testkit.Hears[*messages.Garbage](r.handler)
	m := testkit.Hears[*messages.FromClient](r.handler)
	if dropped, ok := m.Message.(*messages.Dropped); !ok || *dropped != (messages.Dropped{ID: "0123456789ab", Reason: messages.ReasonMemory}) {
		t.Errorf("the request is answered with %+v", m.Message)
	}
	_ = r.client.WriteMessage(websocket.TextMessage, []byte(`{"type":"tcp_close","connId":"c"}`))
	if m := testkit.Hears[*messages.FromClient](r.handler); m.Message.(*messages.Close).ConnID != "c" {
		t.Errorf("after it comes %+v", m)
	}
	r.mux.Handled(0)
	r.mux.Handled(0)
	r.mux.Handled(33)
}

// Wherever it is revoked, whatever the order of its fields, its request hears of
// it once and the next message comes whole.
func TestRevokedMessageIsToldOnce(t *testing.T) {
	after := []byte(`{"type":"tcp_close","connId":"c"}`)
	i := newIntake(t)
	for _, order := range responseOrders {
		text := responseOf(300, order...)
		for at := 1; at < len(text); at++ {
			in := i.mux.newInbound()
			in.piece(bytes.Clone(text[:at]), true, false)
			in.message.Revoke()
			in.message.Revoke() // of nothing
			if held := i.mux.answers.Held(); held != 0 {
				t.Fatalf("%v: %d bytes are held", order, held)
			}
			in.piece(bytes.Clone(text[at:]), true, true)
			in.piece(bytes.Clone(after), true, true)
			told := i.ear.Take()
			for _, m := range told {
				(&rig{mux: i.mux}).settle(m)
			}
			got := posts(told)
			if len(got) != 3 || got[1] != "*messages.Dropped {ID:0123456789ab Reason:memory}" || got[2] != "*messages.Close {ConnID:c Reason:}" {
				t.Fatalf("%v, revoked behind %d bytes: %q", order, at, got)
			}
		}
	}
}

// A message of which little has come is not given up: it has come whole before
// that is of use.
func TestShortMessageIsNotGivenUp(t *testing.T) {
	i := newIntake(t)
	in := i.mux.newInbound()
	in.piece(bytes.Repeat([]byte("{"), giveUpWorth-1), true, false)
	if bytes := i.mux.GiveUp(); bytes != 0 || in.message.Size() != giveUpWorth-1 {
		t.Errorf("%d bytes are to come back", bytes)
	}
	in.message.Revoke()
}
