package relay

import (
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/messages"
	"wsproxy/netpolicy"
)

func TestFinishBeforeTheClientCame(t *testing.T) {
	r := newBareRig(t)
	r.line.Finish(messages.ReasonAbandoned)
	r.line.Finish(messages.ReasonInternal)
	r.wantClosed(messages.ReasonAbandoned)
	near, far := tcpPair(t)
	s, err := newSocket(far)
	if err != nil {
		t.Fatal(err)
	}
	if r.line.attach(s) {
		t.Error("a line that is closed takes a client")
	}
	near.Close()
}

// Either the line gets the client and closes it, or the caller keeps it: both
// or none would leak a socket or close it twice.
func TestFinishAndAttachRace(t *testing.T) {
	for range 50 {
		r := newBareRig(t)
		near, far := tcpPair(t)
		s, err := newSocket(far)
		if err != nil {
			t.Fatal(err)
		}
		var wait sync.WaitGroup
		attached := false
		wait.Go(func() { attached = r.line.attach(s) })
		wait.Go(func() { r.line.Finish(messages.ReasonInternal) })
		near.Close()
		r.wantClosed(messages.ReasonInternal)
		wait.Wait()
		if err := s.conn.SetDeadline(time.Time{}); attached != (err != nil) {
			t.Fatalf("attached: %v, closed: %v", attached, err)
		}
		far.Close()
	}
}

func TestFinishTwiceClosesOnce(t *testing.T) {
	r := newRunningRig(t)
	r.line.Finish(messages.ReasonShutdown)
	r.line.Finish(messages.ReasonInternal)
	r.wantClose(messages.CloseGoingAway)
	r.target.Close()
	r.wantClosed(messages.ReasonShutdown)
}

func TestFinishBeforeDialing(t *testing.T) {
	r := newRig(t)
	r.line.Finish(messages.ReasonShutdown)
	r.wantClose(messages.CloseGoingAway)
	r.wantClosed(messages.ReasonShutdown)
}

func TestFinishWhileResolving(t *testing.T) {
	r := newBareRig(t)
	stuck := stuckResolver{make(chan struct{})}
	r.line.tools.policy = netpolicy.New(netpolicy.Options{Resolver: stuck})
	r.line.target = netpolicy.Target{Host: "stuck.example", Port: 80}
	r.line.Resolve()
	receive(t, stuck.asked)
	r.line.Finish(messages.ReasonAbandoned)
	// The resolving ends with the line, not at its own time limit; which of the
	// two is told first is open.
	closed, resolved := false, false
	for !closed || !resolved {
		switch m := receive(t, r.got).(type) {
		case *messages.PairClosed:
			closed = true
		case *messages.TargetResolved:
			if resolved = true; !m.Refused {
				t.Error("the target resolves though the line is closed")
			}
		}
	}
}

// The target accepts and then says nothing to the TLS handshake: dialling hangs
// until it is told to stop.
func TestFinishWhileDialing(t *testing.T) {
	r := newRig(t)
	r.line.access = &Access{ID: "id", Secret: "secret"}
	r.line.addrs = []netip.AddrPort{r.listen.Addr().(interface{ AddrPort() netip.AddrPort }).AddrPort()}
	r.line.Dial()
	target, err := r.listen.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	if _, err := io.ReadFull(target, make([]byte, 1)); err != nil { // the TLS hello
		t.Fatal(err)
	}
	r.line.Finish(messages.ReasonShutdown)
	if m := next[*messages.TargetDialed](r); m.Failure != messages.ReasonTargetUnreachable {
		t.Errorf("the failure is %q", m.Failure)
	}
	r.wantClose(messages.CloseGoingAway)
	r.wantClosed(messages.ReasonShutdown)
	if r.line.access != nil {
		t.Error("the line keeps the secret")
	}
	if _, err := io.ReadAll(target); err != nil {
		t.Errorf("the target's connection is not closed: %v", err)
	}
}

// A client that takes nothing and says something now and then must not keep a
// line from closing: 5 s is what the protocol gives it.
func TestShutdownOfAClientThatDoesNotRead(t *testing.T) {
	t.Parallel() // waits for the linger
	r := newRunningRig(t)
	go func() {
		for {
			if _, err := r.target.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	}()
	eventually(t, "the line waits for its client", func() bool {
		before := r.line.down.Load()
		tick := time.NewTimer(20 * time.Millisecond)
		<-tick.C
		return r.line.client.writing.Load() && r.line.down.Load() == before
	})
	started := time.Now()
	r.line.Finish(messages.ReasonShutdown)
	r.wantClosed(messages.ReasonShutdown)
	if took := time.Since(started); took > messages.Linger+3*time.Second {
		t.Errorf("it took %v, the protocol allows %v", took, messages.Linger)
	}
}

// Two sessions that end at the same time. One has a client that has read its
// close and neither answers nor ends, the other a target that does not answer
// the end of the stream: that delays nobody but itself.
func TestPeersThatDoNotEndAreLeftAfterTheLinger(t *testing.T) {
	t.Parallel() // waits for the linger
	started := time.Now()
	mute := newRunningRig(t)
	mute.client.SetCloseHandler(func(int, string) error { return nil })
	mute.target.Close()
	mute.finish(messages.ReasonTargetEnded)
	mute.wantClose(messages.CloseNormal)

	endless := newRunningRig(t)
	_ = endless.client.WriteMessage(websocket.CloseMessage, nil)
	endless.finish(messages.ReasonClientClosed)
	endless.wantClose(websocket.CloseNormalClosure)
	if _, err := endless.peer.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the client of an endless target reads %v", err)
	}
	if took := time.Since(started); took > messages.Linger/2 {
		t.Errorf("the client of an endless target has its end after %v", took)
	}

	mute.wantClosed(messages.ReasonTargetEnded)
	endless.wantClosed(messages.ReasonClientClosed)
	if took := time.Since(started); took < messages.Linger-time.Second || took > messages.Linger+3*time.Second {
		t.Errorf("it took %v, the protocol gives %v", took, messages.Linger)
	}
}

