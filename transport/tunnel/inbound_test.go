package tunnel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/wsock"
)

// posts is what comes of a client's bytes: pieces of a connection's data
// that follow each other are one, for their number is of no meaning.
func posts(told []any) (posts []string) {
	last := ""
	var run []byte // of data
	end := func() {
		if last != "" {
			posts = append(posts, last+": "+string(run))
		}
		last, run = "", nil
	}
	for _, m := range told {
		switch m := m.(type) {
		case *messages.Data:
			if here := "data " + m.ConnID; last != here {
				end()
				last = here
			}
			run = append(run, m.Data...)
			continue
		}
		end()
		switch m := m.(type) {
		case *messages.FromClient:
			posts = append(posts, fmt.Sprintf("%T %+v", m.Message, reflect.Indirect(reflect.ValueOf(m.Message))))
		case *messages.Garbage:
			posts = append(posts, "garbage: "+m.What)
		default:
			posts = append(posts, fmt.Sprintf("%T", m))
		}
	}
	end()
	return posts
}

// A sentMessage is a message that a client sends.
type sentMessage struct {
	payload []byte
	text    bool
}

// sentMessages takes a client's frames apart by the book, to its close frame.
// The server's own decoder is another package's.
func sentMessages(frames []byte) (all []sentMessage) {
	var under []byte // the message under way
	text := false
	for len(frames) > 0 {
		first, n := frames[0], int(frames[1]&0x7f)
		frames = frames[2:]
		switch n {
		case 126:
			n, frames = int(binary.BigEndian.Uint16(frames)), frames[2:]
		case 127:
			n, frames = int(binary.BigEndian.Uint64(frames)), frames[8:]
		}
		key, payload := frames[:4], bytes.Clone(frames[4:4+n])
		frames = frames[4+n:]
		for i := range payload {
			payload[i] ^= key[i%4]
		}
		switch opcode := first & 0x0f; {
		case opcode == 8:
			return all
		case opcode > 8:
			continue
		case opcode > 0:
			under, text = nil, opcode == 1
		}
		under = append(under, payload...)
		if first&0x80 != 0 {
			all = append(all, sentMessage{under, text})
		}
	}
	return all
}

// An intake is an inbound with an ear for a handler.
type intake struct {
	mux *Mux
	ear *testkit.Ear
}

func newIntake(t testing.TB) *intake {
	r := newBareRig(t, rigOptions{change: func(s *Settings) { s.MaxMessage = 1 << 20 }})
	r.mux.handler = r.handler.PID
	return &intake{mux: r.mux, ear: r.handler}
}

// reads has messages come in these pieces, and returns what the handler is told.
func (i *intake) reads(t testing.TB, sent []sentMessage, cut func() int) []string {
	in := i.mux.newInbound()
	for _, m := range sent {
		for rest := bytes.Clone(m.payload); ; {
			n := min(cut(), len(rest))
			end := n == len(rest)
			in.piece(rest[:n:n], m.text, end)
			if rest = rest[n:]; end {
				break
			}
		}
	}
	told := i.ear.Take()
	posts := posts(told)
	for _, m := range told {
		(&rig{mux: i.mux}).settle(m)
	}
	if held := i.mux.memory.Held(); held != 0 || in.message.Size() != 0 || i.mux.inbound.Held() != 0 {
		t.Fatalf("%d bytes are held, %d are in a message under way", held, in.message.Size())
	}
	return posts
}

