package actors

import (
	"fmt"
	"net/netip"
	"testing"

	"wsproxy/messages"
)

func TestRequestsBeyondTheSourcesLimitWait(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{HTTP: 2}, needs: Tunnels{MaxHTTP: 5}}, func(r *tunnelRig) {
		v, w := r.ready(), r.ready()
		v.asks("a", "GET")
		w.asks("b", "") // the limit is over all tunnels
		v.take()
		w.take()
		var late []*rigRequest
		for i, frame := range []string{"GET", ""} {
			late = append(late, v.asks(fmt.Sprint("late", i), frame))
		}
		v.pass(protocolTurn - 1)
		for _, q := range late {
			v.wantAnswer(q, "")
		}
		v.pass(1)
		for _, q := range late {
			v.wantAnswer(q, "http_limit")
			if len(q.proceed) > 0 {
				t.Error("a refused request was let proceed")
			}
		}
		v.want()
		other, open := v.request("d", "GET d")
		open.Count = netip.MustParsePrefix("2001:db8::/64")
		v.tell(open)
		v.want("control GET d")
		e, f := v.asks("e", "GET e"), w.asks("f", "")
		v.want()
		w.tell(&messages.CancelRequest{ID: "b"})
		v.want()
		if len(e.proceed) != 1 { // its time begins now: so the edge sends it
			t.Error("does not proceed when its turn has come")
		}
		v.tell(response("e", 200))
		v.wantAnswer(other, "")
		if len(f.proceed) > 0 {
			t.Error("proceeds before a slot is free")
		}
		v.wantAnswer(e, "200")
		if len(f.proceed) != 1 {
			t.Error("does not proceed with the slot of another tunnel's request")
		}
		r.wantTaken(2, 3, 0)
	})
}

// Nobody waits for a request any more: it has no place in the queue either, and
// takes no slot when its turn comes.
func TestRequestThatEndsWhileItWaitsLeavesTheQueue(t *testing.T) {
	for name, test := range map[string]struct {
		how    func(*rigTunnel)
		answer string
	}{
		"cancelled": {func(v *rigTunnel) { v.tell(&messages.CancelRequest{ID: "q"}) }, "abandoned"},
		"restarted": {func(v *rigTunnel) {
			v.r.fault = failOnce[*messages.Garbage]()
			v.tell(&messages.Garbage{})
		}, "restarted"},
		"tunnel ended":  {func(v *rigTunnel) { v.say(&messages.MuxEnded{Reason: messages.ReasonClientGone}) }, "tunnel_gone"},
		"shutdown":      {func(v *rigTunnel) { v.say(&messages.Shutdown{}) }, "shutdown"},
		"tunnel failed": {func(v *rigTunnel) { v.r.root.Stop(v.owner); v.r.settle() }, "tunnel_gone"},
		"answered":      {func(v *rigTunnel) { v.tell(response("q", 200)) }, "200"}, // out of all order
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, rigOptions{bounds: Bounds{HTTP: 1}}, func(r *tunnelRig) {
				v, w := r.ready(), r.ready()
				w.asks("first", "GET first")
				w.take()
				q := v.asks("q", "GET q")
				r.wantWaiting(1)
				test.how(v)
				r.wantWaiting(0)
				if got := <-q.answers; string(got.Refusal) != test.answer && got.Response == nil {
					t.Errorf("answered %q, want %s", got.Refusal, test.answer)
				}
				next := w.asks("next", "GET next")
				w.tell(&messages.CancelRequest{ID: "first"})
				if len(next.proceed) != 1 {
					t.Error("the next one does not proceed")
				}
				r.wantTaken(r.taken(messages.ClaimAddress), 1, 0)
				for _, call := range v.take() {
					if call == "control GET q" {
						t.Error("the client was sent the request")
					}
				}
				w.wantAnswer(next, "")
				if len(q.answers) > 0 {
					t.Error("it was answered twice")
				}
			})
		})
	}
}

// The tunnel's bound is judged when a request's turn has come: a slot that it
// can't use goes to the next one.
func TestTurnInABusyTunnelGoesToTheNext(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{HTTP: 2}, needs: Tunnels{MaxHTTP: 3}}, func(r *tunnelRig) {
		v, w := r.ready(), r.ready()
		w.asks("a", "GET a")
		w.asks("b", "GET b")
		busy := v.asks("busy", "GET busy")
		for i := range 3 {
			_, open := v.request(fmt.Sprint(i), "GET other")
			open.Count = netip.MustParsePrefix(fmt.Sprintf("198.51.100.%d/32", i))
			v.tell(open)
		}
		v.want("control GET other", "control GET other", "control GET other")
		next := w.asks("next", "GET next")
		w.take()
		w.tell(&messages.CancelRequest{ID: "a"})
		v.wantAnswer(busy, "tunnel_busy")
		if len(next.proceed) != 1 {
			t.Error("the next one does not proceed")
		}
		w.wantAnswer(next, "")
		r.wantWaiting(0)
		r.wantTaken(2, 5, 0)
	})
}
