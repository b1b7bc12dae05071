package wsock

import (
	"bytes"
	"slices"
	"testing"

	"wsproxy/messages"
)

const (
	fin      = 0x80
	frameBin = fin | OpBinary
	frameEnd = fin | opContinuation
)

func join(frames ...[]byte) []byte { return slices.Concat(frames...) }

// frameCases are the rules of RFC 6455, one by one. They seed the fuzzing too.
var frameCases = []struct {
	name    string
	input   []byte
	payload string
	pings   []string
	outcome outcome
	code    int
}{
	{name: "nothing", outcome: outcomeOpen},
	{name: "one message", input: wsFrame(frameBin, []byte("hello")), payload: "hello", outcome: outcomeOpen},
	{name: "the RFC's own example of a mask", input: []byte{0x82, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}, payload: "Hello", outcome: outcomeOpen},
	{name: "an empty message", input: wsFrame(frameBin, nil), outcome: outcomeOpen},
	{name: "two messages", input: join(wsFrame(frameBin, []byte("ab")), wsFrame(frameBin, []byte("cd"))), payload: "abcd", outcome: outcomeOpen},
	{name: "fragments", input: join(wsFrame(OpBinary, []byte("a")), wsFrame(opContinuation, []byte("b")), wsFrame(frameEnd, []byte("c"))), payload: "abc", outcome: outcomeOpen},
	{name: "empty fragments", input: join(wsFrame(OpBinary, nil), wsFrame(opContinuation, nil), wsFrame(frameEnd, nil)), outcome: outcomeOpen},
	{name: "a ping between fragments", input: join(wsFrame(OpBinary, []byte("a")), wsFrame(fin|opPing, []byte("p")), wsFrame(frameEnd, []byte("b"))), payload: "ab", pings: []string{"p"}, outcome: outcomeOpen},
	{name: "control frames between messages", input: join(wsFrame(fin|opPong, []byte("x")), wsFrame(frameBin, []byte("a")), wsFrame(fin|opPing, nil), wsFrame(frameBin, []byte("b"))), payload: "ab", pings: []string{""}, outcome: outcomeOpen},
	{name: "the longest ping", input: wsFrame(fin|opPing, pattern(125)), pings: []string{string(pattern(125))}, outcome: outcomeOpen},
	{name: "a ping too long", input: wsFrame(fin|opPing, pattern(126)), outcome: outcomeBad},
	{name: "a ping in fragments", input: wsFrame(opPing, nil), outcome: outcomeBad},
	{name: "a pong in fragments", input: wsFrame(opPong, nil), outcome: outcomeBad},
	{name: "a close in fragments", input: wsFrame(opClose, closePayload(1000, "")), outcome: outcomeBad},
	{name: "lengths around the second form", input: join(wsFrame(frameBin, pattern(125)), wsFrame(frameBin, pattern(126)), wsFrame(frameBin, pattern(127))), payload: string(join(pattern(125), pattern(126), pattern(127))), outcome: outcomeOpen},
	{name: "lengths around the third form", input: join(wsFrame(frameBin, pattern(65535)), wsFrame(frameBin, pattern(65536))), payload: string(join(pattern(65535), pattern(65536))), outcome: outcomeOpen},
	{name: "the longest message", input: wsFrame(frameBin, pattern(messages.MaxClientMessage)), payload: string(pattern(messages.MaxClientMessage)), outcome: outcomeOpen},
	{name: "a message too long by one", input: wsFrame(frameBin, pattern(messages.MaxClientMessage+1)), outcome: outcomeBig},
	{name: "a message too long by its fragments", input: join(wsFrame(OpBinary, pattern(messages.MaxClientMessage)), wsFrame(frameEnd, []byte("x"))), payload: string(pattern(messages.MaxClientMessage)), outcome: outcomeBig},
	{name: "a message of the full length after another", input: join(wsFrame(frameBin, []byte("a")), wsFrame(frameBin, pattern(messages.MaxClientMessage))), payload: "a" + string(pattern(messages.MaxClientMessage)), outcome: outcomeOpen},
	{name: "a length that only promises", input: []byte{0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}, outcome: outcomeBig},
	{name: "a length with its first bit set", input: []byte{0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}, outcome: outcomeBad},
	{name: "a length that overflows the message's", input: join(wsFrame(OpBinary, []byte("a")), []byte{0x80, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}), payload: "a", outcome: outcomeBig},
	{name: "a short length in two bytes", input: []byte{0x82, 0xfe, 0, 5, 1, 2, 3, 4, 0, 0, 0, 0, 0}, outcome: outcomeBad},
	{name: "a short length in eight bytes", input: []byte{0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4}, outcome: outcomeBad},
	{name: "no mask", input: []byte{0x82, 0x01, 'a'}, outcome: outcomeBad},
	{name: "no mask and nothing in it", input: []byte{0x82, 0x00}, outcome: outcomeBad},
	{name: "a close without a mask", input: []byte{0x88, 0x00}, outcome: outcomeBad},
	{name: "RSV1", input: wsFrame(frameBin|0x40, []byte("a")), outcome: outcomeBad},
	{name: "RSV2", input: wsFrame(frameBin|0x20, []byte("a")), outcome: outcomeBad},
	{name: "RSV3", input: wsFrame(frameBin|0x10, []byte("a")), outcome: outcomeBad},
	{name: "RSV1 on a ping", input: wsFrame(fin|opPing|0x40, nil), outcome: outcomeBad},
	{name: "an unknown data opcode", input: wsFrame(fin|0x3, nil), outcome: outcomeBad},
	{name: "an unknown control opcode", input: wsFrame(fin|0xb, nil), outcome: outcomeBad},
	{name: "a text message", input: wsFrame(fin|OpText, []byte("a")), outcome: outcomeText},
	{name: "a text message in fragments", input: wsFrame(OpText, []byte("a")), outcome: outcomeText},
	{name: "a text message after a binary one", input: join(wsFrame(frameBin, []byte("a")), wsFrame(fin|OpText, []byte("b"))), payload: "a", outcome: outcomeText},
	{name: "a continuation of nothing", input: wsFrame(frameEnd, []byte("a")), outcome: outcomeBad},
	{name: "a continuation of what has ended", input: join(wsFrame(OpBinary, []byte("a")), wsFrame(frameEnd, []byte("b")), wsFrame(opContinuation, []byte("c"))), payload: "ab", outcome: outcomeBad},
	{name: "a message within a message", input: join(wsFrame(OpBinary, []byte("a")), wsFrame(frameBin, []byte("b"))), payload: "a", outcome: outcomeBad},
	{name: "a close within a message", input: join(wsFrame(OpBinary, []byte("a")), wsFrame(fin|opClose, closePayload(1000, ""))), payload: "a", outcome: outcomeClose, code: 1000},
	{name: "a close without a code", input: wsFrame(fin|opClose, nil), outcome: outcomeClose, code: 1005},
	{name: "a close with code and text", input: wsFrame(fin|opClose, closePayload(3001, "bye")), outcome: outcomeClose, code: 3001},
	{name: "the longest close", input: wsFrame(fin|opClose, closePayload(4999, string(bytes.Repeat([]byte("x"), 123)))), outcome: outcomeClose, code: 4999},
	{name: "a close of one byte", input: wsFrame(fin|opClose, []byte{3}), outcome: outcomeBad},
	{name: "a close with a reserved code", input: wsFrame(fin|opClose, closePayload(1005, "")), outcome: outcomeBad},
	{name: "a close that is not UTF-8", input: wsFrame(fin|opClose, closePayload(1000, "\xff")), outcome: outcomeBad},
	{name: "bytes after the close", input: join(wsFrame(frameBin, []byte("a")), wsFrame(fin|opClose, nil), wsFrame(frameBin, []byte("b"))), payload: "a", outcome: outcomeClose, code: 1005},
	{name: "half a header", input: wsFrame(frameBin, pattern(300))[:3], outcome: outcomeOpen},
	{name: "half a frame", input: wsFrame(frameBin, []byte("hello"))[:8], payload: "he", outcome: outcomeOpen},
}

