package relay

import (
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/netpolicy"
	"wsproxy/transport/wsock"
)

func TestFinishBeforeTheClientCame(t *testing.T) {
	r := newBareRig(t)
	r.pair.Finish(messages.ReasonAbandoned)
	r.pair.Finish(messages.ReasonInternal)
	r.wantClosed(messages.ReasonAbandoned)
	near, far := testkit.TCPPair(t)
	client, err := wsock.NewConn(far)
	if err != nil {
		t.Fatal(err)
	}
	if r.pair.Attach(client) {
		t.Error("a pair that is closed takes a client")
	}
	near.Close()
}

// Either the pair gets the client and closes it, or the caller keeps it: both
// or none would leak a socket or close it twice.
func TestFinishAndAttachRace(t *testing.T) {
	for range 50 {
		r := newBareRig(t)
		near, far := testkit.TCPPair(t)
		client, err := wsock.NewConn(far)
		if err != nil {
			t.Fatal(err)
		}
		var wait sync.WaitGroup
		attached := false
		wait.Go(func() { attached = r.pair.Attach(client) })
		wait.Go(func() { r.pair.Finish(messages.ReasonInternal) })
		near.Close()
		r.wantClosed(messages.ReasonInternal)
		wait.Wait()
		if err := far.SetDeadline(time.Time{}); attached != (err != nil) {
			t.Fatalf("attached: %v, closed: %v", attached, err)
		}
		far.Close()
	}
}

func TestFinishTwiceClosesOnce(t *testing.T) {
	r := newRunningRig(t)
	r.pair.Finish(messages.ReasonShutdown)
	r.pair.Finish(messages.ReasonInternal)
	r.wantClose(messages.CloseGoingAway)
	r.target.Close()
	r.wantClosed(messages.ReasonShutdown)
}

func TestFinishBeforeDialing(t *testing.T) {
	r := newRig(t)
	r.pair.Finish(messages.ReasonShutdown)
	r.wantClose(messages.CloseGoingAway)
	r.wantClosed(messages.ReasonShutdown)
}

func TestFinishWhileResolving(t *testing.T) {
	r := newBareRig(t)
	stuck := stuckResolver{make(chan struct{})}
	r.pair.settings.Policy = netpolicy.New(netpolicy.Options{Resolver: stuck})
	r.pair.target = netpolicy.Target{Host: "stuck.example", Port: 80}
	r.pair.Resolve()
	testkit.Receive(t, stuck.asked)
	r.pair.Finish(messages.ReasonAbandoned)
	// The resolving ends with the pair, not at its own time limit; which of the
	// two is told first is open.
	closed, resolved := false, false
	for !closed || !resolved {
		switch m := testkit.Receive(t, r.Got).(type) {
		case *messages.PairClosed:
			closed = true
		case *messages.TargetResolved:
			if resolved = true; !m.Refused {
				t.Error("the target resolves though the pair is closed")
			}
		}
	}
}

// The target accepts and then says nothing to the TLS handshake: dialling hangs
// until it is told to stop.
func TestFinishWhileDialing(t *testing.T) {
	r := newRig(t)
	r.pair.access = &Access{ID: "id", Secret: "secret"}
	r.pair.addrs = []netip.AddrPort{r.listen.Addr().(interface{ AddrPort() netip.AddrPort }).AddrPort()}
	r.pair.Dial()
	target, err := r.listen.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	if _, err := io.ReadFull(target, make([]byte, 1)); err != nil { // the TLS hello
		t.Fatal(err)
	}
	r.pair.Finish(messages.ReasonShutdown)
	if m := next[*messages.TargetDialed](r); m.Failure != messages.ReasonTargetUnreachable {
		t.Errorf("the failure is %q", m.Failure)
	}
	r.wantClose(messages.CloseGoingAway)
	r.wantClosed(messages.ReasonShutdown)
	if r.pair.access != nil {
		t.Error("the pair keeps the secret")
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
	r.wantStalled()
	started := time.Now()
	r.pair.Finish(messages.ReasonShutdown)
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
	mute, endless := newRunningRig(t), newRunningRig(t)
	started := time.Now()
	mute.client.SetCloseHandler(func(int, string) error { return nil })
	mute.target.Close()
	mute.finish(messages.ReasonTargetEnded)
	mute.wantClose(messages.CloseNormal)

	_ = endless.client.WriteMessage(websocket.CloseMessage, nil)
	endless.finish(messages.ReasonClientClosed)
	endless.wantClose(websocket.CloseNormalClosure)
	if _, err := endless.peer.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the client of an endless target reads %v", err)
	}
	if took := time.Since(started); took > messages.Linger*3/4 {
		t.Errorf("the client of an endless target has its end after %v", took)
	}

	mute.wantClosed(messages.ReasonTargetEnded)
	endless.wantClosed(messages.ReasonClientClosed)
	if took := time.Since(started); took < messages.Linger-time.Second || took > messages.Linger*7/4 {
		t.Errorf("it took %v, the protocol gives %v", took, messages.Linger)
	}
}

