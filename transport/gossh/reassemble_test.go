package gossh

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/tunnelrig"
	"wsproxy/messages"
)

// A recorder keeps the messages that a reassembler passes on, as they were before
// they were cut: objects whole, frames by connection.
type recorder struct {
	reassembler *reassembler
	message     []byte
	all         [][]byte
}

func newRecorder(known ...string) *recorder {
	h := &recorder{}
	h.reassembler = &reassembler{
		knows: func(id []byte) bool {
			for _, k := range known {
				if k == string(id) {
					return true
				}
			}
			return false
		},
		piece: func(data []byte, _, end bool) {
			h.message = append(h.message, data...)
			if end {
				h.all = append(h.all, h.message)
				h.message = nil
			}
		},
	}
	return h
}

// cut feeds a message as the client sends it: in messages of at most cutAt
// bytes, which arrive in pieces of at most n.
func (h *recorder) cut(message []byte, n int) {
	for {
		one := message[:min(len(message), cutAt)]
		message = message[len(one):]
		for len(one) > n {
			h.reassembler.take(bytes.Clone(one[:n]), false, false)
			one = one[n:]
		}
		h.reassembler.take(bytes.Clone(one), false, true)
		if len(message) == 0 {
			return
		}
	}
}

// heard returns what came, the message under way included.
func (h *recorder) heard() [][]byte {
	if h.reassembler.open == kindFrame {
		return append(h.all, h.message)
	}
	return h.all
}

const someID, otherID = "0123456789ab", "ba9876543210"

func answerOf(id string, size int) []byte {
	head := fmt.Sprintf(`{"type":"http_response","id":%q,"status":200,"body":"`, id)
	return []byte(head + strings.Repeat("}", max(size-len(head)-2, 0)) + `"}`)
}

func TestMessagesAreJoined(t *testing.T) {
	frame := func(id string, size int) []byte { return tunnelrig.Data(id, testkit.Pattern(size-16)) }
	closed := []byte(`{"type":"tcp_close","connId":"` + someID + `"}`)
	for name, sent := range map[string][][]byte{
		"short ones":                      {closed, frame(someID, 100), closed},
		"an object of one cut":            {answerOf(someID, 4096), closed},
		"objects around a cut":            {answerOf(someID, 4095), answerOf(someID, 4097), closed},
		"an object of several":            {answerOf(someID, 3*4096), answerOf(someID, 3*4096+1), closed},
		"a large object":                  {answerOf(someID, 500_000), closed},
		"a frame of one cut":              {frame(someID, 4096), frame(otherID, 4096), frame(someID, 50)},
		"frames around a cut":             {frame(someID, 4095), frame(someID, 4097), frame(otherID, 4096), closed},
		"an object behind a full frame":   {frame(someID, 8192), closed, frame(someID, 8192), answerOf(otherID, 9000)},
		"a full object behind a full one": {frame(someID, 4096), answerOf(someID, 4096), frame(someID, 4096), answerOf(someID, 12288), closed},
		"a frame without payload":         {frame(someID, 4096), frame(otherID, 16), closed},
	} {
		for _, n := range []int{1, 3, 100, 1 << 20} {
			h := newRecorder(someID, otherID)
			for _, m := range sent {
				h.cut(m, n)
			}
			if got := h.heard(); len(got) != len(sent) {
				t.Errorf("%s, in pieces of %d: %d messages came of %d", name, n, len(got), len(sent))
			} else {
				for i := range got {
					if !bytes.Equal(got[i], sent[i]) {
						t.Errorf("%s, in pieces of %d: message %d has %d bytes of %d", name, n, i, len(got[i]), len(sent[i]))
					}
				}
			}
		}
	}
}

// After a full piece of a frame payload may look like anything.
var oddPayloads = map[string]string{
	"a frame of no connection":      string(tunnelrig.Data("ffffffffffff", []byte("x"))),
	"half a header":                 "\x00\x00\x00\x0c0123",
	"a header's length":             "\x00\x00\x00\x0d0123456789abc",
	"a brace":                       "{",
	"an object of no type":          `{"a":1}`,
	"an object of another type":     `{"type":"http_request","id":"` + someID + `"}`,
	"about a stranger":              `{"type":"tcp_close","connId":"ffffffffffff"}`,
	"more behind it":                `{"type":"tcp_close","connId":"` + someID + `"}x`,
	"cut off":                       `{"type":"tcp_close","connId":"` + someID + `"`,
	"an id in the wrong field":      `{"type":"tcp_close","id":"` + someID + `"}`,
	"a stranger's answer, cut":      string(answerOf("ffffffffffff", 5000)),
	"a full piece without an id":    "{" + strings.Repeat(" ", 4095),
	"a full piece that is no JSON":  "{" + strings.Repeat("x", 4095),
	"nothing":                       "",
	"zeroes":                        strings.Repeat("\x00", 30),
	"a full piece, and then a rest": strings.Repeat("a", 4096) + "rest",
}

