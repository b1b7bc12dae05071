package tunnel

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/wsock"
)

const testLimit = 40_000 // bytes of a message; more than a piece has, and no multiple of one

// withLimit has a client's messages be no longer than testLimit.
func withLimit(s *Settings) { s.MaxMessage = testLimit }

// responseOf returns a response of n bytes whose id and type are where order
// says: "id", "type" and "body", which is as long as it must be.
func responseOf(n int, order ...string) []byte {
	fields := map[string]string{
		"id": `"id":"0123456789ab"`, "type": `"type":"http_response"`, "body": `"body":"%s"`,
		"headers": `"headers":{"id":"ffffffffffff","type":"tcp_close","x":["\"id\":\"eeeeeeeeeeee\""]}`,
	}
	var all []string
	for _, field := range order {
		all = append(all, fields[field])
	}
	text := "{" + strings.Join(all, ",") + "}"
	return []byte(strings.Replace(text, "%s", strings.Repeat("b", n-len(text)+len("%s")), 1))
}

var responseOrders = [][]string{
	{"type", "id", "body"}, {"body", "id", "type"}, {"body", "type", "id"}, {"id", "body", "type"}, {"type", "body", "id"}, {"headers", "body", "type", "id"},
}

const tooLong = "garbage: a control message that is too long"

// A message of exactly the limit passes, and one byte more does not, wherever it
// is cut. One large response ends no tunnel.
func TestMessagesUpToTheLimitPass(t *testing.T) {
	i := newIntake(t)
	i.mux.settings.MaxMessage = testLimit
	cuts := map[string]func() int{
		"a buffer": func() int { return wsock.BufferSize }, "the limit": func() int { return testLimit }, "one": func() int { return 1 },
		"all at once": func() int { return 10 * testLimit },
	}
	for cut, by := range cuts {
		for _, order := range responseOrders {
			name := fmt.Sprint(order, " in pieces of ", cut)
			after := sentMessage{[]byte(`{"type":"tcp_close","connId":"c"}`), true}
			got := i.reads(t, []sentMessage{{responseOf(testLimit, order...), true}, after}, by)
			if len(got) != 2 || !strings.HasPrefix(got[0], "*messages.Response {ID:0123456789ab ") {
				t.Errorf("%s: one of the limit is %.200q", name, got)
			}
			for _, n := range []int{testLimit + 1, 3*testLimit + 7} {
				want := []string{tooLong, "*messages.Dropped {ID:0123456789ab Reason:" + string(messages.ReasonAnswerTooBig) + "}", "*messages.Close {ConnID:c Reason:}"}
				if got := i.reads(t, []sentMessage{{responseOf(n, order...), true}, after}, by); !slices.Equal(got, want) {
					t.Errorf("%s: one of %d bytes is %.200q", name, n, got)
				}
			}
		}
	}
}

// Of a response that is too long nothing is held, however long it is.
func TestLongResponseTakesNoMemory(t *testing.T) {
	i := newIntake(t)
	i.mux.settings.MaxMessage = testLimit
	for _, order := range responseOrders {
		in := i.mux.newInbound()
		most := int64(0)
		for rest := responseOf(100*testLimit, order...); len(rest) > 0; {
			n := min(wsock.BufferSize, len(rest))
			if in.piece(rest[:n:n], true, n == len(rest)); in.message.Size() > testLimit {
				t.Fatalf("%d bytes are kept", in.message.Size())
			}
			rest = rest[n:]
			most = max(most, i.mux.memory.Held())
		}
		if most > testLimit {
			t.Errorf("%s: %d bytes are held", order, most)
		}
		for _, m := range i.ear.Take() {
			(&rig{mux: i.mux}).settle(m)
		}
		if in.refused != "" {
			t.Errorf("%s: it is refused for %s", order, in.refused)
		}
	}
}

