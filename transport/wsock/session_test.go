package wsock

import (
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/supervise"
	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/wsock/kernel"
)

// ended is what the owner of a test's session is told.
type ended struct{ reason messages.Reason }

// A sessionRig is a session with a client, and the test in the part of its owner
// and of its client.
type sessionRig struct {
	Session
	ear  *testkit.Ear
	peer *net.TCPConn
}

func newSessionRig(t *testing.T, interval time.Duration) *sessionRig {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	system := supervise.NewSystem(log)
	t.Cleanup(system.Shutdown)
	keepalive := NewKeepalive(interval)
	t.Cleanup(keepalive.Close)
	client, peer := newConnPair(t)
	r := &sessionRig{ear: testkit.NewEar(t, system), peer: peer}
	r.Init(NewHost(system.Root, keepalive, log), func(reason messages.Reason) any { return ended{reason} })
	if !r.Attach(client) {
		t.Fatal("the session does not want its client")
	}
	r.Own(r.ear.PID)
	return r
}

// finish ends the session as its owner would, and returns what is closed when
// that is done.
func (r *sessionRig) finish(reason messages.Reason) (closed chan struct{}) {
	closed = make(chan struct{})
	r.Finish(reason, func(reason messages.Reason) messages.Reason {
		r.BeginClose(reason)
		r.Close(reason)
		return reason
	}, func(messages.Reason) { close(closed) })
	return closed
}

// hold is a receiver that waits with the first piece of payload in its hand
// until the client is seen to have left.
func (r *sessionRig) hold(boundaries bool) (holding, left chan struct{}, receiver Receiver) {
	holding, left = make(chan struct{}), make(chan struct{})
	held := false
	return holding, left, Receiver{Boundaries: boundaries, Payload: func([]byte, bool, bool) messages.Reason {
		if held {
			return ""
		}
		held = true
		close(holding)
		look := time.NewTicker(time.Millisecond)
		defer look.Stop()
		for !r.HasLeft() {
			select {
			case <-look.C:
			case <-r.Closing().Done():
				return ""
			}
		}
		close(left)
		return ""
	}}
}

// A client that leaves is noticed though what it sent before is not taken, and
// however it leaves: its end is then told for what it is.
func TestClientThatHasLeftIsSeenBehindItsBytes(t *testing.T) {
	closing := testkit.Frame(fin|opClose, testkit.ClosePayload(3456, "bye"))
	for name, c := range map[string]struct {
		before     []byte // a whole number of frames
		leave      func(*net.TCPConn)
		boundaries bool
		reason     messages.Reason
	}{
		"an end":                  {testkit.Frame(frameBin, testkit.Pattern(100<<10)), func(p *net.TCPConn) { _ = p.CloseWrite() }, false, messages.ReasonClientGone},
		"a reset":                 {testkit.Frame(frameBin, testkit.Pattern(100<<10)), func(p *net.TCPConn) { _ = p.SetLinger(0); p.Close() }, false, messages.ReasonClientGone},
		"a close frame":           {testkit.Frame(frameBin, testkit.Pattern(100<<10)), func(p *net.TCPConn) { _, _ = p.Write(closing) }, false, messages.ReasonClientClosed},
		"a close frame, at once":  {join(testkit.Frame(frameBin, []byte("x")), closing), func(*net.TCPConn) {}, false, messages.ReasonClientClosed},
		"a close frame in rest":   {join(testkit.Frame(frameBin, []byte("x")), testkit.Frame(fin|opPing, []byte("y")), closing), func(*net.TCPConn) {}, true, messages.ReasonClientClosed},
		"a close frame in pieces": {join(testkit.Frame(OpBinary, []byte("x")), closing[:3]), func(p *net.TCPConn) { _, _ = p.Write(closing[3:]) }, true, messages.ReasonClientClosed},
		"an end behind a full window": {testkit.Frame(frameBin, make([]byte, 8<<20)), func(p *net.TCPConn) {
			p.Close() // the end itself can't come
		}, false, messages.ReasonClientGone},
	} {
		t.Run(name, func(t *testing.T) {
			r := newSessionRig(t, time.Hour)
			holding, left, receiver := r.hold(c.boundaries)
			r.Read("reading", receiver)
			_ = r.peer.SetWriteDeadline(time.Now().Add(testkit.Patience / 30)) // as much as the kernels take
			_, err := r.peer.Write(c.before)
			if full := len(c.before) > 4<<20; full != (err != nil) {
				t.Fatalf("writing: %v", err)
			}
			testkit.Receive(t, holding)
			c.leave(r.peer)
			testkit.Receive(t, left)
			if got := testkit.Hears[ended](r.ear); got.reason != c.reason {
				t.Errorf("its end is told as %s, want %s", got.reason, c.reason)
			}
			testkit.Receive(t, r.finish(c.reason))
			if c.reason == messages.ReasonClientClosed && r.closeCode == 0 {
				t.Error("its close code is lost")
			}
		})
	}
}

