package tunnel

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"

	"wsproxy/messages"
)

func TestReadyComesFirstAndControlAsAgreed(t *testing.T) {
	for d, kind := range map[dialect]int{dialectText: websocket.TextMessage, dialectBinary: websocket.BinaryMessage} {
		r := newTunnelRig(t, d, false, nil)
		r.link.Start(r.handler.pid, messages.EncodeReady(messages.Ready{TunnelURL: "u"}))
		for _, n := range []int{0, 100, 110, 200, 1 << 16, 3 << 20} { // at and around the lengths at which the header changes
			r.link.Control([]byte(`{"type":"` + strings.Repeat("a", n) + `"}`))
		}
		for i, want := range []int{0, 100, 110, 200, 1 << 16, 3 << 20} {
			if i == 0 {
				if got, first, err := r.client.ReadMessage(); err != nil || got != kind || string(first) != `{"type":"tunnel_ready","tunnelUrl":"u","rawPort":0}` {
					t.Fatalf("the first message is %d %q, %v", got, first, err)
				}
			}
			if got, m, err := r.client.ReadMessage(); err != nil || got != kind || len(m) != want+len(`{"type":""}`) {
				t.Fatalf("message %d: %d, %d bytes, %v", i, got, len(m), err)
			}
		}
		eventually(t, "what was sent is counted", func() bool { sent, _ := r.link.Moved(); return sent > 3<<20 })
	}
}