// A brokenFar panics where it is told to, and waits elsewhere.
type brokenFar struct {
	panicIn  string
	wasReset bool
	closed   chan struct{}
	once     sync.Once
}

func (f *brokenFar) stop() { f.once.Do(func() { close(f.closed) }) }
func (f *brokenFar) fail(method string) {
	if f.panicIn == method {
		panic("injected into " + method)
	}
}

func (f *brokenFar) read() (*buffer, int, error) {
	f.fail("read")
	<-f.closed
	return nil, 0, errors.New("closed")
}
func (f *brokenFar) write([]byte, bool) error          { f.fail("write"); return nil }
func (f *brokenFar) broke() bool                       { return f.wasReset }
func (f *brokenFar) boundaries() bool                  { f.fail("boundaries"); return true }
func (f *brokenFar) closeWrite()                       { f.fail("closeWrite") }
func (f *brokenFar) drain()                            {}
func (f *brokenFar) SetReadDeadline(t time.Time) error { f.stop(); return nil }
func (f *brokenFar) SetWriteDeadline(time.Time) error  { return nil }
func (f *brokenFar) Close() error                      { f.stop(); return nil }

// A panic in a pump is told to the actor and takes nothing else along: the
// client still reads why.
func TestPanicInAPumpEndsItsSessionInOrder(t *testing.T) {
	for _, method := range []string{"read", "write", "boundaries"} {
		t.Run(method, func(t *testing.T) {
			var log strings.Builder
			r := newRig(t)
			r.line.tools.log = slog.New(slog.NewTextHandler(&log, nil))
			r.line.far = &brokenFar{panicIn: method, closed: make(chan struct{})}
			r.line.Pump()
			r.clientSends([]byte("x"))
			r.finish(messages.ReasonInternal)
			r.wantClose(messages.CloseInternal)
			r.wantClosed(messages.ReasonInternal)
			if text := log.String(); !strings.Contains(text, "a pump failed") || !strings.Contains(text, "injected into "+method) || !strings.Contains(text, "brokenFar") {
				t.Errorf("the log lacks the fault or its stack: %s", text)
			}
			eventually(t, "no buffer is held", func() bool { return pooled.held() == 0 })
		})
	}
}

// Even a panic in the closing itself closes both sockets and is told.
func TestPanicInFinishClosesTheLine(t *testing.T) {
	r := newRig(t)
	far := &brokenFar{panicIn: "closeWrite", closed: make(chan struct{})}
	r.line.far = far
	r.line.Pump()
	r.line.Finish(messages.ReasonShutdown)
	for {
		if _, ok := receive(t, r.got).(*messages.PairClosed); ok {
			break
		}
	}
	receive(t, far.closed)
	if _, _, err := r.client.ReadMessage(); err == nil {
		t.Error("the client's socket is open")
	}
}

func TestPanicInResolvingAndDialingIsTold(t *testing.T) {
	r := newRig(t)
	r.line.tools.policy = nil
	r.line.Resolve()
	if m := next[*messages.TargetResolved](r); !m.Refused {
		t.Error("a failed look-up is no refusal")
	}
	r.line.addrs = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}
	r.line.Dial()
	if m := next[*messages.TargetDialed](r); m.Failure != messages.ReasonInternal {
		t.Errorf("the failure is %q", m.Failure)
	}
	r.line.Finish(messages.ReasonInternal)
	r.wantClose(messages.CloseInternal)
	r.wantClosed(messages.ReasonInternal)
}

// The client's own close frame comes while the line closes for another reason:
// the pump that reads it and the closing must not touch the same field.
func TestClientsCloseMeetsTheServers(t *testing.T) {
	for range 10 {
		r := newRunningRig(t)
		heard := r.line.client.heard.Load()
		r.line.Finish(messages.ReasonShutdown)
		_ = r.client.WriteMessage(websocket.CloseMessage, closePayload(3000, ""))
		r.wantClose(messages.CloseGoingAway)
		r.target.Close()
		r.wantClosed(messages.ReasonShutdown)
		if r.line.client.heard.Load() == heard {
			t.Error("the client's close was not read")
		}
	}
}