// Neither bytes nor what is no frame at all are a client's leaving.
func TestClientThatIsThereIsNotSeenToLeave(t *testing.T) {
	for name, behind := range map[string][]byte{
		"nothing":      nil,
		"data":         testkit.Frame(frameBin, testkit.Pattern(50_000)),
		"half a close": testkit.Frame(fin|opClose, testkit.ClosePayload(1000, "bye"))[:8],
		"no frames":    testkit.Pattern(100), // a protocol error, which the reader will find
		"a text":       join(testkit.Frame(fin|OpText, []byte("a")), testkit.Frame(fin|opPing, nil)),
	} {
		t.Run(name, func(t *testing.T) {
			r := newSessionRig(t, time.Hour)
			holding, resume := make(chan struct{}), make(chan bool)
			first := true
			r.Read("reading", Receiver{Boundaries: true, Payload: func([]byte, bool, bool) messages.Reason {
				if !first {
					return ""
				}
				first = false
				close(holding)
				for <-resume {
					if r.HasLeft() {
						t.Error("it is said to have left")
					}
				}
				return ""
			}})
			_, _ = r.peer.Write(testkit.Frame(frameBin, []byte("x")))
			testkit.Receive(t, holding)
			resume <- true
			_, _ = r.peer.Write(behind)
			testkit.Eventually(t, "all has come", func() bool { return kernel.Unread(r.conn.raw) == len(behind) })
			for range 3 {
				resume <- true
			}
			resume <- false
			r.peer.Close()
			testkit.Receive(t, r.finish(messages.ReasonInternal))
		})
	}
}

// A client that ends its stream without a close frame may still read: it is told
// the end as any other, not by a reset.
func TestEndWithoutACloseFrameIsAnsweredInOrder(t *testing.T) {
	for _, piece := range []string{"", "half a frame"} {
		r := newSessionRig(t, time.Hour)
		r.Read("reading", Receiver{Payload: func([]byte, bool, bool) messages.Reason { return "" }})
		if piece != "" {
			_, _ = r.peer.Write(testkit.Frame(frameBin, []byte(piece))[:9])
		}
		_ = r.peer.CloseWrite()
		got := testkit.Hears[ended](r.ear)
		if got.reason != messages.ReasonClientGone {
			t.Errorf("the end is told as %s", got.reason)
		}
		testkit.Receive(t, r.finish(got.reason))
		if all, err := io.ReadAll(r.peer); err != nil || string(all) != string(closeFrame(1000, "")) {
			t.Errorf("the client reads %x, %v", all, err)
		}
	}
}

// An owner may act on what it hears before the pump that told it has ended.
func TestEndIsAnsweredInOrderHoweverSoonTheOwnerActs(t *testing.T) {
	r := newSessionRig(t, time.Hour)
	reading, begun, closed := make(chan struct{}), make(chan bool, 1), make(chan struct{})
	quick, fresh := r.host.root.ActorSystem().ProcessRegistry.Add(hasty(func() {
		<-reading
		r.Finish(messages.ReasonClientGone, func(reason messages.Reason) messages.Reason {
			begun <- r.BeginClose(reason)
			r.Close(reason)
			return reason
		}, func(messages.Reason) { close(closed) })
		if testkit.Receive(t, begun) {
			t.Error("a client that ended its stream is taken for gone")
		}
	}), "hasty")
	if !fresh {
		t.Fatal("the name is taken")
	}
	r.Own(quick)
	r.Read("reading", Receiver{Payload: func([]byte, bool, bool) messages.Reason { return "" }})
	close(reading)
	_ = r.peer.CloseWrite()
	testkit.Receive(t, closed)
	if all, err := io.ReadAll(r.peer); err != nil || string(all) != string(closeFrame(1000, "")) {
		t.Errorf("the client reads %x, %v", all, err)
	}
}

// A Cut that comes before the end has begun to wait for the client holds, too.
func TestCutComesBeforeTheWait(t *testing.T) {
	r := newSessionRig(t, time.Hour)
	r.Read("reading", Receiver{Payload: func([]byte, bool, bool) messages.Reason { return "" }})
	gate, closed := make(chan struct{}), make(chan struct{})
	r.Finish(messages.ReasonShutdown, func(reason messages.Reason) messages.Reason {
		<-gate
		r.BeginClose(reason)
		r.Close(reason)
		return reason
	}, func(messages.Reason) { close(closed) })
	r.Cut()
	began := time.Now()
	close(gate)
	testkit.Receive(t, closed) // without a word of the client's
	if took := time.Since(began); took > messages.Linger-time.Second {
		t.Errorf("it took %v", took)
	}
}