var inputs = []struct {
	name  string
	input []byte
	want  []string
}{
	{"control in text", testkit.Frame(0x81, []byte(`{"type":"tcp_close","connId":"c"}`)), []string{"*messages.Close {ConnID:c Reason:}"}},
	{"control in binary", testkit.Frame(0x82, []byte(`{"type":"tcp_credit","connId":"c","bytes":7}`)), []string{"*messages.Credit {ConnID:c Bytes:7}"}},
	{"control in frames, a ping between", join(testkit.Frame(0x01, []byte(`{"type":"tcp_`)), testkit.Frame(0x89, []byte("p")), testkit.Frame(0x00, nil), testkit.Frame(0x80, []byte(`close","connId":"c"}`))), []string{"*messages.Close {ConnID:c Reason:}"}},
	{"unknown control", testkit.Frame(0x81, []byte(`{"type":"dance"}`)), nil},
	{"data", testkit.Frame(0x82, dataMessage("0123456789ab", []byte("hello"))), []string{"data 0123456789ab: hello"}},
	{"data in frames", join(testkit.Frame(0x02, dataMessage("c", []byte("he"))), testkit.Frame(0x00, []byte("ll")), testkit.Frame(0x80, []byte("o"))), []string{"data c: hello"}},
	{"data cut in its header", join(testkit.Frame(0x02, []byte{0, 0}), testkit.Frame(0x00, []byte{0, 2, 'i'}), testkit.Frame(0x80, []byte("dpayload"))), []string{"data id: payload"}},
	{"data that looks like JSON", testkit.Frame(0x82, dataMessage("c", []byte(`{"type":"tcp_close","connId":"c"}`))), []string{`data c: {"type":"tcp_close","connId":"c"}`}},
	{"data without payload", testkit.Frame(0x82, dataMessage("c", nil)), nil},
	{"two connections", join(testkit.Frame(0x82, dataMessage("a", []byte("1"))), testkit.Frame(0x82, dataMessage("b", []byte("2"))), testkit.Frame(0x82, dataMessage("a", []byte("3")))), []string{"data a: 1", "data b: 2", "data a: 3"}},
	{"the longest id", testkit.Frame(0x82, dataMessage(strings.Repeat("i", messages.MaxConnID), []byte("x"))), []string{"data " + strings.Repeat("i", messages.MaxConnID) + ": x"}},
	{"a longer id", join(testkit.Frame(0x82, dataMessage(strings.Repeat("i", messages.MaxConnID+1), []byte("x"))), testkit.Frame(0x82, dataMessage("c", []byte("y")))), []string{"garbage: a data frame whose connId is too long", "data c: y"}},
	{"an empty id", join(testkit.Frame(0x82, dataMessage("", []byte("x"))), testkit.Frame(0x82, dataMessage("c", []byte("y")))), []string{"data : x", "data c: y"}},
	{"an empty id without payload", join(testkit.Frame(0x82, dataMessage("", nil)), testkit.Frame(0x82, dataMessage("c", []byte("y")))), []string{"data c: y"}},
	{"an endless id", testkit.Frame(0x82, []byte("\xff\xff\xff\xffxyz")), []string{"garbage: a data frame whose connId is too long"}},
	{"data that ends in its length", testkit.Frame(0x82, []byte{0, 0, 0}), []string{"garbage: a data frame that ends in its header"}},
	{"data that ends in its id", testkit.Frame(0x82, []byte{0, 0, 0, 5, 'a'}), []string{"garbage: a data frame that ends in its header"}},
	{"data after one that ends in its id", join(testkit.Frame(0x82, []byte{0, 0, 0, 5, 'a'}), testkit.Frame(0x82, dataMessage("c", []byte("y")))), []string{"garbage: a data frame that ends in its header", "data c: y"}},
	{"empty messages", join(testkit.Frame(0x82, nil), testkit.Frame(0x81, nil)), []string{"garbage: a data frame that ends in its header", "garbage: a data frame that ends in its header"}},
	{"text that is no JSON", testkit.Frame(0x81, []byte("hello")), []string{"garbage: a field of a control message has the wrong type"}},
	{"data in text", testkit.Frame(0x81, dataMessage("c", []byte("y"))), []string{"garbage: a field of a control message has the wrong type"}},
	{"broken JSON, and life goes on", join(testkit.Frame(0x81, []byte("{")), testkit.Frame(0x81, []byte(`{"type":"tcp_close","connId":"c"}`))), []string{"garbage: a control message is not valid JSON", "*messages.Close {ConnID:c Reason:}"}},
	{"after the close nothing", join(testkit.Frame(0x88, nil), testkit.Frame(0x82, dataMessage("c", []byte("y")))), nil},
	{"a long response", testkit.Frame(0x81, []byte(`{"type":"http_response","id":"i","status":200,"body":"`+strings.Repeat("a", 70_000)+`"}`)),
		[]string{fmt.Sprintf("%T %+v", &messages.Response{}, messages.Response{ID: "i", Status: 200, Body: bytes.Repeat([]byte("a"), 70_000)})}},
}

