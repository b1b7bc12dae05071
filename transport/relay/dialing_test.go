package relay

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/wsock"
)

// dialing begins to read the client as Dial does, and returns what plays the
// target's arrival.
func (r *rig) dialing(boundaries bool) (arrive func(to upstream)) {
	r.pair.dialed = make(chan struct{})
	r.pair.pumpUp(boundaries)
	return func(to upstream) {
		failure := messages.Reason("")
		if r.pair.connected(r.pair.session.Closing(), to) != nil {
			failure = messages.ReasonTargetUnreachable
		}
		r.pair.session.Tell(&messages.TargetDialed{Failure: failure})
		close(r.pair.dialed)
	}
}

// waiting waits until so many pieces wait for the target.
func (r *rig) waiting(pieces int) {
	r.T.Helper()
	testkit.Eventually(r.T, "what the client sent waits", func() bool {
		r.pair.early.mu.Lock()
		defer r.pair.early.mu.Unlock()
		if r.pair.early.held > maxEarly {
			r.T.Errorf("%d bytes wait", r.pair.early.held)
		}
		return len(r.pair.early.pieces) >= pieces
	})
}

// full fills the queue of the target's listener, so that dialling it hangs.
func (r *rig) full() {
	r.T.Helper()
	raw, err := r.listen.SyscallConn()
	if err != nil {
		r.T.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { err = syscall.Listen(int(fd), 0) })
	if err != nil {
		r.T.Fatal(err)
	}
	conn, err := net.Dial("tcp4", r.listen.Addr().String())
	if err != nil {
		r.T.Fatal(err)
	}
	r.T.Cleanup(func() { conn.Close() })
}

// muteService has the pair dial a service that says nothing to the TLS
// handshake, and returns that service's end.
func (r *rig) muteService() (accepted chan *net.TCPConn) {
	r.pair.access = &Access{ID: "id", Secret: "secret"}
	accepted = make(chan *net.TCPConn, 1)
	go func() {
		conn, err := r.listen.AcceptTCP()
		if err == nil {
			r.T.Cleanup(func() { conn.Close() })
			accepted <- conn
		}
	}()
	return accepted
}

// A client that leaves while its target is dialled is noticed within a second
// and the dialling ends, whatever it sent before (protocol, section 3).
func TestClientThatLeavesWhileDialing(t *testing.T) {
	if leftLook+lastChance > 800*time.Millisecond {
		t.Errorf("a client is noticed after %v", leftLook+lastChance)
	}
	for how, c := range map[string]struct {
		leave  func(*net.TCPConn)
		reason messages.Reason
		code   int // that the client reads; 0 = it is gone
	}{
		"close frame": {func(p *net.TCPConn) { _, _ = p.Write(testkit.Frame(frameClose, testkit.ClosePayload(3456, ""))) }, messages.ReasonClientClosed, 3456},
		"end":         {func(p *net.TCPConn) { _ = p.CloseWrite() }, messages.ReasonClientGone, 1000},
		"going":       {func(p *net.TCPConn) { p.Close() }, messages.ReasonClientGone, 0},
		"reset":       {func(p *net.TCPConn) { _ = p.SetLinger(0); p.Close() }, messages.ReasonClientGone, 0},
	} {
		for size, n := range map[string]int{"nothing": 0, "a few bytes": 10, "100 KiB": 100 << 10} {
			for _, access := range []bool{false, true} {
				t.Run(how+" after "+size+map[bool]string{true: ", access"}[access], func(t *testing.T) {
					t.Parallel()
					r := newRig(t)
					var service chan *net.TCPConn
					if access {
						service = r.muteService()
					} else {
						r.full()
					}
					r.pair.addrs = []netip.AddrPort{r.listen.Addr().(*net.TCPAddr).AddrPort()}
					r.pair.Dial()
					if n > 0 {
						r.clientSends(testkit.Pattern(n))
					}
					var accepted *net.TCPConn
					if access {
						accepted = testkit.Receive(t, service)
					}
					started := time.Now()
					c.leave(r.peer)
					r.wantPumpEnd(c.reason)
					if took := time.Since(started); took > testkit.Patience/4 {
						t.Errorf("it is noticed after %v", took)
					}
					r.pair.Finish(c.reason)
					if m := next[*messages.TargetDialed](r); m.Failure != messages.ReasonTargetUnreachable {
						t.Errorf("dialling ends with %q", m.Failure)
					}
					if access {
						_, _ = io.Copy(io.Discard, accepted) // until it is closed
					}
					if c.code != 0 {
						r.wantClose(c.code)
						if _, err := r.peer.Read(make([]byte, 1)); err != io.EOF {
							t.Errorf("after the close frame the client reads %v", err)
						}
					}
					r.wantClosed(c.reason)
					if up, _ := r.pair.Moved(); up != 0 {
						t.Errorf("%d bytes moved", up)
					}
				})
			}
		}
	}
}