func TestDecoderFollowsTheRFC(t *testing.T) {
	for _, c := range frameCases {
		t.Run(c.name, func(t *testing.T) {
			check := func(how string, r reading) {
				t.Helper()
				if string(r.payload) != c.payload {
					t.Errorf("%s: the payload is %d bytes %.40q, want %d bytes %.40q", how, len(r.payload), r.payload, len(c.payload), c.payload)
				}
				if !slices.Equal(r.pings, c.pings) {
					t.Errorf("%s: the pings are %q, want %q", how, r.pings, c.pings)
				}
				if r.outcome != c.outcome || r.code != c.code {
					t.Errorf("%s: the outcome is %s %d, want %s %d", how, r.outcome, r.code, c.outcome, c.code)
				}
			}
			whole, _ := decoderReads(t, c.input, false, false, func() int { return len(c.input) })
			check("whole", whole)
			if len(c.input) > 100_000 {
				return
			}
			bytewise, _ := decoderReads(t, c.input, true, false, func() int { return 1 })
			check("byte by byte", bytewise)
			for at := 1; at < min(len(c.input), 40); at++ {
				first := at
				split, _ := decoderReads(t, c.input, true, false, func() (n int) { n, first = first, len(c.input); return n })
				check("in two", split)
			}
		})
	}
}

