package tunnel

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/budget"
	"wsproxy/transport/tunnel/sendqueue"
	"wsproxy/transport/wsock"
	"wsproxy/transport/wsock/kernel"
)

func TestReadyComesFirstAndControlAsAgreed(t *testing.T) {
	for d, kind := range map[Dialect]int{Text: websocket.TextMessage, Binary: websocket.BinaryMessage} {
		r := newRig(t, rigOptions{dialect: d})
		r.mux.Prepare(r.handler.PID, messages.EncodeReady(messages.Ready{TunnelURL: "u"}))
		r.mux.Start()
		for _, n := range []int{0, 100, 110, 200, 1 << 16, 3 << 20} { // at and around the lengths at which the header changes
			r.mux.Control([]byte(`{"type":"` + strings.Repeat("a", n) + `"}`))
		}
		for i, want := range []int{0, 100, 110, 200, 1 << 16, 3 << 20} {
			if i == 0 {
				if got, first, err := r.client.ReadMessage(); err != nil || got != kind || string(first) != `{"type":"tunnel_ready","tunnelUrl":"u","rawPort":0,"rawHost":"","credentials":false}` {
					t.Fatalf("the first message is %d %q, %v", got, first, err)
				}
			}
			if got, m, err := r.client.ReadMessage(); err != nil || got != kind || len(m) != want+len(`{"type":""}`) {
				t.Fatalf("message %d: %d, %d bytes, %v", i, got, len(m), err)
			}
		}
		testkit.Eventually(t, "what was sent is counted", func() bool { sent, _ := r.mux.Moved(); return sent > 3<<20 })
	}
}

// What is sent to a client whose Mux has yet to start waits behind the first
// message.
func TestReadyComesFirstWhereRequestsComeEarly(t *testing.T) {
	r := newRig(t, rigOptions{})
	r.mux.Prepare(r.handler.PID, messages.EncodeReady(messages.Ready{TunnelURL: "u"}))
	r.mux.Control([]byte(`{"type":"early"}`))
	if !r.mux.Request("q", []byte(`{"type":"http_request"}`)) {
		t.Fatal("there is no memory for a request")
	}
	r.mux.Start()
	for _, want := range []string{"tunnel_ready", "early", "http_request"} {
		if m := r.clientReads(); m.kind != want {
			t.Errorf("then comes %+v, want %s", m, want)
		}
	}
}

// Frames of several goroutines that wait together go out whole.
func TestConcurrentControlMessagesArriveWhole(t *testing.T) {
	const senders, each = 4, 300
	r := startRig(t, rigOptions{})
	var all sync.WaitGroup
	for i := range senders {
		all.Go(func() {
			for j := range each {
				r.mux.Control(fmt.Appendf(nil, `{"type":"m","connId":"%d","n":%d,"x":%q}`, i, j, strings.Repeat("y", j*j%3000)))
			}
		})
	}
	next := map[string]int{}
	for range senders * each {
		m := r.clientReads()
		if m.kind != "m" || m.fields["n"] != float64(next[m.id]) {
			t.Fatalf("of %s comes %v, want %d", m.id, m.fields["n"], next[m.id])
		}
		next[m.id]++
	}
	all.Wait()
	testkit.Eventually(t, "what was charged is given back", func() bool { return r.settings.Memory.Held() == 0 })
}

// One call writes many frames. They arrive in order and whole, though the kernel
// takes them in parts, and pongs go out beside them.
func TestManyFramesGoOutAtOnce(t *testing.T) {
	r := startRig(t, rigOptions{})
	pongs := 0
	r.client.SetPongHandler(func(string) error { pongs++; return nil })
	r.clientStopsReading()
	const frames = 20_000 // several system calls take more than 1024 buffers each
	for i := range frames {
		r.mux.Control(fmt.Appendf(nil, `{"type":"m","n":%d,"x":%q}`, i, testkit.Pattern(i%40)))
	}
	if m := r.clientReads(); m.kind != "mark" {
		t.Fatalf("the client is told %+v", m)
	}
	for i := range frames {
		if i%100 == 0 {
			_ = r.client.WriteControl(websocket.PingMessage, []byte("p"), time.Now().Add(testkit.Patience))
		}
		_, b, err := r.client.ReadMessage()
		if want := fmt.Appendf(nil, `{"type":"m","n":%d,"x":%q}`, i, testkit.Pattern(i%40)); err != nil || !bytes.Equal(b, want) {
			t.Fatalf("frame %d is %.80q, %v", i, b, err)
		}
	}
	r.mux.Finish(messages.ReasonInternal)
	r.wantCloseCode(1011)
	if pongs == 0 {
		t.Error("no ping was answered")
	}
}

func TestPortThatIsTakenIsTold(t *testing.T) {
	r := newRig(t, rigOptions{})
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := uint16(taken.Addr().(*net.TCPAddr).Port)
	r.mux.Listen(port)
	if m := testkit.Hears[*messages.PortOpened](r.tunnel); m.Err == nil || m.Port != port {
		t.Errorf("the tunnel is told %+v", m)
	}
}

// A listener that ends by itself is told of, and can be opened again.
func TestListenerThatFailsIsTold(t *testing.T) {
	r := startRig(t, rigOptions{})
	r.open()
	r.mux.listener.Load().Close()
	if m := testkit.Hears[*messages.PortFailed](r.tunnel); m.Err == nil {
		t.Error("the failure has no error")
	}
	r.mux.Listen(0)
	testkit.Hears[*messages.PortOpened](r.tunnel)
	r.open()
}