// Most targets are there so soon that what a client has sent reaches them, even
// if the client sends it and leaves at once.
func TestWhatAClientSendsBeforeItLeavesReachesItsTarget(t *testing.T) {
	for _, n := range []int{1, 10_000, 60_000} {
		r := newRig(t)
		sent := testkit.Pattern(n)
		r.clientSends(sent)
		_ = r.client.WriteMessage(websocket.CloseMessage, nil)
		r.dial() // the target is told first
		r.pair.Pump()
		r.finish(messages.ReasonClientClosed)
		r.wantTargetGets(sent)
		r.target.Close()
		r.wantClose(websocket.CloseNormalClosure)
		r.wantClosed(messages.ReasonClientClosed)
		if up, _ := r.pair.Moved(); up != int64(n) {
			t.Errorf("%d bytes of %d moved", up, n)
		}
	}
}

// What comes while the target is dialled reaches it in order, once, before what
// comes later; more than can wait stops the reading of the client.
func TestBytesSentWhileDialingKeepTheirOrder(t *testing.T) {
	for name, early := range map[string]int{
		"a few": 10, "as many as can wait": maxEarly - 5*earlyMessage, "more": maxEarly, "many": 400_000,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			arrive := r.dialing(false)
			all := testkit.Pattern(early + 200_000)
			r.clientSends(all[:1])
			r.waiting(1)
			written := make(chan struct{})
			go func() {
				defer close(written)
				for piece := range slices.Chunk(all[1:early], 5_000) {
					_, _ = r.peer.Write(testkit.Frame(frameBin, piece))
				}
			}()
			if early <= maxEarly {
				testkit.Receive(t, written)
			}
			near, far := testkit.TCPPair(t)
			to, err := newTCPUpstream(far)
			if err != nil {
				t.Fatal(err)
			}
			r.target = near
			got := make(chan []byte, 1)
			go func() {
				p, _ := io.ReadAll(near)
				near.Close()
				got <- p
			}()
			arrive(to)
			next[*messages.TargetDialed](r)
			r.pair.Pump()
			testkit.Receive(t, written)
			for piece := range slices.Chunk(all[early:], 7_000) {
				r.clientSends(piece)
			}
			_ = r.client.WriteMessage(websocket.CloseMessage, nil)
			r.finish(messages.ReasonClientClosed)
			if p := testkit.Receive(t, got); !bytes.Equal(p, all) {
				t.Errorf("the target gets %d bytes of %d, or damaged ones", len(p), len(all))
			}
			r.wantClosed(messages.ReasonClientClosed)
			if up, _ := r.pair.Moved(); up != int64(len(all)) {
				t.Errorf("%d bytes of %d moved", up, len(all))
			}
		})
	}
}

// Messages that wait keep their ends too, for a service that is told them.
func TestMessagesSentWhileDialingKeepTheirEnds(t *testing.T) {
	r := newRig(t)
	arrive := r.dialing(true)
	r.clientSends([]byte("one"))
	r.clientSends(nil)
	_, _ = r.peer.Write(testkit.Frame(frameBegin, []byte("tw")))
	r.waiting(3)
	u, service := newAccessUpstream(t)
	arrive(u)
	next[*messages.TargetDialed](r)
	r.pair.Pump()
	_, _ = r.peer.Write(testkit.Frame(frameEnd, []byte("o")))
	service.wants("one", "", "two")
	_ = service.send(frameClose, testkit.ClosePayload(1000, ""))
	r.finish(messages.ReasonTargetEnded)
	service.Close()
	r.wantClose(messages.CloseNormal)
	r.wantClosed(messages.ReasonTargetEnded)
}

// A target that says something and ends, without taking what waits for it, has
// been reached: the client gets its words, and why it ended.
func TestTargetThatEndsWhileEarlyBytesWait(t *testing.T) {
	for name, c := range map[string]struct {
		linger int
		reason messages.Reason
		code   int
	}{
		"in order":   {-1, messages.ReasonTargetEnded, 1000},
		"by a reset": {0, messages.ReasonTargetReset, 1011},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			arrive := r.dialing(false)
			r.clientSends([]byte("hello"))
			near, far := testkit.TCPPair(t)
			to, err := newTCPUpstream(far)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = near.Write([]byte("go away"))
			if c.linger < 0 {
				_ = near.CloseWrite()
			} else {
				_ = near.SetLinger(0)
				near.Close()
			}
			arrive(to)
			if m := next[*messages.TargetDialed](r); m.Failure != "" {
				t.Fatalf("the target is not reached: %s", m.Failure)
			}
			r.pair.Pump()
			m := next[*messages.PumpEnded](r)
			r.pair.Finish(m.Reason)
			near.Close()
			if got := r.wantClose(c.code); string(got) != "go away" {
				t.Errorf("the client gets %q", got)
			}
			r.wantClosed(c.reason)
		})
	}
}