// A brokenUpstream panics where it is told to, and waits elsewhere.
type brokenUpstream struct {
	panicIn  string
	wasReset bool
	closed   chan struct{}
	once     sync.Once
}

func (u *brokenUpstream) stop() { u.once.Do(func() { close(u.closed) }) }
func (u *brokenUpstream) fail(method string) {
	if u.panicIn == method {
		panic("injected into " + method)
	}
}

func (u *brokenUpstream) read() (*wsock.Buffer, int, error) {
	u.fail("read")
	<-u.closed
	return nil, 0, errors.New("closed")
}

func (u *brokenUpstream) readPair(bool) (wsock.Chunk, wsock.Chunk, error) {
	first, err := u.readChunk()
	return first, wsock.Chunk{}, err
}

func (u *brokenUpstream) readChunk() (wsock.Chunk, error) {
	buf, n, err := u.read()
	return wsock.InBuffer(buf, n), err
}

func (*brokenUpstream) try([]byte, bool) (int, error) { return 0, nil }

func (*brokenUpstream) afresh() {}

func (*brokenUpstream) again(start func()) { start() }

func (u *brokenUpstream) write([]byte, bool) error { u.fail("write"); return nil }
func (u *brokenUpstream) broke() bool              { return u.wasReset }
func (u *brokenUpstream) closeWrite()              { u.fail("closeWrite") }
func (u *brokenUpstream) drain()                   { u.fail("drain") }
func (u *brokenUpstream) raw() (syscall.RawConn, error) {
	u.fail("raw")
	return nil, errors.ErrUnsupported
}
func (u *brokenUpstream) abort()                            { u.stop() }
func (u *brokenUpstream) SetReadDeadline(t time.Time) error { u.stop(); return nil }
func (u *brokenUpstream) SetWriteDeadline(time.Time) error  { return nil }
func (u *brokenUpstream) Close() error                      { u.stop(); return nil }

// A panic in a pump is told to the actor and takes nothing else along: the
// client still reads why.
func TestPanicInAPumpEndsItsSessionInOrder(t *testing.T) {
	for _, method := range []string{"read", "write"} {
		t.Run(method, func(t *testing.T) {
			var log strings.Builder
			r := newRigWith(t, time.Hour, slog.New(slog.NewTextHandler(&log, nil)))
			r.attach()
			r.connect(&brokenUpstream{panicIn: method, closed: make(chan struct{})}, false)
			r.clientSends([]byte("x"))
			r.finish(messages.ReasonInternal)
			r.wantClose(messages.CloseInternal)
			r.wantClosed(messages.ReasonInternal)
			if text := log.String(); !strings.Contains(text, "a pump failed") || !strings.Contains(text, "injected into "+method) || !strings.Contains(text, "brokenUpstream") {
				t.Errorf("the log lacks the fault or its stack: %s", text)
			}
			testkit.Eventually(t, "no buffer is held", func() bool { return pooled.Held() == 0 })
		})
	}
}

// Even a panic in the closing itself closes both sockets and is told.
func TestPanicInFinishClosesThePair(t *testing.T) {
	r := newRig(t)
	target := &brokenUpstream{panicIn: "closeWrite", closed: make(chan struct{})}
	r.connect(target, false)
	r.pair.Finish(messages.ReasonShutdown)
	for {
		if _, ok := testkit.Receive(t, r.Got).(*messages.PairClosed); ok {
			break
		}
	}
	testkit.Receive(t, target.closed)
	if _, _, err := r.client.ReadMessage(); err == nil {
		t.Error("the client's socket is open")
	}
}

func TestPanicInResolvingAndDialingIsTold(t *testing.T) {
	r := newRig(t)
	r.pair.settings.Policy = nil
	r.pair.target = netpolicy.Target{Host: "name.invalid", Port: 22} // an address is judged by the caller, which is an actor
	r.pair.Resolve()
	if m := next[*messages.TargetResolved](r); !m.Refused {
		t.Error("a failed look-up is no refusal")
	}
	r.pair.addrs = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}
	r.pair.Dial()
	if m := next[*messages.TargetDialed](r); m.Failure != messages.ReasonInternal {
		t.Errorf("the failure is %q", m.Failure)
	}
	r.pair.Finish(messages.ReasonInternal)
	r.wantClose(messages.CloseInternal)
	r.wantClosed(messages.ReasonInternal)
}

// The client's own close frame comes while the pair closes for another reason:
// the pump that reads it and the closing must not touch the same field.
func TestClientsCloseMeetsTheServers(t *testing.T) {
	for range 10 {
		r := newRunningRig(t)
		started := time.Now()
		r.pair.Finish(messages.ReasonShutdown)
		_ = r.client.WriteMessage(websocket.CloseMessage, testkit.ClosePayload(3000, ""))
		r.wantClose(messages.CloseGoingAway)
		r.target.Close()
		r.wantClosed(messages.ReasonShutdown)
		if took := time.Since(started); took > messages.Linger/2 {
			t.Errorf("the client's close was not read: its end was waited for, %v", took)
		}
	}
}