// What is no response ends the tunnel above the limit, whatever it is, and no
// more than the limit of it is passed on.
func TestOtherMessagesAboveTheLimitAreRefused(t *testing.T) {
	long := strings.Repeat("b", 2*testLimit)
	for _, c := range []struct {
		name    string
		payload []byte
		atEnd   bool // what it is, is not known before
	}{
		{"data", dataMessage("c", []byte(long)), false},
		{"data without sense", dataMessage(strings.Repeat("i", messages.MaxConnID+1), []byte(long)), false},
		{"a header that does not end", []byte("\xff\xff\xff\xff" + long), false},
		{"a close", []byte(`{"type":"tcp_close","x":"` + long + `"}`), false},
		{"another type", []byte(`{"type":"dance","id":"0123456789ab","x":"` + long + `"}`), false},
		{"a type at the end", []byte(`{"id":"0123456789ab","x":"` + long + `","type":"tcp_close"}`), true},
		{"no type", []byte(`{"id":"0123456789ab","x":"` + long + `"}`), true},
		{"no JSON", []byte("{" + long), true},
	} {
		i := newIntake(t)
		i.mux.settings.MaxMessage = testLimit
		for _, n := range []int{wsock.BufferSize, 10 * testLimit, 1} {
			in := i.mux.newInbound()
			read := 0
			for rest := c.payload; len(rest) > 0 && in.refused == ""; {
				piece := rest[:min(n, len(rest))]
				rest = rest[len(piece):]
				in.piece(bytes.Clone(piece), false, len(rest) == 0)
				read += len(piece)
			}
			if in.refused != messages.ReasonMessageTooBig {
				t.Errorf("%s: refused for %q", c.name, in.refused)
			}
			if want := testLimit + n; !c.atEnd && read > want {
				t.Errorf("%s: %d bytes of it are read before, want at most %d", c.name, read, want)
			}
			if in.message.Size() > 0 || i.mux.answers.Held() != 0 {
				t.Errorf("%s: %d bytes are held", c.name, i.mux.answers.Held())
			}
			for _, m := range i.ear.Take() {
				if data, ok := m.(*messages.Data); ok && len(data.Data) > testLimit {
					t.Errorf("%s: %d bytes are passed on", c.name, len(data.Data))
				}
				(&rig{mux: i.mux}).settle(m)
			}
		}
	}
}

// What was given up for want of memory and then turns out to be too long is one
// thing only: a response that is answered once, or the tunnel's end.
func TestMessageWithoutMemoryAboveTheLimit(t *testing.T) {
	dropped := func(reason messages.Reason) string {
		return "*messages.Dropped {ID:0123456789ab Reason:" + string(reason) + "}"
	}
	const noMemory = "garbage: a control message for which there was no memory"
	for _, c := range []struct {
		name    string
		payload []byte
		want    []string
		refused messages.Reason
	}{
		{"a response", responseOf(2*testLimit, "type", "id", "body"), []string{noMemory, dropped(messages.ReasonMemory)}, ""},
		{"one that says so last", responseOf(2*testLimit, "body", "type", "id"), []string{noMemory, dropped(messages.ReasonAnswerTooBig)}, ""},
		{"a short one", responseOf(testLimit, "body", "type", "id"), []string{noMemory, dropped(messages.ReasonMemory)}, ""},
		{"a close", []byte(`{"type":"tcp_close","x":"` + strings.Repeat("b", 2*testLimit) + `"}`), []string{noMemory}, messages.ReasonMessageTooBig},
		{"a short close", []byte(`{"type":"tcp_close","x":"` + strings.Repeat("b", testLimit/2) + `"}`), []string{noMemory}, ""},
	} {
		i := newIntake(t)
		i.mux.settings.MaxMessage = testLimit
		in := i.mux.newInbound()
		half := len(c.payload) / 4
		in.piece(bytes.Clone(c.payload[:half]), true, false)
		in.giveUp(messages.ReasonMemory)
		in.piece(bytes.Clone(c.payload[half:]), true, true)
		told := i.ear.Take()
		if got := posts(told); !slices.Equal(got, c.want) || in.refused != c.refused {
			t.Errorf("%s: %q, refused for %q", c.name, got, in.refused)
		}
		for _, m := range told {
			(&rig{mux: i.mux}).settle(m)
		}
		if held := i.mux.memory.Held(); held != 0 || i.mux.inbound.Held() != 0 {
			t.Errorf("%s: %d bytes are held", c.name, held)
		}
	}
}

// The same from end to end: the tunnel lives after a response that is too long,
// and not after data that is.
func TestLimitOfMessagesOverTheWebSocket(t *testing.T) {
	r := startWith(t, withLimit)
	r.clientSends(websocket.TextMessage, responseOf(30*testLimit, "body", "type", "id"))
	r.clientSends(websocket.BinaryMessage, dataMessage("c", make([]byte, testLimit-5)))
	testkit.Hears[*messages.Garbage](r.handler)
	m := testkit.Hears[*messages.FromClient](r.handler)
	if dropped, ok := m.Message.(*messages.Dropped); !ok || *dropped != (messages.Dropped{ID: "0123456789ab", Reason: messages.ReasonAnswerTooBig}) || m.Size != 0 {
		t.Errorf("the request is answered with %+v", m)
	}
	for n := 0; n < testLimit-5; {
		n += len(testkit.Hears[*messages.Data](r.handler).Data)
	}
	if r.tunnel.Count() > 0 {
		t.Errorf("the tunnel is told %+v", r.tunnel.Take()[0])
	}
	go func() {
		_ = r.client.WriteMessage(websocket.BinaryMessage, dataMessage("c", make([]byte, testLimit-4)))
	}()
	if m := testkit.Hears[*messages.MuxEnded](r.tunnel); m.Reason != messages.ReasonMessageTooBig {
		t.Errorf("the Mux ended for %s", m.Reason)
	}
	r.mux.Finish(messages.ReasonMessageTooBig)
	r.wantCloseCode(1009)
}
