package relay

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/actors"
	"wsproxy/messages"
	"wsproxy/netpolicy"
)

// A rig is a line with real sockets, and the test in the part of its actor, of
// its client and of its target.
type rig struct {
	*probe
	line   *line
	peer   *net.TCPConn    // the client's end
	client *websocket.Conn // the client, on peer
	target *net.TCPConn    // the target's end
	listen *net.TCPListener
}

// newRig returns a line that has its client and knows its target's address.
func newRig(t testing.TB) *rig {
	t.Helper()
	r := newBareRig(t)
	r.attach()
	return r
}

// newBareRig returns a line without a client.
func newBareRig(t testing.TB) *rig {
	t.Helper()
	system := actors.NewSystem(slog.New(slog.DiscardHandler))
	t.Cleanup(system.Shutdown)
	keepalive := NewKeepalive(time.Hour)
	t.Cleanup(keepalive.Close)
	listen, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listen.Close() })
	addr := listen.Addr().(*net.TCPAddr).AddrPort()
	target := netpolicy.Target{Host: addr.Addr().String(), Port: addr.Port(), Addr: addr.Addr()}
	r := &rig{probe: newProbe(t, system), listen: listen}
	r.line = newLine(&lineTools{
		root: system.Root, policy: netpolicy.New(netpolicy.Options{}), keepalive: keepalive,
		dialTimeout: patience, ping: time.Hour, log: slog.New(slog.DiscardHandler),
	}, target, nil)
	t.Cleanup(r.line.cancel)
	r.line.Own(r.pid)
	return r
}

func (r *rig) attach() {
	r.t.Helper()
	near, far := tcpPair(r.t)
	client, err := newSocket(far)
	if err != nil {
		r.t.Fatal(err)
	}
	r.peer, r.client = near, gorillaClient(r.t, near)
	if !r.line.attach(client) {
		r.t.Fatal("the line does not want its client")
	}
}

// dial connects the line to its target.
func (r *rig) dial() {
	r.t.Helper()
	r.line.Resolve()
	if m := next[*messages.TargetResolved](r); m.Refused {
		r.t.Fatal("the target is refused")
	}
	r.line.Dial()
	if m := next[*messages.TargetDialed](r); m.Failure != "" {
		r.t.Fatalf("the target is not reached: %s", m.Failure)
	}
	target, err := r.listen.AcceptTCP()
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { target.Close() })
	_ = target.SetDeadline(time.Now().Add(2 * patience))
	r.target = target
}

// newRunningRig returns a line whose pumps run.
func newRunningRig(t testing.TB) *rig {
	t.Helper()
	r := newRig(t)
	r.dial()
	r.line.Pump()
	return r
}

// next returns the next message to the line's actor, which must be a T.
func next[T any](r *rig) T {
	r.t.Helper()
	m := receive(r.t, r.got)
	want, ok := m.(T)
	if !ok {
		r.t.Fatalf("the actor is told %T %+v, want %T", m, m, want)
	}
	return want
}

// wantPumpEnd waits for the first pump's end.
func (r *rig) wantPumpEnd(want messages.Reason) {
	r.t.Helper()
	if m := next[*messages.PumpEnded](r); m.Reason != want {
		r.t.Fatalf("the pump ended for %s, want %s", m.Reason, want)
	}
}

// wantClosed waits for the line's end, after which nothing comes.
func (r *rig) wantClosed(want messages.Reason) {
	r.t.Helper()
	for {
		switch m := receive(r.t, r.got).(type) {
		case *messages.PumpEnded: // of the other pump, or of the one that lingers
		case *messages.PairClosed:
			if m.Reason != want {
				r.t.Errorf("the line is closed for %s, want %s", m.Reason, want)
			}
			if len(r.got) > 0 {
				r.t.Errorf("after its end the line says %T", <-r.got)
			}
			return
		default:
			r.t.Fatalf("the actor is told %T", m)
		}
	}
}

// finish does what an actor does at the end of a session.
func (r *rig) finish(reason messages.Reason) {
	r.t.Helper()
	r.wantPumpEnd(reason)
	r.line.Finish(reason)
}

// wantClose reads the client's connection to its end, which must be a close
// frame with this code, and returns the payload that came before.
func (r *rig) wantClose(code int) (payload []byte) {
	r.t.Helper()
	for {
		_, p, err := r.client.ReadMessage()
		if err == nil {
			payload = append(payload, p...)
			continue
		}
		if !websocket.IsCloseError(err, code) {
			r.t.Fatalf("the client's end is %v, want close %d", err, code)
		}
		return payload
	}
}

// A stuckResolver answers no question until it is told to stop.
type stuckResolver struct{ asked chan struct{} }

func (s stuckResolver) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	close(s.asked)
	<-ctx.Done()
	return nil, ctx.Err()
}