// What a client that was cut has not taken the kernel sends on by itself, but not to one
// that was dropped: of that it keeps a little.
func TestDropTakesBackWhatNobodyReads(t *testing.T) {
	for name, c := range map[string]struct {
		end    func(*Session)
		unread int
		whole  bool
	}{
		"cut": {(*Session).Cut, 512 << 10, true}, "dropped": {(*Session).Drop, 512 << 10, false},
		"dropped with little": {(*Session).Drop, 1 << 10, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newSessionRig(t, time.Hour)
			r.Read("reading", Receiver{Payload: func([]byte, bool, bool) messages.Reason { return "" }})
			if err := r.conn.Write(make([]byte, c.unread)); err != nil {
				t.Fatal(err)
			}
			closed := r.finish(messages.ReasonTakenOver)
			c.end(&r.Session)
			testkit.Receive(t, closed)
			all, err := io.ReadAll(r.peer)
			if whole := err == nil && len(all) > c.unread; whole != c.whole {
				t.Errorf("the client reads %d bytes of %d, %v", len(all), c.unread, err)
			}
		})
	}
}

// A hasty acts on the first thing that it is told, while it is told that.
type hasty func()

func (h hasty) SendUserMessage(*actor.PID, any)   { h() }
func (h hasty) SendSystemMessage(*actor.PID, any) {}
func (h hasty) Stop(*actor.PID)                   {}

// Who writes may find out first that the client is gone, while the reader waits
// for somebody else: nothing then waits for the client.
func TestClientThatTheWriterFoundGone(t *testing.T) {
	r := newSessionRig(t, time.Hour)
	holding := make(chan struct{})
	r.Read("reading", Receiver{Payload: func([]byte, bool, bool) messages.Reason {
		close(holding)
		<-r.Closing().Done()
		return ""
	}})
	_, _ = r.peer.Write(testkit.Frame(frameBin, []byte("x")))
	testkit.Receive(t, holding)
	started := time.Now()
	testkit.Receive(t, r.finish(messages.ReasonClientGone))
	if took := time.Since(started); took > messages.Linger/2 {
		t.Errorf("a client that is gone was waited for, %v", took)
	}
	if _, err := io.ReadAll(r.peer); err == nil {
		t.Error("a client that is gone is told an end in order")
	}
}

// A panic in the closing leaves nothing behind that looks at the client.
func TestPanicInTheClosingLetsGoOfTheClient(t *testing.T) {
	r := newSessionRig(t, 16*time.Millisecond)
	closed := make(chan struct{})
	r.Read("reading", Receiver{Payload: func([]byte, bool, bool) messages.Reason { return "" }})
	r.Finish(messages.ReasonTargetEnded, func(messages.Reason) messages.Reason {
		r.BeginClose(messages.ReasonTargetEnded)
		panic("injected")
	}, func(messages.Reason) { close(closed) })
	testkit.Receive(t, closed)
	r.AwaitReader()
	r.ear.Take()
	r.conn.linger.mu.Lock()
	if r.conn.linger.timer != nil {
		t.Error("the linger goes on")
	}
	r.conn.linger.mu.Unlock()
	other := newPatient(t) // which the keepalive gives up in its time
	other.listen()
	r.host.keepalive.add(other.Conn)
	other.wantVerdict(t, messages.ReasonClientSilent)
	r.host.keepalive.remove(other.Conn)
	if told := r.ear.Take(); len(told) > 0 {
		t.Errorf("after its end the session says %v", told)
	}
}

// A restart tells clients when to come back: 500 of them a second.
func TestRestartSpreadsTheClients(t *testing.T) {
	for attached, want := range map[int64]string{
		0: "restart, retry within 1 s", 499: "restart, retry within 1 s", 500: "restart, retry within 2 s", 4999: "restart, retry within 10 s",
	} {
		r := newSessionRig(t, time.Hour)
		r.host.attached.Add(attached) // beside this one
		r.host.AnnounceRestart()
		closed := r.finish(messages.ReasonShutdown)
		_ = r.peer.CloseWrite()
		if got, err := io.ReadAll(r.peer); err != nil || string(got) != string(closeFrame(1001, want)) {
			t.Errorf("the client reads %q, %v, want %q", got, err, want)
		}
		testkit.Receive(t, closed)
		if left := r.host.attached.Load(); left != attached {
			t.Errorf("%d sessions are left, want %d", left, attached)
		}
	}
}
