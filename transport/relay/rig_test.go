package relay

import (
	"context"
	"flag"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/actors/supervise"
	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/buffers"
	"wsproxy/messages"
	"wsproxy/netpolicy"
	"wsproxy/transport/wsock"
	"wsproxy/transport/wsock/rest"
)

func TestMain(m *testing.M) {
	// Tests that run beside each other wait for the linger, which takes no
	// processor.
	flag.Parse()
	_ = flag.Set("test.parallel", "32")
	rest.After = 5 * time.Millisecond // all tests may meet sessions at rest
	wsock.TrackBuffers(pooled.Made)
	testkit.VerifyMain(m)
}

// pooled knows which of the buffers that the tests use are alive.
var pooled buffers.BufferCount

// First bytes of frames that a client sends.
const (
	frameText  = 0x81 // a whole message
	frameBin   = 0x82 // a whole message
	frameBegin = 0x02 // the first part of a message
	frameEnd   = 0x80 // the last part of a message
	frameClose = 0x88
	framePing  = 0x89
)

// A rig is a pair with real sockets, and the test in the part of its actor, of
// its client and of its target.
type rig struct {
	*testkit.Probe
	pair   *Pair
	peer   *net.TCPConn    // the client's end
	client *websocket.Conn // the client, on peer
	target *net.TCPConn    // the target's end
	listen *net.TCPListener
	ahead  any // what the actor was told before its turn
}

// newRig returns a pair that has its client and knows its target's address.
func newRig(t testing.TB) *rig {
	t.Helper()
	r := newBareRig(t)
	r.attach()
	return r
}

// newBareRig returns a pair without a client.
func newBareRig(t testing.TB) *rig {
	t.Helper()
	return newRigWith(t, time.Hour, slog.New(slog.DiscardHandler))
}

// newRigWith returns a pair without a client, which is pinged once per interval.
func newRigWith(t testing.TB, interval time.Duration, log *slog.Logger) *rig {
	t.Helper()
	system := supervise.NewSystem(slog.New(slog.DiscardHandler))
	t.Cleanup(system.Shutdown)
	keepalive := wsock.NewKeepalive(interval)
	t.Cleanup(keepalive.Close)
	listen, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listen.Close() })
	addr := listen.Addr().(*net.TCPAddr).AddrPort()
	target := netpolicy.Target{Host: addr.Addr().String(), Port: addr.Port(), Addr: addr.Addr()}
	r := &rig{Probe: testkit.NewProbe(t, system), listen: listen}
	r.pair = NewPair(&Settings{
		Host: wsock.NewHost(system.Root, keepalive, log), Policy: netpolicy.New(netpolicy.Options{}),
		DialTimeout: testkit.Patience, Ping: time.Hour,
	}, target, nil)
	t.Cleanup(func() { r.pair.Finish(messages.ReasonInternal) }) // of one that its test has not
	r.pair.Own(r.PID)
	return r
}

func (r *rig) attach() {
	r.T.Helper()
	near, far := testkit.TCPPair(r.T)
	client, err := wsock.NewConn(far)
	if err != nil {
		r.T.Fatal(err)
	}
	r.peer, r.client = near, testkit.GorillaClient(r.T, near)
	if !r.pair.Attach(client) {
		r.T.Fatal("the pair does not want its client")
	}
}

// dial connects the pair to its target.
func (r *rig) dial() {
	r.T.Helper()
	r.pair.Resolve()
	if m := next[*messages.TargetResolved](r); m.Refused {
		r.T.Fatal("the target is refused")
	}
	r.pair.Dial()
	dialed := r.hears()
	if _, left := dialed.(*messages.PumpEnded); left { // a client that has left may be told first
		r.ahead, dialed = dialed, r.hears()
	}
	if m, ok := dialed.(*messages.TargetDialed); !ok || m.Failure != "" {
		r.T.Fatalf("the target is not reached: %T %+v", dialed, dialed)
	}
	target, err := r.listen.AcceptTCP()
	if err != nil {
		r.T.Fatal(err)
	}
	r.T.Cleanup(func() { target.Close() })
	_ = target.SetDeadline(time.Now().Add(2 * testkit.Patience))
	r.target = target
}