// Frames of several goroutines that wait together go out whole.
func TestConcurrentControlMessagesArriveWhole(t *testing.T) {
	const senders, each = 4, 300
	r := startedTunnelRig(t, false, nil)
	var all sync.WaitGroup
	for i := range senders {
		all.Go(func() {
			for j := range each {
				r.link.Control(fmt.Appendf(nil, `{"type":"m","connId":"%d","n":%d,"x":%q}`, i, j, strings.Repeat("y", j*j%3000)))
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
	eventually(t, "what was charged is given back", func() bool { return r.tools.total.held.Load() == 0 })
}

// One call may write many frames. They arrive in order and whole, though the
// kernel takes them in parts and pings go out beside them.
func TestSocketWritesManyBuffersAtOnce(t *testing.T) {
	near, far := tcpPair(t)
	_ = far.SetWriteBuffer(16 << 10)
	s, err := newSocket(far)
	if err != nil {
		t.Fatal(err)
	}
	client := gorillaClient(t, near)
	const calls, frames = 5, 1500 // more than the kernel takes at once: 1024
	go func() {
		for i := range calls {
			var bufs [][]byte
			for j := range frames {
				p := fmt.Appendf(nil, "%d %d %s", i, j, pattern(j%400))
				bufs = append(bufs, wsock.AppendHeader(nil, wsock.OpBinary, len(p)), p[:len(p)/2], p[len(p)/2:])
			}
			s.ping()
			if err := s.write(bufs...); err != nil {
				t.Error(err)
			}
		}
		_ = s.writeClose(1000, "")
	}()
	for i := range calls {
		for j := range frames {
			_, p, err := client.ReadMessage()
			if err != nil || !bytes.Equal(p, fmt.Appendf(nil, "%d %d %s", i, j, pattern(j%400))) {
				t.Fatalf("frame %d of call %d is %.40q, %v", j, i, p, err)
			}
		}
	}
	if _, _, err := client.ReadMessage(); !websocket.IsCloseError(err, 1000) {
		t.Errorf("the end is %v", err)
	}
	if err := s.write([]byte("a"), []byte("b")); err != errCloseSent {
		t.Errorf("after the close frame: %v", err)
	}
}

func TestPortThatIsTakenIsTold(t *testing.T) {
	r := newTunnelRig(t, dialectText, false, nil)
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := uint16(taken.Addr().(*net.TCPAddr).Port)
	r.link.Listen(port)
	if m := hears[*messages.PortOpened](r.tunnel); m.Err == nil || m.Port != port {
		t.Errorf("the tunnel is told %+v", m)
	}
}

// A listener that ends by itself is told of, and can be opened again.
func TestListenerThatFailsIsTold(t *testing.T) {
	r := startedTunnelRig(t, false, nil)
	r.open()
	r.link.listener.Load().Close()
	if m := hears[*messages.PortFailed](r.tunnel); m.Err == nil {
		t.Error("the failure has no error")
	}
	r.link.Listen(0)
	hears[*messages.PortOpened](r.tunnel)
	r.open()
}

// So many raw connections wait for the handler; the others wait in the kernel
// until it has taken or rejected some.
func TestConnectionsWaitForTheHandler(t *testing.T) {
	r := startedTunnelRig(t, false, nil)
	const more = 8
	for range maxAccepted + more {
		r.dial()
	}
	var streams []*stream
	take := func(n int) {
		t.Helper()
		for range n {
			streams = append(streams, hears[*messages.Accepted](r.handler).Stream.(*stream))
		}
	}
	take(maxAccepted)
	if n := len(r.link.accepts); n != maxAccepted || r.handler.count() != 0 {
		t.Errorf("%d wait, and %d beside them", n, r.handler.count())
	}
	streams[0].Reject()
	streams[1].Own(r.handler.pid)
	streams[2].Abort(messages.CloseRestart)
	streams[2].Reject() // counts once
	take(3)
	if r.handler.count() != 0 {
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
	r := startedTunnelRig(t, false, nil)
	r.handles(func(any) {})
	_, before := r.link.Moved()
	frame := wsFrame(0x82, tunnelData("c", pattern(1000)))
	if _, err := r.peer.Write(frame); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what came is counted", func() bool { _, received := r.link.Moved(); return received-before == int64(len(frame)) })
}

// Frames that are not allowed end the link, with the reason; the client reads
// the close, though it goes on sending.
func TestForbiddenFramesEndTheLink(t *testing.T) {
	for name, c := range map[string]struct {
		input  []byte
		reason messages.Reason
		code   int
	}{
		"not masked":           {[]byte{0x82, 1, 'a'}, messages.ReasonProtocolError, 1002},
		"a message too long":   {join(wsFrame(0x01, make([]byte, 600)), wsFrame(0x80, make([]byte, 600))), messages.ReasonMessageTooBig, 1009},
		"a length that is not": {[]byte{0x82, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}, messages.ReasonProtocolError, 1002},
	} {
		r := startedTunnelRig(t, false, func(tools *Settings) { tools.maxMessage = 1000 })
		if _, err := r.peer.Write(append(c.input, make([]byte, 100<<10)...)); err != nil {
			t.Fatal(err)
		}
		if m := hears[*messages.MuxEnded](r.tunnel); m.Reason != c.reason {
			t.Errorf("%s: the link ended for %s", name, m.Reason)
		}
		r.link.Finish(c.reason)
		r.wantCloseCode(c.code)
		r.peer.Close()
	}
}

// wantCloseCode reads the client's connection to its end, which must be a close
// frame with this code, and returns what came before.
func (r *tunnelRig) wantCloseCode(code int) (before []tunnelMessage) {
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
	before := pooled.held()
	r := startedTunnelRig(t, false, nil)
	var conns []*tunnelConn
	for range 10 {
		c := r.open()
		conns = append(conns, c)
		if _, err := c.outside.Write(pattern(100)); err != nil {
			t.Fatal(err)
		}
		if m := r.clientReads(); m.kind != "data" || len(m.data) != 100 {
			t.Fatalf("the client reads %+v", m)
		}
		r.clientSends(websocket.BinaryMessage, tunnelData(c.ID(), pattern(100)))
		m := hears[*messages.Data](r.handler)
		r.settle(m)
		c.Hold(len(m.Data))
		c.Write(m.Data)
		if _, err := io.ReadFull(c.outside, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "no buffer is held", func() bool { return pooled.held() <= before })
	for _, c := range conns {
		c.Abort(messages.CloseShutdown)
	}
}

// The headers of a tunnel's frames, which may be longer than a buffer, are read
// by the other implementation.
func TestLongHeadersAreReadByGorilla(t *testing.T) {
	s, peer := newSocketPair(t)
	client := gorillaClient(t, peer)
	lengths := []int{0, 125, 126, 65535, 65536, 1 << 20}
	go func() {
		for _, n := range lengths {
			header := wsock.AppendHeader(nil, wsock.OpBinary, n)
			if len(header) > wsock.MaxHeader {
				t.Errorf("the header has %d bytes", len(header))
			}
			_ = s.write(header, pattern(n))
		}
	}()
	for _, n := range lengths {
		if _, p, err := client.ReadMessage(); err != nil || !bytes.Equal(p, pattern(n)) {
			t.Fatalf("length %d: %d bytes, %v", n, len(p), err)
		}
	}
}
