package gossh

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/tunnelrig"
	"wsproxy/messages"
	"wsproxy/transport/tunnel"
	"wsproxy/transport/wsock"
)

func TestControlMessagesAreBinary(t *testing.T) {
	r := newRig(t)
	r.Mux.Control([]byte("{}"))
	if kind, b, err := r.Client.ReadMessage(); err != nil || kind != websocket.BinaryMessage || string(b) != "{}" {
		t.Errorf("%q comes, of type %d, %v", b, kind, err)
	}
	if op := r.dialect.ControlOpcode(); op != wsock.OpBinary {
		t.Errorf("the opcode is %d", op)
	}
	if longest := messages.DataHeader + r.dialect.MaxCoalesced(); longest != 64<<10 {
		t.Errorf("the longest message has %d bytes", longest)
	}
}

func TestBytesWaitForTheBarrier(t *testing.T) {
	r := newRig(t)
	_, outer := r.Dials()
	answer := r.barrier()
	wrote := make(chan struct{})
	go func() {
		defer close(wrote)
		_, _ = outer.Write([]byte("hello"))
	}()
	answered := time.Now()
	r.Sends(answer)
	if m := r.Reads(); m.Type != "data" || string(m.Data) != "hello" {
		t.Fatalf("then comes %+v", m)
	}
	if took := time.Since(answered); took < settles {
		t.Errorf("bytes came %v after the barrier's answer, want at least %v", took, settles)
	}
	if n := r.Handler.Count(); n != 0 {
		t.Errorf("the handler heard %d messages of the barrier's answer", n)
	}
	testkit.Receive(t, wrote)
	_, _ = outer.Write([]byte("again"))
	if m := r.Reads(); string(m.Data) != "again" {
		t.Errorf("then comes %+v", m)
	}
}

func TestBytesGoWhenTheClientSpeaks(t *testing.T) {
	r := newRig(t)
	s, outer := r.Dials()
	r.barrier() // is never answered
	go func() { _, _ = outer.Write([]byte("hello")) }()
	r.Sends(tunnelrig.Data(s.ID(), []byte("banner")))
	if m := r.Reads(); m.Type != "data" || string(m.Data) != "hello" {
		t.Fatalf("then comes %+v", m)
	}
	if n := r.dialect.opening(); n != 0 {
		t.Errorf("%d openings are left", n)
	}
}

// The answer to a barrier that nobody waits for is not taken for one to a
// request; and one that never comes is forgotten.
func TestLateBarriers(t *testing.T) {
	r := newRig(t)
	s, _ := r.Dials()
	answer := r.barrier()
	r.Sends(tunnelrig.Data(s.ID(), []byte("banner")))
	testkit.Hears[*messages.Data](r.Handler)
	r.Sends(answer)
	r.Sends(tunnelrig.Data(s.ID(), []byte("more")))
	if m := testkit.Hears[*messages.Data](r.Handler); string(m.Data) != "more" {
		t.Errorf("the handler hears %+v", m)
	}
	r.Mux.Handled(len("banner"))
	r.Mux.Handled(len("more"))

	for range maxBarriers + 10 {
		pipe, err := r.Mux.OpenPipe(tunnelrig.Peer, "", testkit.Patience)
		if err != nil {
			t.Fatal(err)
		}
		stream := pipe.Stream()
		announced := r.dialect.Announce(stream)
		announced.Ended()
		stream.Reject()
		testkit.Hears[*messages.Accepted](r.Handler)
	}
	r.dialect.mu.Lock()
	defer r.dialect.mu.Unlock()
	if len(r.dialect.barriers) > maxBarriers {
		t.Errorf("%d barriers are remembered", len(r.dialect.barriers))
	}
}

func TestWhatCameToNothingIsForgotten(t *testing.T) {
	r := newRig(t)
	s, outer := r.Dials()
	r.barrier()
	go func() { _, _ = outer.Write([]byte("hello")) }()
	s.Abort(messages.CloseReset)
	if m := r.Reads(); m.Type != "tcp_close" {
		t.Fatalf("then comes %+v", m)
	}
	testkit.Hears[*messages.StreamClosed](s.Ear)
	testkit.Eventually(t, "the opening is forgotten", func() bool { return r.dialect.opening() == 0 })
	if !r.dialect.knows([]byte(s.ID())) {
		t.Error("the id is forgotten, though messages about it may be on their way")
	}
}

func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pace
		for i := range paceBurst {
			if wait := p.next(1); wait != 0 {
				t.Fatalf("frame %d of a burst waits %v", i, wait)
			}
		}
		if wait := p.next(1); wait != paceStep {
			t.Errorf("the first frame beyond waits %v, want %v", wait, paceStep)
		}
		if wait := p.next(paceSmall); wait != 0 {
			t.Errorf("a large frame waits %v", wait)
		}
		time.Sleep(paceStep * (paceBurst + 1))
		if wait := p.next(1); wait != 0 {
			t.Errorf("a frame after a pause waits %v", wait)
		}
	})
	for _, d := range []tunnel.Dialect{tunnel.Text, tunnel.Binary} {
		if a := d.Announce(nil); a.Pause != nil || a.Ready != nil || a.Message != nil {
			t.Error("other clients' streams are announced as something special")
		}
	}
}

// The ids that are certain to be remembered are the latest.
func TestLatestIDsAreRemembered(t *testing.T) {
	d := &Dialect{recent: make(map[string]struct{})}
	id := func(i int) string {
		return strings.Repeat("0", 6) + string([]byte{'a' + byte(i>>16), 'a' + byte(i>>12&15), 'a' + byte(i>>8&15), 'a' + byte(i>>4&15), 'a' + byte(i&15), 'x'})
	}
	const all = 3*idsRemembered + 5
	for i := range all {
		d.RequestSent(id(i))
	}
	for i := all - idsRemembered; i < all; i++ {
		if !d.knows([]byte(id(i))) {
			t.Fatalf("number %d of %d is forgotten", i, all)
		}
	}
	if d.knows([]byte(id(0))) {
		t.Error("the first of all is still remembered")
	}
}
