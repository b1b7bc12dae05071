package gossh

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// A gosshHeard keeps the messages that a joiner passes on, as they were before
// they were cut: objects whole, frames by connection.
type gosshHeard struct {
	joiner  *gosshJoiner
	message []byte
	all     [][]byte
}

func newGosshHeard(known ...string) *gosshHeard {
	h := &gosshHeard{}
	h.joiner = &gosshJoiner{
		limit: 1 << 20,
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

// cut feeds a message as the client sends it: in messages of at most gosshCut
// bytes, which arrive in pieces of at most n.
func (h *gosshHeard) cut(message []byte, n int) {
	for {
		one := message[:min(len(message), gosshCut)]
		message = message[len(one):]
		for len(one) > n {
			h.joiner.take(bytes.Clone(one[:n]), false, false)
			one = one[n:]
		}
		h.joiner.take(bytes.Clone(one), false, true)
		if len(message) == 0 {
			return
		}
	}
}

// heard returns what came, the message under way included.
func (h *gosshHeard) heard() [][]byte {
	if h.joiner.open == gosshFrame {
		return append(h.all, h.message)
	}
	return h.all
}

const gosshID, gosshOtherID = "0123456789ab", "ba9876543210"

func gosshAnswerOf(id string, size int) []byte {
	head := fmt.Sprintf(`{"type":"http_response","id":%q,"status":200,"body":"`, id)
	return []byte(head + strings.Repeat("}", max(size-len(head)-2, 0)) + `"}`)
}

func TestGosshMessagesAreJoined(t *testing.T) {
	frame := func(id string, size int) []byte { return tunnelData(id, pattern(size-16)) }
	closed := []byte(`{"type":"tcp_close","connId":"` + gosshID + `"}`)
	for name, messages := range map[string][][]byte{
		"short ones":                      {closed, frame(gosshID, 100), closed},
		"an object of one cut":            {gosshAnswerOf(gosshID, 4096), closed},
		"objects around a cut":            {gosshAnswerOf(gosshID, 4095), gosshAnswerOf(gosshID, 4097), closed},
		"an object of several":            {gosshAnswerOf(gosshID, 3*4096), gosshAnswerOf(gosshID, 3*4096+1), closed},
		"a large object":                  {gosshAnswerOf(gosshID, 500_000), closed},
		"a frame of one cut":              {frame(gosshID, 4096), frame(gosshOtherID, 4096), frame(gosshID, 50)},
		"frames around a cut":             {frame(gosshID, 4095), frame(gosshID, 4097), frame(gosshOtherID, 4096), closed},
		"an object behind a full frame":   {frame(gosshID, 8192), closed, frame(gosshID, 8192), gosshAnswerOf(gosshOtherID, 9000)},
		"a full object behind a full one": {frame(gosshID, 4096), gosshAnswerOf(gosshID, 4096), frame(gosshID, 4096), gosshAnswerOf(gosshID, 12288), closed},
		"a frame without payload":         {frame(gosshID, 4096), frame(gosshOtherID, 16), closed},
	} {
		for _, n := range []int{1, 3, 100, 1 << 20} {
			h := newGosshHeard(gosshID, gosshOtherID)
			for _, m := range messages {
				h.cut(m, n)
			}
			if got := h.heard(); len(got) != len(messages) {
				t.Errorf("%s, in pieces of %d: %d messages came of %d", name, n, len(got), len(messages))
			} else {
				for i := range got {
					if !bytes.Equal(got[i], messages[i]) {
						t.Errorf("%s, in pieces of %d: message %d has %d bytes of %d", name, n, i, len(got[i]), len(messages[i]))
					}
				}
			}
		}
	}
}

// After a full piece of a frame payload may look like anything.
var gosshPayloads = map[string]string{
	"a frame of no connection":      string(tunnelData("ffffffffffff", []byte("x"))),
	"half a header":                 "\x00\x00\x00\x0c0123",
	"a header's length":             "\x00\x00\x00\x0d0123456789abc",
	"a brace":                       "{",
	"an object of no type":          `{"a":1}`,
	"an object of another type":     `{"type":"http_request","id":"` + gosshID + `"}`,
	"about a stranger":              `{"type":"tcp_close","connId":"ffffffffffff"}`,
	"more behind it":                `{"type":"tcp_close","connId":"` + gosshID + `"}x`,
	"cut off":                       `{"type":"tcp_close","connId":"` + gosshID + `"`,
	"an id in the wrong field":      `{"type":"tcp_close","id":"` + gosshID + `"}`,
	"a stranger's answer, cut":      string(gosshAnswerOf("ffffffffffff", 5000)),
	"a full piece without an id":    "{" + strings.Repeat(" ", 4095),
	"a full piece that is no JSON":  "{" + strings.Repeat("x", 4095),
	"nothing":                       "",
	"zeroes":                        strings.Repeat("\x00", 30),
	"a full piece, and then a rest": strings.Repeat("a", 4096) + "rest",
}

func TestGosshPayloadThatLooksLikeMessages(t *testing.T) {
	for name, rest := range gosshPayloads {
		h := newGosshHeard(gosshID)
		first := tunnelData(gosshID, bytes.Repeat([]byte("p"), 4080))
		h.cut(append(bytes.Clone(first), rest...), 1<<20)
		closed := []byte(`{"type":"tcp_close","connId":"` + gosshID + `"}`)
		h.cut(closed, 1<<20)
		got := h.heard()
		if len(got) != 2 || !bytes.Equal(got[0], append(first, rest...)) || !bytes.Equal(got[1], closed) {
			t.Errorf("%s: taken for %d messages", name, len(got))
		}
	}
}

func TestGosshObjectsHaveALimit(t *testing.T) {
	h := newGosshHeard(gosshID)
	h.joiner.limit = 10_000
	answer := gosshAnswerOf(gosshID, 20_000)
	for i, want := range []bool{true, true, false} {
		if ok := h.joiner.take(answer[i*gosshCut:(i+1)*gosshCut], false, true); ok != want {
			t.Fatalf("piece %d: %v", i, ok)
		}
	}
}

func TestGosshTextMessagesAreWhole(t *testing.T) {
	h := newGosshHeard(gosshID)
	h.cut(tunnelData(gosshID, pattern(4080)), 1<<20)
	text := []byte("{" + strings.Repeat(" ", 4095))
	h.joiner.take(bytes.Clone(text), true, true)
	if len(h.all) != 2 || !bytes.Equal(h.all[1], text) {
		t.Errorf("%d messages came", len(h.all))
	}
}

// Whatever a client sends, not a byte of it gets lost or is made up, and what
// it has cut in the way it does is what it was.
func FuzzGosshJoin(f *testing.F) {
	f.Add([]byte("\x10\x20"), []byte("{}"), uint16(4096), uint16(4080))
	f.Add([]byte("\x00\x01\x02"), tunnelData(gosshID, []byte("x")), uint16(1), uint16(8176))
	f.Add([]byte{}, []byte(`{"type":"tcp_close","connId":"`+gosshID+`"}`), uint16(7), uint16(12272))
	for _, odd := range gosshPayloads {
		f.Add([]byte("\x03\x04\x05"), []byte(odd), uint16(99), uint16(4079))
	}
	// Objects and frames that end just before, at and behind a cut.
	for size := uint16(4078); size < 4083; size++ {
		f.Add([]byte("\x00\x01\x03\x02"), gosshAnswerOf(gosshOtherID, int(size)), uint16(4095), size)
	}
	f.Fuzz(func(t *testing.T, plan, odd []byte, n, size uint16) {
		h := newGosshHeard(gosshID, gosshOtherID)
		var want [][]byte
		for i, c := range plan[:min(len(plan), 20)] {
			m := tunnelData([]string{gosshID, gosshOtherID}[i%2], bytes.Repeat([]byte{'p'}, int(size)*int(c%4)+int(c)))
			if c%3 == 0 {
				m = gosshAnswerOf(gosshID, int(size)+16+int(c))
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

		h = newGosshHeard(gosshID)
		var sent int
		for range 3 {
			h.cut(tunnelData(gosshID, bytes.Repeat([]byte{'p'}, 4080)), 1+int(n))
			h.cut(odd, 1+int(n))
			sent += gosshCut + len(odd)
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
