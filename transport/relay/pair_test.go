package relay

import (
	"bytes"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/netpolicy"
)

// wantTargetGets fails unless the target has exactly these bytes left to read and then its end.
func (r *rig) wantTargetGets(want []byte) {
	r.T.Helper()
	got, err := io.ReadAll(r.target)
	if err != nil || !bytes.Equal(got, want) {
		r.T.Fatalf("the target gets %d bytes and %v, want %d bytes and its end", len(got), err, len(want))
	}
}

func (r *rig) clientSends(p []byte) {
	r.T.Helper()
	if err := r.client.WriteMessage(websocket.BinaryMessage, p); err != nil {
		r.T.Fatal(err)
	}
}

func TestTargetsEndReachesTheClientAfterItsBytes(t *testing.T) {
	r := newRunningRig(t)
	sent := testkit.Pattern(500_000)
	go func() {
		_, _ = r.target.Write(sent)
		_ = r.target.CloseWrite()
	}()
	got := make(chan []byte, 1)
	go func() { got <- r.wantClose(messages.CloseNormal) }()
	r.finish(messages.ReasonTargetEnded)
	if p := testkit.Receive(t, got); !bytes.Equal(p, sent) {
		t.Errorf("the client got %d bytes of %d", len(p), len(sent))
	}
	if n, err := r.peer.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after the close frame the client reads %d bytes, %v", n, err)
	}
	r.wantTargetGets(nil)
	r.wantClosed(messages.ReasonTargetEnded)
	if up, down := r.pair.Moved(); up != 0 || down != int64(len(sent)) {
		t.Errorf("moved %d and %d", up, down)
	}
}

func TestClientsCloseReachesTheTargetAfterItsBytes(t *testing.T) {
	r := newRunningRig(t)
	sent := testkit.Pattern(500_000)
	go func() {
		_ = r.client.WriteMessage(websocket.BinaryMessage, sent)
		_ = r.client.WriteMessage(websocket.CloseMessage, testkit.ClosePayload(3456, "bye"))
	}()
	got := make(chan []byte, 1)
	go func() {
		p, _ := io.ReadAll(r.target)
		r.target.Close()
		got <- p
	}()
	r.finish(messages.ReasonClientClosed)
	r.wantClose(3456) // the client's own code comes back
	if p := testkit.Receive(t, got); !bytes.Equal(p, sent) {
		t.Errorf("the target got %d bytes of %d", len(p), len(sent))
	}
	r.wantClosed(messages.ReasonClientClosed)
	if up, down := r.pair.Moved(); up != int64(len(sent)) || down != 0 {
		t.Errorf("moved %d and %d", up, down)
	}
}

func TestBytesPassBothWaysAtOnce(t *testing.T) {
	r := newRunningRig(t)
	up, down := testkit.Pattern(3_000_000), testkit.Pattern(2_000_000)
	go func() {
		for i := 0; i < len(up); i += 60_000 {
			_ = r.client.WriteMessage(websocket.BinaryMessage, up[i:i+60_000])
		}
		_ = r.client.WriteMessage(websocket.CloseMessage, nil)
	}()
	go func() { _, _ = r.target.Write(down) }()
	gotUp := make(chan []byte, 1)
	go func() {
		p := make([]byte, len(up))
		_, _ = io.ReadFull(r.target, p)
		gotUp <- p
	}()
	var gotDown []byte
	for len(gotDown) < len(down) {
		kind, p, err := r.client.ReadMessage()
		if err != nil || kind != websocket.BinaryMessage || len(p) > messages.MaxServerMessage {
			t.Fatalf("message of kind %d, %d bytes, %v", kind, len(p), err)
		}
		gotDown = append(gotDown, p...)
	}
	if !bytes.Equal(gotDown, down) || !bytes.Equal(testkit.Receive(t, gotUp), up) {
		t.Error("the bytes are damaged")
	}
	r.finish(messages.ReasonClientClosed)
	r.target.Close()
	r.wantClosed(messages.ReasonClientClosed)
}

func TestTargetsResetClosesWithInternal(t *testing.T) {
	r := newRunningRig(t)
	_ = r.target.SetLinger(0)
	r.target.Close()
	r.finish(messages.ReasonTargetReset)
	r.wantClose(messages.CloseInternal)
	r.wantClosed(messages.ReasonTargetReset)
}