// connect does what dialling does, for an upstream that is there.
func (r *rig) connect(to upstream, boundaries bool) {
	r.T.Helper()
	r.pair.dialed = make(chan struct{})
	if err := r.pair.connected(r.T.Context(), to); err != nil {
		r.T.Fatal(err)
	}
	close(r.pair.dialed)
	r.pair.pumpUp(boundaries)
	r.pair.Pump()
}

// newRunningRig returns a pair whose pumps run.
func newRunningRig(t testing.TB) *rig {
	t.Helper()
	r := newRig(t)
	r.dial()
	r.pair.Pump()
	return r
}

// next returns the next message to the pair's actor, which must be a T.
func next[T any](r *rig) T {
	r.T.Helper()
	m := r.hears()
	want, ok := m.(T)
	if !ok {
		r.T.Fatalf("the actor is told %T %+v, want %T", m, m, want)
	}
	return want
}

// hears returns what the actor is told next.
func (r *rig) hears() (m any) {
	r.T.Helper()
	if m, r.ahead = r.ahead, nil; m == nil {
		m = testkit.Receive(r.T, r.Got)
	}
	return m
}

// wantPumpEnd waits for the first pump's end.
func (r *rig) wantPumpEnd(want messages.Reason) {
	r.T.Helper()
	if m := next[*messages.PumpEnded](r); m.Reason != want {
		r.T.Fatalf("the pump ended for %s, want %s", m.Reason, want)
	}
}

// wantClosed waits for the pair's end, after which nothing comes.
func (r *rig) wantClosed(want messages.Reason) {
	r.T.Helper()
	for {
		switch m := testkit.Receive(r.T, r.Got).(type) {
		case *messages.PumpEnded: // of the other pump, or of the one that lingers
		case *messages.PairClosed:
			if m.Reason != want {
				r.T.Errorf("the pair is closed for %s, want %s", m.Reason, want)
			}
			if len(r.Got) > 0 {
				r.T.Errorf("after its end the pair says %T", <-r.Got)
			}
			return
		default:
			r.T.Fatalf("the actor is told %T", m)
		}
	}
}

// finish does what an actor does at the end of a session.
func (r *rig) finish(reason messages.Reason) {
	r.T.Helper()
	r.wantPumpEnd(reason)
	r.pair.Finish(reason)
}

// wantClose reads the client's connection to its end, which must be a close
// frame with this code, and returns the payload that came before.
func (r *rig) wantClose(code int) (payload []byte) {
	r.T.Helper()
	for {
		_, p, err := r.client.ReadMessage()
		if err == nil {
			payload = append(payload, p...)
			continue
		}
		if !websocket.IsCloseError(err, code) {
			r.T.Fatalf("the client's end is %v, want close %d", err, code)
		}
		return payload
	}
}

// wantStalled waits until the pair waits for a client that reads nothing.
func (r *rig) wantStalled() {
	r.T.Helper()
	before, still := int64(0), 0
	testkit.Eventually(r.T, "the pair waits for its client", func() bool {
		<-time.After(30 * time.Millisecond)
		sending := r.pair.session.Conn().Sending()
		window, unacked := sending.Window, sending.Unacked
		down := r.pair.down.Load()
		if still++; down != before || unacked == 0 || window > 64<<10 {
			before, still = down, 0
		}
		return still == 8
	})
}

// A stuckResolver answers no question until it is told to stop.
type stuckResolver struct{ asked chan struct{} }

func (s stuckResolver) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	close(s.asked)
	<-ctx.Done()
	return nil, ctx.Err()
}