func TestPayloadThatLooksLikeMessages(t *testing.T) {
	for name, rest := range oddPayloads {
		h := newRecorder(someID)
		first := tunnelrig.Data(someID, bytes.Repeat([]byte("p"), 4080))
		h.cut(append(bytes.Clone(first), rest...), 1<<20)
		closed := []byte(`{"type":"tcp_close","connId":"` + someID + `"}`)
		h.cut(closed, 1<<20)
		got := h.heard()
		if len(got) != 2 || !bytes.Equal(got[0], append(first, rest...)) || !bytes.Equal(got[1], closed) {
			t.Errorf("%s: taken for %d messages", name, len(got))
		}
	}
}

func TestTextMessagesAreWhole(t *testing.T) {
	h := newRecorder(someID)
	h.cut(tunnelrig.Data(someID, testkit.Pattern(4080)), 1<<20)
	text := []byte("{" + strings.Repeat(" ", 4095))
	h.reassembler.take(bytes.Clone(text), true, true)
	if len(h.all) != 2 || !bytes.Equal(h.all[1], text) {
		t.Errorf("%d messages came", len(h.all))
	}
}

// Whatever a client sends, not a byte of it gets lost or is made up, and what
// it has cut in the way it does is what it was.
func FuzzReassemble(f *testing.F) {
	f.Add([]byte("\x10\x20"), []byte("{}"), uint16(4096), uint16(4080))
	f.Add([]byte("\x00\x01\x02"), tunnelrig.Data(someID, []byte("x")), uint16(1), uint16(8176))
	f.Add([]byte{}, []byte(`{"type":"tcp_close","connId":"`+someID+`"}`), uint16(7), uint16(12272))
	for _, odd := range oddPayloads {
		f.Add([]byte("\x03\x04\x05"), []byte(odd), uint16(99), uint16(4079))
	}
	// Objects and frames that end just before, at and behind a cut.
	for size := uint16(4078); size < 4083; size++ {
		f.Add([]byte("\x00\x01\x03\x02"), answerOf(otherID, int(size)), uint16(4095), size)
	}
	f.Fuzz(func(t *testing.T, plan, odd []byte, n, size uint16) {
		h := newRecorder(someID, otherID)
		var want [][]byte
		for i, c := range plan[:min(len(plan), 20)] {
			m := tunnelrig.Data([]string{someID, otherID}[i%2], bytes.Repeat([]byte{'p'}, int(size)*int(c%4)+int(c)))
			if c%3 == 0 {
				m = answerOf(someID, int(size)+16+int(c))
			}
			want = append(want, m)
			h.cut(m, 1+int(n))
		}
		got := h.heard()
		if len(got) != len(want) {
			t.Fatalf("%d messages came of %d", len(got), len(want))
		}
		for i := range got {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("message %d has %d bytes of %d", i, len(got[i]), len(want[i]))
			}
		}

		h = newRecorder(someID)
		var sent int
		for range 3 {
			h.cut(tunnelrig.Data(someID, bytes.Repeat([]byte{'p'}, 4080)), 1+int(n))
			h.cut(odd, 1+int(n))
			sent += cutAt + len(odd)
		}
		came := len(h.message)
		for _, m := range h.all {
			came += len(m)
		}
		if came != sent {
			t.Fatalf("%d bytes came of %d", came, sent)
		}
	})
}

// What is joined is bounded as if it had not been cut: by the Mux.
func TestJoinedMessagesHaveTheLimitOfWholeOnes(t *testing.T) {
	r := newRig(t)
	sends := func(m []byte) {
		for len(m) > 0 {
			n := min(len(m), cutAt)
			if r.Client.WriteMessage(websocket.BinaryMessage, m[:n]) != nil {
				return // it may be closed before all has gone
			}
			m = m[n:]
		}
	}
	sends(answerOf(someID, 3<<19))
	testkit.Hears[*messages.Garbage](r.Handler)
	r.Mux.Handled(0)
	m := testkit.Hears[*messages.FromClient](r.Handler)
	if dropped, ok := m.Message.(*messages.Dropped); !ok || dropped.ID != someID || dropped.Reason != messages.ReasonAnswerTooBig {
		t.Errorf("a long answer is %+v", m.Message)
	}
	r.Mux.Handled(m.Size)
	sends([]byte(`{"type":"tcp_close","connId":"` + strings.Repeat("a", 3<<19) + `"}`))
	if ended := testkit.Hears[*messages.MuxEnded](r.Tunnel); ended.Reason != messages.ReasonMessageTooBig {
		t.Errorf("another message ends the Mux with %s", ended.Reason)
	}
}