// A client that goes without a word: the target has what it sent, and the end.
func TestVanishedClientEndsTheTarget(t *testing.T) {
	for name, linger := range map[string]int{"by an end": -1, "by a reset": 0} {
		t.Run(name, func(t *testing.T) {
			r := newRunningRig(t)
			r.clientSends([]byte("last words"))
			words := make([]byte, 10)
			if _, err := io.ReadFull(r.target, words); err != nil {
				t.Fatal(err)
			}
			_ = r.peer.SetLinger(linger)
			r.peer.Close()
			r.finish(messages.ReasonClientGone)
			r.wantTargetGets(nil)
			r.target.Close()
			r.wantClosed(messages.ReasonClientGone)
		})
	}
}

// What a client may not send ends the session with the code that says why, and
// the client gets to read it though it is still sending.
func TestForbiddenFramesCloseWithTheirCode(t *testing.T) {
	for name, c := range map[string]struct {
		bytes  []byte
		reason messages.Reason
		code   int
	}{
		"text":      {testkit.Frame(frameText, []byte("hi")), messages.ReasonTextMessage, 1003},
		"long text": {testkit.Frame(frameText, make([]byte, 3<<20)), messages.ReasonTextMessage, 1003},
		"no mask":   {[]byte{0x82, 0x01, 'x'}, messages.ReasonProtocolError, 1002},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRunningRig(t)
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				_, _ = r.peer.Write(testkit.Frame(frameBin, []byte("before")))
				_, _ = r.peer.Write(c.bytes)
				for range 40 { // and goes on
					_, _ = r.peer.Write(testkit.Frame(frameBin, testkit.Pattern(50_000)))
				}
				_ = r.peer.CloseWrite()
			}()
			r.finish(c.reason)
			r.wantClose(c.code)
			testkit.Receive(t, sent)
			r.wantTargetGets([]byte("before"))
			r.target.Close()
			r.wantClosed(c.reason)
		})
	}
}

// A close must arrive (protocol, section 2): closed at once, while the client
// still sends, the kernel's reset would take away what the client has not read.
func TestCloseArrivesWhileTheClientSends(t *testing.T) {
	for range 8 {
		r := newRunningRig(t)
		sending := make(chan struct{})
		stop := make(chan struct{})
		go func() {
			defer close(sending)
			chunk := testkit.Frame(frameBin, testkit.Pattern(50_000))
			for {
				select {
				case <-stop:
					_, _ = r.peer.Write(testkit.Frame(frameClose, testkit.ClosePayload(1000, "")))
					return
				default:
					if _, err := r.peer.Write(chunk); err != nil {
						t.Errorf("the client can't send on: %v", err)
						return
					}
				}
			}
		}()
		last := testkit.Pattern(100_000)
		_, _ = r.target.Write(last)
		_ = r.target.CloseWrite()
		r.finish(messages.ReasonTargetEnded)
		r.client.SetCloseHandler(func(int, string) error { close(stop); return nil })
		if got := r.wantClose(messages.CloseNormal); !bytes.Equal(got, last) {
			t.Fatalf("the client got %d of the last %d bytes", len(got), len(last))
		}
		testkit.Receive(t, sending)
		_, _ = io.Copy(io.Discard, r.target)
		r.target.Close()
		r.wantClosed(messages.ReasonTargetEnded)
	}
}

func TestPingsAreAnsweredWhileRelaying(t *testing.T) {
	r := newRunningRig(t)
	pong := make(chan string, 1)
	r.client.SetPongHandler(func(text string) error { pong <- text; return nil })
	_ = r.client.WriteMessage(websocket.PingMessage, []byte("are you there"))
	go func() { r.wantClose(messages.CloseGoingAway) }()
	if got := testkit.Receive(t, pong); got != "are you there" {
		t.Errorf("the pong is %q", got)
	}
	r.pair.Finish(messages.ReasonShutdown)
	r.target.Close()
	r.wantClosed(messages.ReasonShutdown)
}