func TestWhatAClientSends(t *testing.T) {
	i := newIntake(t)
	for _, c := range inputs {
		for _, n := range []int{1 << 20, 1, 3} {
			if got := i.reads(t, sentMessages(c.input), func() int { return n }); !slices.Equal(got, c.want) {
				t.Errorf("%s, %d bytes at a time: %.200q, want %.200q", c.name, n, got, c.want)
			}
		}
	}
}

// The same with real sockets, where a frame ends wherever it likes.
func TestWhatAClientSendsOverItsWebSocket(t *testing.T) {
	const mark = `{"type":"tcp_close","connId":"mark"}`
	for _, c := range inputs {
		for _, n := range []int{1 << 20, 7} {
			r := startRig(t, rigOptions{})
			input := append(slices.Clone(c.input), testkit.Frame(0x81, []byte(mark))...)
			for piece := range slices.Chunk(input, n) {
				if _, err := r.peer.Write(piece); err != nil {
					t.Fatal(err)
				}
				if len(input) > 1000 && n < 1000 {
					n = 1000 // a long one need not be cut everywhere
				}
			}
			var told []any
			closed := strings.Contains(c.name, "close nothing")
			for done := false; !done; {
				if closed {
					testkit.Hears[*messages.MuxEnded](r.tunnel)
					told, done = r.handler.Take(), true
					break
				}
				m := testkit.Hears[any](r.handler)
				r.settle(m)
				from, _ := m.(*messages.FromClient)
				if from != nil {
					end, _ := from.Message.(*messages.Close)
					done = end != nil && end.ConnID == "mark"
				}
				if !done {
					told = append(told, m)
				}
			}
			if got := posts(told); !slices.Equal(got, c.want) {
				t.Errorf("%s, %d bytes at a time: %.200q, want %.200q", c.name, n, got, c.want)
			}
		}
	}
}

// However the bytes are cut, the same comes of them.
func FuzzInbound(f *testing.F) {
	for n, c := range inputs {
		for _, m := range sentMessages(c.input) {
			if len(m.payload) < 4096 {
				f.Add(m.payload, uint64(n), false)
			}
		}
	}
	f.Add([]byte("c\x05hello\x0b{\"type\":\"a\"}"), uint64(1), true)
	i := newIntake(f)
	f.Fuzz(func(t *testing.T, input []byte, seed uint64, many bool) {
		sent := []sentMessage{{input, seed%2 == 0}}
		if many {
			sent = messagesOf(input, seed)
		}
		whole := i.reads(t, sent, func() int { return len(input) + 100 })
		random := rand.New(rand.NewPCG(seed, 2))
		for name, cut := range map[string]func() int{
			"single": func() int { return 1 }, "random": func() int { return 1 + random.IntN(1+random.IntN(60)) },
		} {
			if name == "single" && len(input) > 16<<10 {
				continue
			}
			if got := i.reads(t, sent, cut); !reflect.DeepEqual(got, whole) {
				t.Fatalf("in %s pieces %q, in one %q", name, got, whole)
			}
		}
	})
}

// messagesOf makes messages of arbitrary bytes, some of them data frames.
func messagesOf(b []byte, seed uint64) (sent []sentMessage) {
	random := rand.New(rand.NewPCG(seed, 3))
	for len(b) > 0 {
		n := min(random.IntN(1+len(b)), 300)
		message := b[:n]
		b = b[max(n, 1):]
		if random.IntN(2) == 0 {
			message = dataMessage([]string{"a", "b", "0123456789ab", ""}[random.IntN(4)], message)
		}
		sent = append(sent, sentMessage{message, random.IntN(2) == 0})
	}
	return sent
}

// Actors that do not handle what they are told stop the reader: after the
// window, no more is read.
func TestReaderWaitsForTheActors(t *testing.T) {
	r := startRig(t, rigOptions{})
	chunk := dataMessage("c", testkit.Pattern(16<<10))
	stop := make(chan struct{})
	written := make(chan int, 1)
	go func() {
		n := 0
		defer func() { written <- n }()
		for {
			select {
			case <-stop:
				return
			default:
			}
			if r.client.WriteMessage(websocket.BinaryMessage, chunk) != nil {
				return
			}
			n++
		}
	}()
	testkit.Eventually(t, "the reader stops", func() bool {
		held := r.mux.inbound.Held()
		return held >= inboundWindow && !r.mux.session.Conn().Reading() && r.mux.received.Load() > 0
	})
	if held := r.mux.inbound.Held(); held > inboundWindow+wsock.BufferSize+100*messageCost {
		t.Errorf("%d bytes are on their way to the actors", held)
	}
	before := r.mux.received.Load()
	// The one is handled: the reader goes on, and stops again.
	for _, m := range r.handler.Take() {
		r.settle(m)
	}
	testkit.Eventually(t, "the reader goes on", func() bool { return r.mux.received.Load() >= before+inboundWindow/2 })
	close(stop)
	r.handles(func(any) {})
	testkit.Receive(t, written)
}