// A stuckUpstream takes nothing until a deadline in the past tells it to.
type stuckUpstream struct {
	brokenUpstream
	writing, late       chan struct{}
	writeOnce, lateOnce sync.Once
	aborted             bool
}

func (u *stuckUpstream) try([]byte, bool) (int, error) { return 0, nil }

func (u *stuckUpstream) write([]byte, bool) error {
	u.writeOnce.Do(func() { close(u.writing) })
	<-u.late
	return errors.New("too late")
}

func (u *stuckUpstream) SetWriteDeadline(t time.Time) error {
	if t == wsock.LongAgo {
		u.lateOnce.Do(func() { close(u.late) })
	}
	return nil
}

func (u *stuckUpstream) abort() { u.aborted = true }

// A target that is there but takes nothing holds no end up, and does not see
// half of what was sent as all of it.
func TestFinishWhileEarlyBytesGoOut(t *testing.T) {
	for name, end := range map[string]func(*rig) messages.Reason{
		"shutdown": func(*rig) messages.Reason { return messages.ReasonShutdown },
		"the client's close": func(r *rig) messages.Reason {
			_ = r.client.WriteMessage(websocket.CloseMessage, nil)
			r.wantPumpEnd(messages.ReasonClientClosed)
			return messages.ReasonClientClosed
		},
		"an early message more": func(r *rig) messages.Reason { // the reading pump waits for the first
			r.clientSends([]byte("more"))
			return messages.ReasonShutdown
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			arrive := r.dialing(false)
			r.clientSends([]byte("hello"))
			r.waiting(1)
			to := &stuckUpstream{brokenUpstream: brokenUpstream{closed: make(chan struct{})}, writing: make(chan struct{}), late: make(chan struct{})}
			arrived := make(chan struct{})
			go func() { arrive(to); close(arrived) }()
			testkit.Receive(t, to.writing)
			reason := end(r)
			r.pair.Finish(reason)
			testkit.Receive(t, arrived)
			if m := next[*messages.TargetDialed](r); m.Failure != messages.ReasonTargetUnreachable {
				t.Errorf("the failure is %q", m.Failure)
			}
			code, _ := messages.CloseFor(reason)
			if reason == messages.ReasonClientClosed {
				code = websocket.CloseNormalClosure
			}
			r.wantClose(code)
			r.wantClosed(reason)
			if !to.aborted {
				t.Error("the target sees an end in order")
			}
		})
	}
}

// The reading pump waits for a target with more than can wait in its hand.
func TestFinishWhileManyBytesWait(t *testing.T) {
	r := newRig(t)
	r.full()
	r.pair.addrs = []netip.AddrPort{r.listen.Addr().(*net.TCPAddr).AddrPort()}
	r.pair.Dial()
	r.clientSends(testkit.Pattern(10_000))
	r.waiting(1)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = r.peer.Write(testkit.Frame(frameBin, testkit.Pattern(2<<20)))
	}()
	started := time.Now()
	r.pair.Finish(messages.ReasonShutdown)
	next[*messages.TargetDialed](r)
	testkit.Receive(t, sent) // before the client's own close frame
	r.wantClose(messages.CloseGoingAway)
	r.wantClosed(messages.ReasonShutdown)
	if took := time.Since(started); took > messages.Linger/2 {
		t.Errorf("it took %v", took)
	}
}

// More than can wait, and then there is no target: the reading pump goes on.
func TestDialFailsWhileManyBytesWait(t *testing.T) {
	r := newRig(t)
	r.pair.dialed = make(chan struct{})
	r.pair.pumpUp(false)
	r.clientSends(testkit.Pattern(60_000))
	go r.wantClose(messages.CloseInternal)
	r.pair.session.Tell(&messages.TargetDialed{Failure: messages.ReasonTargetUnreachable})
	close(r.pair.dialed)
	next[*messages.TargetDialed](r)
	r.clientSends(testkit.Pattern(60_000))
	r.pair.Finish(messages.ReasonTargetUnreachable)
	r.wantClosed(messages.ReasonTargetUnreachable)
	testkit.Eventually(t, "no buffer is held", func() bool { return pooled.Held() == 0 })
}