func TestResolveRefusesABlockedTarget(t *testing.T) {
	r := newBareRig(t)
	r.pair.settings.Policy = netpolicy.New(netpolicy.Options{Blocked: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	r.pair.Resolve()
	if m := next[*messages.TargetResolved](r); !m.Refused {
		t.Error("it is not refused")
	}
	if err := r.pair.Refusal(); err == nil || !strings.Contains(err.Error(), "127.0.0.0/8") {
		t.Errorf("the log would say %v", err)
	}
}

// Between resolving and dialling the policy may have changed its mind: own
// ports are such a case.
func TestDialFindsABlockedTarget(t *testing.T) {
	r := newRig(t)
	r.pair.Resolve()
	next[*messages.TargetResolved](r)
	r.pair.settings.Policy = netpolicy.New(netpolicy.Options{DefaultBlock: true})
	var told error
	r.pair.OnBlocked(func(cause error) { told = cause })
	r.pair.Dial()
	if m := next[*messages.TargetDialed](r); m.Failure != messages.ReasonTargetBlocked || told == nil {
		t.Errorf("the failure is %q, and the log would say %v", m.Failure, told)
	}
	r.pair.Finish(messages.ReasonTargetBlocked)
	r.wantClose(messages.ClosePolicy)
	r.wantClosed(messages.ReasonTargetBlocked)
}

func TestDialFindsNobodyThere(t *testing.T) {
	r := newRig(t)
	r.pair.Resolve()
	next[*messages.TargetResolved](r)
	r.listen.Close()
	r.pair.Dial()
	if m := next[*messages.TargetDialed](r); m.Failure != messages.ReasonTargetUnreachable {
		t.Errorf("the failure is %q", m.Failure)
	}
	r.pair.Finish(messages.ReasonTargetUnreachable)
	r.wantClose(messages.CloseInternal)
	r.wantClosed(messages.ReasonTargetUnreachable)
}

func TestIdleSessionsHoldNoBuffer(t *testing.T) {
	var rigs []*rig
	for range 20 {
		r := newRunningRig(t)
		rigs = append(rigs, r)
		r.clientSends([]byte("ping"))
		p := make([]byte, 4)
		if _, err := io.ReadFull(r.target, p); err != nil {
			t.Fatal(err)
		}
		_, _ = r.target.Write(p)
		if _, got, err := r.client.ReadMessage(); err != nil || string(got) != "ping" {
			t.Fatal(err, got)
		}
	}
	testkit.Eventually(t, "no buffer is held", func() bool { return pooled.Held() == 0 })
	for _, r := range rigs {
		r.pair.Finish(messages.ReasonShutdown)
		r.target.Close()
		go r.wantClose(messages.CloseGoingAway)
		r.wantClosed(messages.ReasonShutdown)
	}
}

// A client that goes while it is being written to: what it said before still
// reaches the target, and its going has one name however it is found.
func TestClientThatVanishesUnderAWrite(t *testing.T) {
	r := newRunningRig(t)
	r.clientSends([]byte("last words"))
	go func() {
		for {
			if _, err := r.target.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}()
	if _, _, err := r.client.ReadMessage(); err != nil {
		t.Fatal(err)
	}
	_ = r.peer.SetLinger(0)
	r.peer.Close()
	r.finish(messages.ReasonClientGone)
	r.wantTargetGets([]byte("last words"))
	r.target.Close()
	r.wantClosed(messages.ReasonClientGone)
}

// A reset that only a write has found is told as one, though the reader saw an
// end like any other.
func TestResetFoundByAWriteIsTold(t *testing.T) {
	r := newRig(t)
	r.connect(&brokenUpstream{closed: make(chan struct{}), wasReset: true}, false)
	r.pair.Finish(messages.ReasonTargetEnded)
	r.wantClose(messages.CloseInternal)
	r.wantClosed(messages.ReasonTargetReset)
}

// What the keepalive finds reaches the session's actor, and ends the session
// without a goodbye that nobody would hear.
func TestSilentClientEndsItsSession(t *testing.T) {
	t.Parallel() // waits for the keepalive
	r := newRigWith(t, testkit.Patience/40, slog.New(slog.DiscardHandler))
	r.attach()
	r.dial()
	r.pair.Pump()
	r.clientSends([]byte("last words")) // and no pong, because nobody reads there
	r.finish(messages.ReasonClientSilent)
	r.wantTargetGets([]byte("last words"))
	r.target.Close()
	r.wantClosed(messages.ReasonClientSilent)
	if _, err := io.ReadAll(r.peer); err == nil {
		t.Error("the client is sent an orderly end")
	}
}
