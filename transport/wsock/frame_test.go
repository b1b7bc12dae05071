package wsock

import (
	"bytes"
	"slices"
	"testing"

	"wsproxy/internal/testkit"
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
	{name: "one message", input: testkit.Frame(frameBin, []byte("hello")), payload: "hello", outcome: outcomeOpen},
	{name: "the RFC's own example of a mask", input: []byte{0x82, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58}, payload: "Hello", outcome: outcomeOpen},
	{name: "an empty message", input: testkit.Frame(frameBin, nil), outcome: outcomeOpen},
	{name: "two messages", input: join(testkit.Frame(frameBin, []byte("ab")), testkit.Frame(frameBin, []byte("cd"))), payload: "abcd", outcome: outcomeOpen},
	{name: "fragments", input: join(testkit.Frame(OpBinary, []byte("a")), testkit.Frame(opContinuation, []byte("b")), testkit.Frame(frameEnd, []byte("c"))), payload: "abc", outcome: outcomeOpen},
	{name: "empty fragments", input: join(testkit.Frame(OpBinary, nil), testkit.Frame(opContinuation, nil), testkit.Frame(frameEnd, nil)), outcome: outcomeOpen},
	{name: "a ping between fragments", input: join(testkit.Frame(OpBinary, []byte("a")), testkit.Frame(fin|opPing, []byte("p")), testkit.Frame(frameEnd, []byte("b"))), payload: "ab", pings: []string{"p"}, outcome: outcomeOpen},
	{name: "control frames between messages", input: join(testkit.Frame(fin|opPong, []byte("x")), testkit.Frame(frameBin, []byte("a")), testkit.Frame(fin|opPing, nil), testkit.Frame(frameBin, []byte("b"))), payload: "ab", pings: []string{""}, outcome: outcomeOpen},
	{name: "the longest ping", input: testkit.Frame(fin|opPing, testkit.Pattern(125)), pings: []string{string(testkit.Pattern(125))}, outcome: outcomeOpen},
	{name: "a ping too long", input: testkit.Frame(fin|opPing, testkit.Pattern(126)), outcome: outcomeBad},
	{name: "a ping in fragments", input: testkit.Frame(opPing, nil), outcome: outcomeBad},
	{name: "a pong in fragments", input: testkit.Frame(opPong, nil), outcome: outcomeBad},
	{name: "a close in fragments", input: testkit.Frame(opClose, testkit.ClosePayload(1000, "")), outcome: outcomeBad},
	{name: "lengths around the second form", input: join(testkit.Frame(frameBin, testkit.Pattern(125)), testkit.Frame(frameBin, testkit.Pattern(126)), testkit.Frame(frameBin, testkit.Pattern(127))), payload: string(join(testkit.Pattern(125), testkit.Pattern(126), testkit.Pattern(127))), outcome: outcomeOpen},
	{name: "lengths around the third form", input: join(testkit.Frame(frameBin, testkit.Pattern(65535)), testkit.Frame(frameBin, testkit.Pattern(65536))), payload: string(join(testkit.Pattern(65535), testkit.Pattern(65536))), outcome: outcomeOpen},
	{name: "a message of 3 MiB", input: testkit.Frame(frameBin, testkit.Pattern(3<<20)), payload: string(testkit.Pattern(3 << 20)), outcome: outcomeOpen},
	{name: "a message of 3 MiB in fragments", input: join(testkit.Frame(OpBinary, testkit.Pattern(2<<20)), testkit.Frame(frameEnd, testkit.Pattern(1<<20))), payload: string(join(testkit.Pattern(2<<20), testkit.Pattern(1<<20))), outcome: outcomeOpen},
	{name: "a message of 3 MiB between others", input: join(testkit.Frame(frameBin, []byte("a")), testkit.Frame(frameBin, testkit.Pattern(3<<20)), testkit.Frame(frameBin, []byte("b"))), payload: "a" + string(testkit.Pattern(3<<20)) + "b", outcome: outcomeOpen},
	{name: "a length of a terabyte, and its first bytes", input: join([]byte{0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0}, testkit.Frame(frameBin, []byte("begin"))[2:]), payload: "begin", outcome: outcomeOpen},
	{name: "the greatest length, which only promises", input: []byte{0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}, outcome: outcomeOpen},
	{name: "a length with its first bit set", input: []byte{0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4}, outcome: outcomeBad},
	{name: "a length that overflows the message's", input: join(testkit.Frame(OpBinary, []byte("a")), []byte{0x80, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 'b' ^ 1}), payload: "ab", outcome: outcomeOpen},
	{name: "a short length in two bytes", input: []byte{0x82, 0xfe, 0, 5, 1, 2, 3, 4, 0, 0, 0, 0, 0}, outcome: outcomeBad},
	{name: "a short length in eight bytes", input: []byte{0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4}, outcome: outcomeBad},
	{name: "no mask", input: []byte{0x82, 0x01, 'a'}, outcome: outcomeBad},
	{name: "no mask and nothing in it", input: []byte{0x82, 0x00}, outcome: outcomeBad},
	{name: "a close without a mask", input: []byte{0x88, 0x00}, outcome: outcomeBad},
	{name: "RSV1", input: testkit.Frame(frameBin|0x40, []byte("a")), outcome: outcomeBad},
	{name: "RSV2", input: testkit.Frame(frameBin|0x20, []byte("a")), outcome: outcomeBad},
	{name: "RSV3", input: testkit.Frame(frameBin|0x10, []byte("a")), outcome: outcomeBad},
	{name: "RSV1 on a ping", input: testkit.Frame(fin|opPing|0x40, nil), outcome: outcomeBad},
	{name: "an unknown data opcode", input: testkit.Frame(fin|0x3, nil), outcome: outcomeBad},
	{name: "an unknown control opcode", input: testkit.Frame(fin|0xb, nil), outcome: outcomeBad},
	{name: "a text message", input: testkit.Frame(fin|OpText, []byte("a")), outcome: outcomeText},
	{name: "a text message in fragments", input: testkit.Frame(OpText, []byte("a")), outcome: outcomeText},
	{name: "a text message after a binary one", input: join(testkit.Frame(frameBin, []byte("a")), testkit.Frame(fin|OpText, []byte("b"))), payload: "a", outcome: outcomeText},
	{name: "a continuation of nothing", input: testkit.Frame(frameEnd, []byte("a")), outcome: outcomeBad},
	{name: "a continuation of what has ended", input: join(testkit.Frame(OpBinary, []byte("a")), testkit.Frame(frameEnd, []byte("b")), testkit.Frame(opContinuation, []byte("c"))), payload: "ab", outcome: outcomeBad},
	{name: "a message within a message", input: join(testkit.Frame(OpBinary, []byte("a")), testkit.Frame(frameBin, []byte("b"))), payload: "a", outcome: outcomeBad},
	{name: "a close within a message", input: join(testkit.Frame(OpBinary, []byte("a")), testkit.Frame(fin|opClose, testkit.ClosePayload(1000, ""))), payload: "a", outcome: outcomeClose, code: 1000},
	{name: "a close without a code", input: testkit.Frame(fin|opClose, nil), outcome: outcomeClose, code: 1005},
	{name: "a close with code and text", input: testkit.Frame(fin|opClose, testkit.ClosePayload(3001, "bye")), outcome: outcomeClose, code: 3001},
	{name: "the longest close", input: testkit.Frame(fin|opClose, testkit.ClosePayload(4999, string(bytes.Repeat([]byte("x"), 123)))), outcome: outcomeClose, code: 4999},
	{name: "a close of one byte", input: testkit.Frame(fin|opClose, []byte{3}), outcome: outcomeBad},
	{name: "a close with a reserved code", input: testkit.Frame(fin|opClose, testkit.ClosePayload(1005, "")), outcome: outcomeBad},
	{name: "a close that is not UTF-8", input: testkit.Frame(fin|opClose, testkit.ClosePayload(1000, "\xff")), outcome: outcomeBad},
	{name: "bytes after the close", input: join(testkit.Frame(frameBin, []byte("a")), testkit.Frame(fin|opClose, nil), testkit.Frame(frameBin, []byte("b"))), payload: "a", outcome: outcomeClose, code: 1005},
	{name: "half a header", input: testkit.Frame(frameBin, testkit.Pattern(300))[:3], outcome: outcomeOpen},
	{name: "half a frame", input: testkit.Frame(frameBin, []byte("hello"))[:8], payload: "he", outcome: outcomeOpen},
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

// A pump stops at the end of each message only if who takes the payload needs it to.
func TestDecoderStopsAtMessagesOnlyWhenAsked(t *testing.T) {
	input := join(testkit.Frame(OpBinary, []byte("a")), testkit.Frame(frameEnd, []byte("b")), testkit.Frame(frameBin, nil), testkit.Frame(frameBin, []byte("c")), testkit.Frame(OpBinary, []byte("d")))
	d := newDecoder()
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
		"text":           testkit.Frame(fin|OpText, []byte("hello")),
		"empty text":     testkit.Frame(fin|OpText, nil),
		"text in pieces": join(testkit.Frame(OpText, []byte("he")), testkit.Frame(fin|opPing, nil), testkit.Frame(frameEnd, nil)),
		"long text":      testkit.Frame(fin|OpText, make([]byte, 3<<20)),
		"long text in pieces": join(testkit.Frame(OpText, make([]byte, 2<<20)),
			testkit.Frame(opContinuation, make([]byte, 1<<20)), testkit.Frame(frameEnd, []byte("y"))),
	} {
		for _, size := range []int{1, 7, 32 << 10, 4 << 20} {
			if size == 1 && len(refused) > 1000 {
				continue
			}
			d := newDecoder()
			refusals, closed := 0, false
			for input := join(refused, testkit.Frame(frameBin, []byte("more")), testkit.Frame(fin|opClose, testkit.ClosePayload(1000, ""))); len(input) > 0; {
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
	d := newDecoder()
	for range 1000 {
		d.decode(join(testkit.Frame(fin|opPing, testkit.Pattern(125)), testkit.Frame(OpBinary, nil)[:1]))
		fresh := newDecoder()
		fresh.control = d.control
		d = fresh
	}
	if cap(d.control) > 2*maxControl {
		t.Errorf("it keeps %d bytes", cap(d.control))
	}
	chunk := bytes.Repeat(testkit.Frame(frameBin, testkit.Pattern(100)), 50)
	fresh := make([]byte, len(chunk))
	allocs := testing.AllocsPerRun(100, func() {
		copy(fresh, chunk)
		d.decode(fresh)
	})
	if allocs > 0 {
		t.Errorf("50 frames cost %v allocations", allocs)
	}
}
