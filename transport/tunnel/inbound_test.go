package tunnel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/actors"
	"wsproxy/messages"
)

// tunnelPosts is what comes of a client's bytes: pieces of a connection's data
// that follow each other are one, for their number is of no meaning.
func tunnelPosts(told []any) (posts []string) {
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

// A tunnelIntake is an inbound with an ear for a handler, and the decoder in
// front of it.
type tunnelIntake struct {
	link *Mux
	ear  *tunnelEar
}

func newTunnelIntake(t testing.TB) *tunnelIntake {
	system := actors.NewSystem(slog.New(slog.DiscardHandler))
	t.Cleanup(system.Shutdown)
	l := New(&Settings{root: system.Root, total: NewBudget(nil, 1<<40), buffer: 1 << 40, timeout: time.Hour}, dialectText, false)
	ear := newTunnelEar(t, system)
	l.handler = ear.pid
	return &tunnelIntake{link: l, ear: ear}
}

// reads does what pumpIn does with bytes that come in these pieces.
func (i *tunnelIntake) reads(t testing.TB, input []byte, cut func() int) []string {
	d := decoder{onPing: func([]byte) {}, byWord: true, texts: true, limit: 1 << 20}
	in := inbound{link: i.link}
	input = bytes.Clone(input)
	for len(input) > 0 {
		n := min(cut(), len(input))
		for rest := input[:n:n]; len(rest) > 0; {
			var data []byte
			var result decoded
			data, rest, result, _ = d.decode(rest)
			if len(data) > 0 || result == decodedMessage {
				in.piece(data, d.isText, result == decodedMessage)
			}
			if result == decodedBad || result == decodedClose {
				input = input[:n]
				break
			}
		}
		input = input[n:]
	}
	told := i.ear.take()
	posts := tunnelPosts(told)
	for _, m := range told {
		(&tunnelRig{link: i.link}).settle(m)
	}
	// What is left is the message under way: no more, no less.
	if held := i.link.tools.total.held.Load(); held != int64(len(in.message)) || i.link.inbound.held.Load() != 0 {
		t.Fatalf("%d bytes are held, %d are in the message under way", held, len(in.message))
	}
	i.link.answers.add(int64(-len(in.message)))
	return posts
}

var tunnelInputs = []struct {
	name  string
	input []byte
	want  []string
}{
	{"control in text", wsFrame(0x81, []byte(`{"type":"tcp_close","connId":"c"}`)), []string{"*messages.Close {ConnID:c Reason:}"}},
	{"control in binary", wsFrame(0x82, []byte(`{"type":"tcp_credit","connId":"c","bytes":7}`)), []string{"*messages.Credit {ConnID:c Bytes:7}"}},
	{"control in frames, a ping between", join(wsFrame(0x01, []byte(`{"type":"tcp_`)), wsFrame(0x89, []byte("p")), wsFrame(0x00, nil), wsFrame(0x80, []byte(`close","connId":"c"}`))), []string{"*messages.Close {ConnID:c Reason:}"}},
	{"unknown control", wsFrame(0x81, []byte(`{"type":"dance"}`)), nil},
	{"data", wsFrame(0x82, tunnelData("0123456789ab", []byte("hello"))), []string{"data 0123456789ab: hello"}},
	{"data in frames", join(wsFrame(0x02, tunnelData("c", []byte("he"))), wsFrame(0x00, []byte("ll")), wsFrame(0x80, []byte("o"))), []string{"data c: hello"}},
	{"data cut in its header", join(wsFrame(0x02, []byte{0, 0}), wsFrame(0x00, []byte{0, 2, 'i'}), wsFrame(0x80, []byte("dpayload"))), []string{"data id: payload"}},
	{"data that looks like JSON", wsFrame(0x82, tunnelData("c", []byte(`{"type":"tcp_close","connId":"c"}`))), []string{`data c: {"type":"tcp_close","connId":"c"}`}},
	{"data without payload", wsFrame(0x82, tunnelData("c", nil)), nil},
	{"two connections", join(wsFrame(0x82, tunnelData("a", []byte("1"))), wsFrame(0x82, tunnelData("b", []byte("2"))), wsFrame(0x82, tunnelData("a", []byte("3")))), []string{"data a: 1", "data b: 2", "data a: 3"}},
	{"the longest id", wsFrame(0x82, tunnelData(strings.Repeat("i", messages.MaxConnID), []byte("x"))), []string{"data " + strings.Repeat("i", messages.MaxConnID) + ": x"}},
	{"a longer id", join(wsFrame(0x82, tunnelData(strings.Repeat("i", messages.MaxConnID+1), []byte("x"))), wsFrame(0x82, tunnelData("c", []byte("y")))), []string{"garbage: a data frame whose connId is too long", "data c: y"}},
	{"an empty id", join(wsFrame(0x82, tunnelData("", []byte("x"))), wsFrame(0x82, tunnelData("c", []byte("y")))), []string{"data : x", "data c: y"}},
	{"an empty id without payload", join(wsFrame(0x82, tunnelData("", nil)), wsFrame(0x82, tunnelData("c", []byte("y")))), []string{"data c: y"}},
	{"an endless id", wsFrame(0x82, []byte("\xff\xff\xff\xffxyz")), []string{"garbage: a data frame whose connId is too long"}},
	{"data that ends in its length", wsFrame(0x82, []byte{0, 0, 0}), []string{"garbage: a data frame that ends in its header"}},
	{"data that ends in its id", wsFrame(0x82, []byte{0, 0, 0, 5, 'a'}), []string{"garbage: a data frame that ends in its header"}},
	{"data after one that ends in its id", join(wsFrame(0x82, []byte{0, 0, 0, 5, 'a'}), wsFrame(0x82, tunnelData("c", []byte("y")))), []string{"garbage: a data frame that ends in its header", "data c: y"}},
	{"empty messages", join(wsFrame(0x82, nil), wsFrame(0x81, nil)), []string{"garbage: a data frame that ends in its header", "garbage: a data frame that ends in its header"}},
	{"text that is no JSON", wsFrame(0x81, []byte("hello")), []string{"garbage: a field of a control message has the wrong type"}},
	{"data in text", wsFrame(0x81, tunnelData("c", []byte("y"))), []string{"garbage: a field of a control message has the wrong type"}},
	{"broken JSON, and life goes on", join(wsFrame(0x81, []byte("{")), wsFrame(0x81, []byte(`{"type":"tcp_close","connId":"c"}`))), []string{"garbage: a control message is not valid JSON", "*messages.Close {ConnID:c Reason:}"}},
	{"after the close nothing", join(wsFrame(0x88, nil), wsFrame(0x82, tunnelData("c", []byte("y")))), nil},
	{"a long response", wsFrame(0x81, []byte(`{"type":"http_response","id":"i","status":200,"body":"`+strings.Repeat("a", 70_000)+`"}`)),
		[]string{fmt.Sprintf("%T %+v", &messages.Response{}, messages.Response{ID: "i", Status: 200, Body: bytes.Repeat([]byte("a"), 70_000)})}},
}

func TestWhatAClientSends(t *testing.T) {
	i := newTunnelIntake(t)
	for _, c := range tunnelInputs {
		for _, n := range []int{1 << 20, 1, 3} {
			if got := i.reads(t, c.input, func() int { return n }); !reflect.DeepEqual(got, c.want) && len(got)+len(c.want) > 0 {
				t.Errorf("%s, %d bytes at a time: %.200q, want %.200q", c.name, n, got, c.want)
			}
		}
	}
}

// However the bytes are cut, the same comes of them.
func FuzzInbound(f *testing.F) {
	for n, c := range tunnelInputs {
		if len(c.input) < 4096 {
			f.Add(c.input, uint64(n), false)
		}
	}
	f.Add([]byte("c\x05hello\x0b{\"type\":\"a\"}"), uint64(1), true)
	i := newTunnelIntake(f)
	f.Fuzz(func(t *testing.T, input []byte, seed uint64, framed bool) {
		if framed {
			input = tunnelFramed(input, seed)
		}
		whole := i.reads(t, input, func() int { return len(input) })
		random := rand.New(rand.NewPCG(seed, 2))
		for name, cut := range map[string]func() int{
			"single": func() int { return 1 }, "random": func() int { return 1 + random.IntN(1+random.IntN(60)) },
		} {
			if name == "single" && len(input) > 16<<10 {
				continue
			}
			if got := i.reads(t, input, cut); !reflect.DeepEqual(got, whole) {
				t.Fatalf("in %s pieces %q, in one %q", name, got, whole)
			}
		}
	})
}

// tunnelFramed makes frames of arbitrary bytes: most of them would be refused
// at once if they had to be frames themselves.
func tunnelFramed(b []byte, seed uint64) (frames []byte) {
	random := rand.New(rand.NewPCG(seed, 3))
	for len(b) > 0 {
		n := min(random.IntN(1+len(b)), 300)
		message := b[:n]
		b = b[max(n, 1):]
		if random.IntN(2) == 0 {
			message = tunnelData([]string{"a", "b", "0123456789ab", ""}[random.IntN(4)], message)
		}
		first := byte(1 + random.IntN(2))
		for parts := random.IntN(3); parts > 0; parts-- {
			at := random.IntN(len(message) + 1)
			frames = append(frames, wsFrame(first, message[:at])...)
			first, message = 0, message[at:]
		}
		frames = append(frames, wsFrame(0x80|first, message)...)
	}
	return frames
}

// Actors that do not handle what they are told stop the reader: after the
// window, no more is read.
func TestReaderWaitsForTheActors(t *testing.T) {
	r := startedTunnelRig(t, false, nil)
	chunk := tunnelData("c", pattern(16<<10))
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
	eventually(t, "the reader stops", func() bool {
		held := r.link.inbound.held.Load()
		return held >= inboundWindow && !r.link.client.reading.Load() && r.link.received.Load() > 0
	})
	if held := r.link.inbound.held.Load(); held > inboundWindow+wsock.BufferSize+100*messageCost {
		t.Errorf("%d bytes are on their way to the actors", held)
	}
	before := r.link.received.Load()
	// The one is handled: the reader goes on, and stops again.
	for _, m := range r.handler.take() {
		r.settle(m)
	}
	eventually(t, "the reader goes on", func() bool { return r.link.received.Load() >= before+inboundWindow/2 })
	close(stop)
	r.handles(func(any) {})
	receive(t, written)
}

// Messages of no payload cost as well: a client can't fill a mailbox with them.
func TestReaderWaitsForTheActorsHoweverSmallTheMessages(t *testing.T) {
	r := startedTunnelRig(t, false, nil)
	flood := bytes.Repeat(wsFrame(0x82, tunnelData("c", []byte("x"))), 1000)
	go func() {
		for range 1000 {
			if _, err := r.peer.Write(flood); err != nil {
				return
			}
		}
	}()
	eventually(t, "the reader stops", func() bool { return r.link.inbound.held.Load() >= inboundWindow })
	most := inboundWindow/messageCost + wsock.BufferSize/len(wsFrame(0x82, tunnelData("c", []byte("x"))))
	if n := r.handler.count(); n > most {
		t.Errorf("%d messages wait, want at most %d", n, most)
	}
	r.peer.Close()
}

// A client that makes the proxy answer, and does not read the answers, is not
// read on.
func TestReaderWaitsForAClientThatDoesNotRead(t *testing.T) {
	r := startedTunnelRig(t, false, nil)
	large := make([]byte, 64<<10)
	for i := range large {
		large[i] = '{'
	}
	for r.link.lanes.backlog() < 2*controlBacklog { // whatever the kernels still take
		r.link.Control(large)
	}
	r.clientSends(websocket.TextMessage, []byte(`{"type":"tcp_close","connId":"a"}`)) // is read: the reader waited for it already
	hears[*messages.FromClient](r.handler)
	r.link.Handled(33)
	r.clientSends(websocket.TextMessage, []byte(`{"type":"tcp_close","connId":"b"}`))
	eventually(t, "the reader waits", func() bool { return !r.link.client.reading.Load() })
	if r.handler.count() != 0 {
		t.Error("the client was read on")
	}
	go func() { // the client reads at last
		for {
			if _, err := r.tryRead(); err != nil && !strings.Contains(err.Error(), "invalid character") {
				return
			}
		}
	}()
	if m := hears[*messages.FromClient](r.handler); m.Message.(*messages.Close).ConnID != "b" {
		t.Errorf("the second message is %+v", m)
	}
	r.link.Handled(33)
}

// While back-pressure keeps the proxy from reading, silence is not held against
// the client (protocol, section 3), and a message that waits counts as nothing.
func TestKeepaliveForgivesWhileReadingIsStopped(t *testing.T) {
	keepalive := NewKeepalive(8 * time.Millisecond) // a beat each millisecond
	t.Cleanup(keepalive.Close)
	r := startedTunnelRig(t, false, func(tools *Settings) { tools.keepalive = keepalive })
	go func() { // it answers no ping: it does not read
		for range 20 {
			_ = r.client.WriteMessage(websocket.BinaryMessage, tunnelData("c", make([]byte, 64<<10)))
		}
	}()
	eventually(t, "the reader waits", func() bool { return r.link.received.Load() > 0 && !r.link.client.reading.Load() })
	beats := time.NewTicker(time.Millisecond)
	defer beats.Stop()
	for range 10 * beatsOfPatience {
		<-beats.C
	}
	if n := r.tunnel.count(); n != 0 {
		t.Fatalf("the tunnel is told %+v", r.tunnel.take()[0])
	}
	r.handles(func(any) {})
	if m := hears[*messages.MuxEnded](r.tunnel); m.Reason != messages.ReasonClientSilent { // now it is
		t.Errorf("the link ended for %s", m.Reason)
	}
}

func BenchmarkTunnelInbound(b *testing.B) {
	i := newTunnelIntake(b)
	frames := bytes.Repeat(wsFrame(0x82, tunnelData("0123456789ab", pattern(4<<10))), 16)
	room := make([]byte, len(frames))
	d := decoder{onPing: func([]byte) {}, byWord: true, texts: true, limit: 1 << 20}
	in := inbound{link: i.link}
	b.SetBytes(int64(binary.Size(frames)))
	b.ReportAllocs()
	for b.Loop() {
		copy(room, frames)
		for rest := room; len(rest) > 0; {
			var data []byte
			var result decoded
			data, rest, result, _ = d.decode(rest)
			in.piece(data, d.isText, result == decodedMessage)
		}
		for _, m := range i.ear.take() {
			(&tunnelRig{link: i.link}).settle(m)
		}
	}
}
