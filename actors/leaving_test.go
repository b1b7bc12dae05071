package actors

import (
	"slices"
	"strings"
	"testing"
	"time"

	"wsproxy/messages"
)

// leaves leads a tunnel with one raw connection to its end. The connection's
// peer is slow to take what it was sent.
func (r *tunnelRig) leaves(last ...any) (*rigTunnel, *fakeStream) {
	r.t.Helper()
	v := r.ready()
	s := v.accepts("c1")
	s.slow = true
	for _, m := range last {
		r.root.Send(v.handler, m)
	}
	r.root.Send(v.owner, &messages.MuxEnded{Reason: messages.ReasonClientClosed})
	r.settle()
	v.want("finish client_closed")
	return v, s
}

// What the client has sent is delivered although the tunnel ends right behind
// it: the connection keeps its slot until then, and nothing else of the tunnel
// is left.
func TestRawConnectionsOutliveTheirTunnel(t *testing.T) {
	for _, test := range []struct {
		name string
		last []any
		told string // beside "leave", which the handler says
		why  string
	}{
		{"closed by the client", []any{&messages.Data{ConnID: "c1", Data: []byte("a")}, closeOf("c1")}, "write a, endread, endwrite", "client_closed"},
		{"open", []any{&messages.Data{ConnID: "c1", Data: []byte("a")}}, "write a, endwrite", "tunnel_ended"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inRig(t, rigOptions{}, func(r *tunnelRig) {
				v, s := r.leaves(test.last...)
				told := strings.Split(s.take(), ", ")
				if i := slices.Index(told, "leave"); i < 0 || strings.Join(slices.Delete(told, i, i+1), ", ") != test.told {
					t.Errorf("the stream was told %q", told)
				}
				v.say(&messages.MuxClosed{})
				if len(r.log.of("tunnel ended")) != 1 || !r.alive(s.owner) {
					t.Error("the tunnel has not ended, or its connection has")
				}
				r.wantTaken(0, 0, 1)
				v.wantAnswer(v.asks("late", "GET"), "no_tunnel")
				var others []*rigTunnel
				for range rigLastPort - rigFirstPort + 1 { // its port is free
					others = append(others, r.ready())
				}
				for _, other := range others {
					other.end()
				}
				v.toConn(s, &messages.StreamClosed{})
				if r.alive(s.owner) || r.alive(v.handler) || r.alive(v.owner) {
					t.Error("an actor is left")
				}
				r.wantFree()
				if lines := r.log.of("raw connection ended"); len(lines) != 1 || lines[0].fields["reason"] != test.why {
					t.Errorf("logged is %v, want %s", lines, test.why)
				}
			})
		})
	}
}

// A connection whose peer takes nothing does not outlive its tunnel for ever.
func TestRawConnectionThatOutlivesItsTunnelMayStall(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v, s := r.leaves(data("c1", 200))
		s.take()
		v.say(&messages.MuxClosed{})
		for acked := range int64(3) { // it takes something now and then
			s.set(200-acked-1, acked+1)
			time.Sleep(flushPatience)
			r.settle()
			v.wantStream(s, "")
		}
		time.Sleep(flushPatience)
		r.settle()
		v.wantStream(s, "abort slow")
		if r.alive(v.owner) {
			t.Error("the tunnel lives on")
		}
		r.wantFree()
	})
}

// The server waits for such a connection while it drains, and resets it when it
// shuts down.
func TestRawConnectionThatOutlivesItsTunnelIsResetAtShutdown(t *testing.T) {
	for _, closed := range []bool{false, true} {
		inRig(t, rigOptions{}, func(r *tunnelRig) {
			v, s := r.leaves(closeOf("c1"))
			s.take()
			if closed {
				v.say(&messages.MuxClosed{})
			}
			done := r.drain()
			if isDone(done) {
				t.Error("nobody waits for it")
			}
			r.send(r.tunnels, &messages.Shutdown{})
			v.wantStream(s, "abort shutdown")
			if !closed {
				v.say(&messages.MuxClosed{})
			}
			if !isDone(done) || r.alive(v.owner) {
				t.Error("something is left")
			}
		})
	}
}

// A connection that has no slot yet when its tunnel ends is closed: the client
// never heard of it.
func TestRawConnectionWithoutASlotEndsWithItsTunnel(t *testing.T) {
	inRig(t, rigOptions{byHand: true}, func(r *tunnelRig) {
		v := r.readyByHand()
		s := r.stream("c1")
		v.tell(&messages.Accepted{Stream: s})
		v.say(&messages.MuxEnded{Reason: messages.ReasonClientGone})
		v.wantStream(s, "own, leave, reject")
		v.say(&messages.MuxClosed{})
		if r.alive(s.owner) || r.alive(v.owner) {
			t.Error("an actor is left")
		}
	})
}

// A handler that fails while its last connections end takes them with it, and
// leaves no tunnel behind.
func TestHandlerThatFailsAfterItsTunnelsEnd(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v, s := r.leaves()
		v.say(&messages.MuxClosed{})
		s.take()
		r.fault = failOnce[*messages.Data]()
		v.tell(data("c1", 1))
		v.wantStream(s, "abort restart")
		if r.alive(s.owner) || r.alive(v.owner) {
			t.Error("an actor is left")
		}
		r.wantFree()
	})
}