// Messages of no payload cost as well: a client can't fill a mailbox with them.
func TestReaderWaitsForTheActorsHoweverSmallTheMessages(t *testing.T) {
	r := startRig(t, rigOptions{})
	flood := bytes.Repeat(testkit.Frame(0x82, dataMessage("c", []byte("x"))), 1000)
	go func() {
		for range 1000 {
			if _, err := r.peer.Write(flood); err != nil {
				return
			}
		}
	}()
	testkit.Eventually(t, "the reader stops", func() bool { return r.mux.inbound.Held() >= inboundWindow })
	most := inboundWindow/messageCost + wsock.BufferSize/len(testkit.Frame(0x82, dataMessage("c", []byte("x"))))
	if n := r.handler.Count(); n > most {
		t.Errorf("%d messages wait, want at most %d", n, most)
	}
	r.peer.Close()
}

// A client that makes the proxy answer, and does not read the answers, is not
// read on.
func TestReaderWaitsForAClientThatDoesNotRead(t *testing.T) {
	r := startRig(t, rigOptions{})
	large := make([]byte, 64<<10)
	for i := range large {
		large[i] = '{'
	}
	for r.mux.queue.Backlog() < 2*controlBacklog { // whatever the kernels still take
		r.mux.Control(large)
	}
	r.clientSends(websocket.TextMessage, []byte(`{"type":"tcp_close","connId":"a"}`)) // is read: the reader waited for it already
	testkit.Hears[*messages.FromClient](r.handler)
	r.mux.Handled(33)
	r.clientSends(websocket.TextMessage, []byte(`{"type":"tcp_close","connId":"b"}`))
	testkit.Eventually(t, "the reader waits", func() bool { return !r.mux.session.Conn().Reading() })
	if r.handler.Count() != 0 {
		t.Error("the client was read on")
	}
	go func() { // the client reads at last
		for {
			if _, err := r.tryRead(); err != nil && !strings.Contains(err.Error(), "invalid character") {
				return
			}
		}
	}()
	if m := testkit.Hears[*messages.FromClient](r.handler); m.Message.(*messages.Close).ConnID != "b" {
		t.Errorf("the second message is %+v", m)
	}
	r.mux.Handled(33)
}

// While back-pressure keeps the proxy from reading, silence is not held against
// the client (protocol, section 3), and a message that waits counts as nothing.
func TestKeepaliveForgivesWhileReadingIsStopped(t *testing.T) {
	r := startRig(t, rigOptions{keepalive: 40 * time.Millisecond}) // given up after 100 ms
	go func() {                                                    // it answers no ping: it does not read
		for range 20 {
			_ = r.client.WriteMessage(websocket.BinaryMessage, dataMessage("c", make([]byte, 64<<10)))
		}
	}()
	testkit.Eventually(t, "the reader waits", func() bool { return r.mux.received.Load() > 0 && !r.mux.session.Conn().Reading() })
	<-time.After(time.Second)
	if n := r.tunnel.Count(); n != 0 {
		t.Fatalf("the tunnel is told %+v", r.tunnel.Take()[0])
	}
	r.handles(func(any) {})
	if m := testkit.Hears[*messages.MuxEnded](r.tunnel); m.Reason != messages.ReasonClientSilent { // now it is
		t.Errorf("the Mux ended for %s", m.Reason)
	}
}

func BenchmarkInbound(b *testing.B) {
	i := newIntake(b)
	message := dataMessage("0123456789ab", testkit.Pattern(4<<10))
	in := i.mux.newInbound()
	b.SetBytes(16 * int64(len(message)))
	b.ReportAllocs()
	for b.Loop() {
		for range 16 {
			in.piece(message, false, true)
		}
		for _, m := range i.ear.Take() {
			(&rig{mux: i.mux}).settle(m)
		}
	}
}