// So many raw connections wait for the handler; the others wait in the kernel
// until it has taken or rejected some.
func TestConnectionsWaitForTheHandler(t *testing.T) {
	r := startRig(t, rigOptions{})
	const more = 8
	for range maxAccepted + more {
		r.dial()
	}
	var streams []*Stream
	take := func(n int) {
		t.Helper()
		for range n {
			streams = append(streams, testkit.Hears[*messages.Accepted](r.handler).Stream.(*Stream))
		}
	}
	take(maxAccepted)
	if n := len(r.mux.accepts); n != maxAccepted || r.handler.Count() != 0 {
		t.Errorf("%d wait, and %d beside them", n, r.handler.Count())
	}
	streams[0].Reject()
	streams[1].Own(r.handler.PID)
	streams[2].Abort(messages.CloseRestart)
	streams[2].Reject() // counts once
	take(3)
	if r.handler.Count() != 0 {
		t.Error("one was given up twice and made room twice")
	}
	for _, s := range streams[1:] {
		s.Reject()
	}
	take(more - 3)
	for _, s := range streams {
		s.Reject()
	}
}

func TestMovedCountsBothWays(t *testing.T) {
	r := startRig(t, rigOptions{})
	r.handles(func(any) {})
	_, before := r.mux.Moved()
	frame := testkit.Frame(0x82, dataMessage("c", testkit.Pattern(1000)))
	if _, err := r.peer.Write(frame); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "what came is counted", func() bool { _, received := r.mux.Moved(); return received-before == int64(len(frame)) })
}

// Frames that are not allowed end the Mux, with the reason; the client reads
// the close, though it goes on sending.
func TestForbiddenFramesEndTheMux(t *testing.T) {
	for name, c := range map[string]struct {
		input  []byte
		reason messages.Reason
		code   int
	}{
		"not masked":           {[]byte{0x82, 1, 'a'}, messages.ReasonProtocolError, 1002},
		"a message too long":   {join(testkit.Frame(0x01, make([]byte, 600)), testkit.Frame(0x80, make([]byte, 600))), messages.ReasonMessageTooBig, 1009},
		"a length that is not": {[]byte{0x82, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, messages.ReasonProtocolError, 1002},
	} {
		r := startWith(t, func(s *Settings) { s.MaxMessage = 1000 })
		if _, err := r.peer.Write(append(c.input, make([]byte, 100<<10)...)); err != nil {
			t.Fatal(err)
		}
		if m := testkit.Hears[*messages.MuxEnded](r.tunnel); m.Reason != c.reason {
			t.Errorf("%s: the Mux ended for %s", name, m.Reason)
		}
		r.mux.Finish(c.reason)
		r.wantCloseCode(c.code)
		r.peer.Close()
	}
}

// wantCloseCode reads the client's connection to its end, which must be a close
// frame with this code, and returns what came before.
func (r *rig) wantCloseCode(code int) (before []clientMessage) {
	r.t.Helper()
	for {
		m, err := r.tryRead()
		if err == nil {
			before = append(before, m)
			continue
		}
		if !websocket.IsCloseError(err, code) {
			r.t.Fatalf("the client's end is %v, want close %d", err, code)
		}
		return before
	}
}

// An idle tunnel, and an idle raw connection, hold no buffer after what went
// through them.
func TestIdleTunnelsHoldNoBuffer(t *testing.T) {
	before := pooled.Held()
	r := startRig(t, rigOptions{})
	var conns []*outsideConn
	for range 10 {
		c := r.open()
		conns = append(conns, c)
		if _, err := c.outside.Write(testkit.Pattern(100)); err != nil {
			t.Fatal(err)
		}
		if m := r.clientReads(); m.kind != "data" || len(m.data) != 100 {
			t.Fatalf("the client reads %+v", m)
		}
		r.clientSends(websocket.BinaryMessage, dataMessage(c.ID(), testkit.Pattern(100)))
		if _, err := io.ReadFull(c.outside, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, "no buffer is held", func() bool { return pooled.Held() <= before })
	for _, c := range conns {
		c.Abort(messages.CloseShutdown)
	}
}

// The headers of a tunnel's frames, which may be longer than a buffer, are read
// by the other implementation.
func TestLongHeadersAreReadByGorilla(t *testing.T) {
	peer, far := testkit.TCPPair(t)
	conn, err := wsock.NewConn(far)
	if err != nil {
		t.Fatal(err)
	}
	client := testkit.GorillaClient(t, peer)
	lengths := []int{0, 125, 126, 65535, 65536, 1 << 20}
	go func() {
		for _, n := range lengths {
			header := wsock.AppendHeader(nil, wsock.OpBinary, n)
			if len(header) > wsock.MaxHeader {
				t.Errorf("the header has %d bytes", len(header))
			}
			_ = conn.Write(header, testkit.Pattern(n))
		}
	}()
	for _, n := range lengths {
		if _, p, err := client.ReadMessage(); err != nil || !bytes.Equal(p, testkit.Pattern(n)) {
			t.Fatalf("length %d: %d bytes, %v", n, len(p), err)
		}
	}
}

// What the writer has in hand when it fails comes back, too.
func TestWriterThatFailsDropsWhatItHolds(t *testing.T) {
	gone := ""
	l := New(&Settings{Memory: budget.NewPool(1 << 30)}, func(*Mux) Dialect { return Text }, Options{User: "anyone"})
	for i := range 3 {
		l.queue.Control(sendqueue.Control(wsock.OpText, nil, func() { gone += fmt.Sprint(i) }))
	}
	defer func() {
		if recover() == nil {
			t.Error("it did not fail")
		}
		if gone != "012" {
			t.Errorf("what comes back is %q", gone)
		}
	}()
	l.inFlight.Watch(func() kernel.Sending { return kernel.Sending{} })
	l.pumpOut() // has no client to write to
}
