package gossh

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/messages"
)

// startedGosshRig is startedTunnelRig for a client that is gossh-wasm.
func startedGosshRig(t *testing.T) *tunnelRig {
	t.Helper()
	r := newTunnelRig(t, dialectGossh, false, nil)
	r.link.Listen(0)
	if m := hears[*messages.PortOpened](r.tunnel); m.Err != nil {
		t.Fatal(m.Err)
	}
	r.link.Start(r.handler.pid, messages.EncodeReady(messages.Ready{TunnelURL: "u"}))
	if kind, b, err := r.client.ReadMessage(); err != nil || kind != websocket.BinaryMessage || b[0] != '{' {
		t.Fatalf("the first message is %q, of type %d, %v", b, kind, err)
	}
	return r
}

// barrier reads the request that comes right behind tcp_open, and returns the
// answer to it.
func (r *tunnelRig) barrier() (answer []byte) {
	r.t.Helper()
	m := r.clientReads()
	if m.kind != "http_request" || m.fields["path"] != "-" {
		r.t.Fatalf("behind tcp_open comes %+v", m)
	}
	return []byte(`{"type":"http_response","id":"` + m.fields["id"].(string) + `","status":400}`)
}

func TestGosshBytesWaitForTheBarrier(t *testing.T) {
	r := startedGosshRig(t)
	c := r.open()
	answer := r.barrier()
	_, _ = c.outside.Write([]byte("hello"))
	answered := time.Now()
	r.clientSends(websocket.BinaryMessage, answer)
	if m := r.clientReads(); m.kind != "data" || string(m.data) != "hello" {
		t.Fatalf("then comes %+v", m)
	}
	if took := time.Since(answered); took < gosshSettles {
		t.Errorf("bytes came %v after the barrier's answer, want at least %v", took, gosshSettles)
	}
	if n := r.handler.count(); n != 0 {
		t.Errorf("the handler heard %d messages of the barrier's answer", n)
	}
	if held := r.link.inbound.held.Load(); held != 0 {
		t.Errorf("%d bytes are still charged for the answer", held)
	}
	_, _ = c.outside.Write([]byte("again"))
	if m := r.clientReads(); string(m.data) != "again" {
		t.Errorf("then comes %+v", m)
	}
}

func TestGosshBytesGoWhenTheClientSpeaks(t *testing.T) {
	r := startedGosshRig(t)
	c := r.open()
	r.barrier() // is never answered
	_, _ = c.outside.Write([]byte("hello"))
	r.clientSends(websocket.BinaryMessage, tunnelData(c.ID(), []byte("banner")))
	if m := r.clientReads(); m.kind != "data" || string(m.data) != "hello" {
		t.Fatalf("then comes %+v", m)
	}
	g := r.link.gossh
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.openings) != 0 {
		t.Errorf("%d openings are left", len(g.openings))
	}
}

// The answer to a barrier that nobody waits for is not taken for one to a
// request; and one that never comes is forgotten.
func TestGosshLateBarriers(t *testing.T) {
	r := startedGosshRig(t)
	c := r.open()
	answer := r.barrier()
	r.clientSends(websocket.BinaryMessage, tunnelData(c.ID(), []byte("banner")))
	hears[*messages.Data](r.handler)
	r.clientSends(websocket.BinaryMessage, answer)
	r.clientSends(websocket.BinaryMessage, tunnelData(c.ID(), []byte("more")))
	if m := hears[*messages.Data](r.handler); string(m.Data) != "more" {
		t.Errorf("the handler hears %+v", m)
	}
	r.link.Handled(len("banner"))
	r.link.Handled(len("more"))

	g := r.link.gossh
	for range gosshBarriers + 10 {
		s := &stream{link: r.link, id: messages.NewID(messages.IDBytes)}
		g.announce(s)
		g.forget(s)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.barriers) > gosshBarriers {
		t.Errorf("%d barriers are remembered", len(g.barriers))
	}
}

func TestGosshForgetsWhatCameToNothing(t *testing.T) {
	r := startedGosshRig(t)
	c := r.open()
	r.barrier()
	_, _ = c.outside.Write([]byte("hello"))
	c.Abort(messages.CloseReset)
	if m := r.clientReads(); m.kind != "tcp_close" {
		t.Fatalf("then comes %+v", m)
	}
	hears[*messages.StreamClosed](c.ear)
	g := r.link.gossh
	eventually(t, "the opening is forgotten", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.openings) == 0
	})
	if !g.knows([]byte(c.ID())) {
		t.Error("the id is forgotten, though messages about it may be on their way")
	}
}

func TestGosshPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p gosshPace
		for i := range gosshBurst {
			if wait := p.next(1); wait != 0 {
				t.Fatalf("frame %d of a burst waits %v", i, wait)
			}
		}
		if wait := p.next(1); wait != gosshStep {
			t.Errorf("the first frame beyond waits %v, want %v", wait, gosshStep)
		}
		if wait := p.next(gosshSmall); wait != 0 {
			t.Errorf("a large frame waits %v", wait)
		}
		time.Sleep(gosshStep * (gosshBurst + 1))
		if wait := p.next(1); wait != 0 {
			t.Errorf("a frame after a pause waits %v", wait)
		}
		if wait := (*gosshPace)(nil).next(1); wait != 0 {
			t.Errorf("other clients' frames wait %v", wait)
		}
	})
}

// The ids that are certain to be remembered are the latest.
func TestGosshRemembersTheLatest(t *testing.T) {
	r := newBareTunnelRig(t, dialectGossh, false, nil)
	g := r.link.gossh
	id := func(i int) string {
		return strings.Repeat("0", 6) + string([]byte{'a' + byte(i>>16), 'a' + byte(i>>12&15), 'a' + byte(i>>8&15), 'a' + byte(i>>4&15), 'a' + byte(i&15), 'x'})
	}
	const all = 3*gosshRemembers + 5
	for i := range all {
		g.remember(id(i))
	}
	for i := all - gosshRemembers; i < all; i++ {
		if !g.knows([]byte(id(i))) {
			t.Fatalf("number %d of %d is forgotten", i, all)
		}
	}
	if g.knows([]byte(id(0))) {
		t.Error("the first of all is still remembered")
	}
}

// What waits together in a lane goes out as one frame, up to the limit.
func TestGosshFramesAreJoined(t *testing.T) {
	var dropped int
	l := newLanes(func(frame) { dropped++ })
	l.join = gosshMessage - messages.DataHeader
	n := l.newLane()
	n.room = make(chan struct{}, 100)
	var sent []byte
	for _, size := range []int{1, 100, 120, 30_000, 32_000, 3_000, 32_000, 32_000, 0} {
		if size == 0 {
			n.send(frame{bytes: controlFrame(opBinary, []byte("{}"))}, true)
			break
		}
		buf := new(buffer)
		payload := pattern(size)
		copy(buf[dataRoom:], payload)
		sent = append(sent, payload...)
		n.send(payloadFrame(buf, gosshID, size), false)
	}
	var wire bytes.Buffer
	for {
		batch, _ := l.take(nil, false)
		if len(batch) == 0 {
			break
		}
		for _, f := range batch {
			wire.Write(f.head[:f.headed])
			wire.Write(f.bytes)
		}
	}
	var got []byte
	sizes := []int{}
	for wire.Len() > 0 {
		m := readServerFrame(t, &wire)
		if m[0] == '{' {
			continue
		}
		if string(m[4:messages.DataHeader]) != gosshID {
			t.Fatalf("a frame begins with %q", m[:messages.DataHeader])
		}
		if len(m) > gosshMessage {
			t.Errorf("a message of %d bytes", len(m))
		}
		sizes = append(sizes, len(m)-messages.DataHeader)
		got = append(got, m[messages.DataHeader:]...)
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came of %d", len(got), len(sent))
	}
	if len(sizes) != 2 {
		t.Errorf("payloads of %d bytes, want two", sizes)
	}
}

// readServerFrame reads one unmasked frame.
func readServerFrame(t *testing.T, r io.Reader) []byte {
	t.Helper()
	head := make([]byte, 2)
	if _, err := io.ReadFull(r, head); err != nil {
		t.Fatal(err)
	}
	n := int(head[1])
	if n >= 126 {
		more := make([]byte, map[int]int{126: 2, 127: 8}[n])
		_, _ = io.ReadFull(r, more)
		n = 0
		for _, c := range more {
			n = n<<8 | int(c)
		}
	}
	m := make([]byte, n)
	if _, err := io.ReadFull(r, m); err != nil {
		t.Fatal(err)
	}
	return m
}