// A pump stops at the end of each message only if the far side needs it to.
func TestDecoderStopsAtMessagesOnlyWhenAsked(t *testing.T) {
	input := join(wsFrame(OpBinary, []byte("a")), wsFrame(frameEnd, []byte("b")), wsFrame(frameBin, nil), wsFrame(frameBin, []byte("c")), wsFrame(OpBinary, []byte("d")))
	d := relayDecoder()
	data, rest, result, _ := d.decode(bytes.Clone(input))
	if string(data) != "abcd" || len(rest) > 0 || result != decodedAll {
		t.Errorf("in one piece it is %q, %d, %d", data, len(rest), result)
	}
	r, _ := decoderReads(t, input, true, false, func() int { return len(input) })
	var got []string
	for _, m := range r.messages {
		got = append(got, string(m))
	}
	if !slices.Equal(got, []string{"ab", "", "c"}) {
		t.Errorf("the messages are %q", got)
	}
}

// After a message that is refused as a whole the client is read on, for the
// close frame that it owes: in whatever pieces it comes.
func TestDecoderGoesOnAfterARefusedMessage(t *testing.T) {
	for name, refused := range map[string][]byte{
		"text":           wsFrame(fin|OpText, []byte("hello")),
		"empty text":     wsFrame(fin|OpText, nil),
		"text in pieces": join(wsFrame(OpText, []byte("he")), wsFrame(fin|opPing, nil), wsFrame(frameEnd, nil)),
		"too big":        wsFrame(frameBin, make([]byte, messages.MaxClientMessage+1)),
		"bigger and bigger": join(wsFrame(OpBinary, make([]byte, messages.MaxClientMessage)),
			wsFrame(opContinuation, []byte("x")), wsFrame(frameEnd, []byte("y"))),
	} {
		for _, size := range []int{1, 7, 32 << 10, 4 << 20} {
			if size == 1 && len(refused) > 1000 {
				continue
			}
			d := relayDecoder()
			refusals, closed := 0, false
			for input := join(refused, wsFrame(frameBin, []byte("more")), wsFrame(fin|opClose, closePayload(1000, ""))); len(input) > 0; {
				n := min(size, len(input))
				for rest := bytes.Clone(input[:n]); len(rest) > 0 && !closed; {
					var result decoded
					var reason messages.Reason
					_, rest, result, reason = d.decode(rest)
					closed = result == decodedClose
					if result == decodedBad {
						refusals++
						if reason == messages.ReasonProtocolError {
							t.Fatalf("%s by %d: a protocol error", name, size)
						}
					}
				}
				input = input[n:]
			}
			if refusals == 0 || !closed {
				t.Errorf("%s by %d: %d refusals, closed: %v", name, size, refusals, closed)
			}
		}
	}
}

// A client can make the decoder keep no more than one control frame.
func TestDecoderKeepsNoPayload(t *testing.T) {
	d := relayDecoder()
	for range 1000 {
		d.decode(join(wsFrame(fin|opPing, pattern(125)), wsFrame(OpBinary, nil)[:1]))
		fresh := relayDecoder()
		fresh.control = d.control
		d = fresh
	}
	if cap(d.control) > 2*maxControl {
		t.Errorf("it keeps %d bytes", cap(d.control))
	}
	chunk := bytes.Repeat(wsFrame(frameBin, pattern(100)), 50)
	fresh := make([]byte, len(chunk))
	allocs := testing.AllocsPerRun(100, func() {
		copy(fresh, chunk)
		d.decode(fresh)
	})
	if allocs > 0 {
		t.Errorf("50 frames cost %v allocations", allocs)
	}
}
