package actors

import (
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
)

func TestTunnelsAdmitWithinTheLimits(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{PerAddress: 2, PerUser: 1}}, func(r *tunnelRig) {
		as := func(user string) func(*messages.OpenTunnel) {
			return func(open *messages.OpenTunnel) { open.User = user }
		}
		for _, test := range []struct{ user, want string }{
			{"ann", "admitted"}, {"ann", "user_limit"}, {"bob", "admitted"}, {"eve", "address_limit"},
		} {
			v := r.knock(as(test.user))
			if got := v.answer(); got != test.want {
				t.Errorf("%s is answered %q, want %q", test.user, got, test.want)
			}
			if test.want != "admitted" {
				v.want("own", "finish "+test.want)
				v.say(&messages.MuxClosed{})
			}
		}
		r.wantTaken(2, 0, 0)
	})
}

func TestTunnelGivesEverythingBackAtItsEnd(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{PerAddress: 1}}, func(r *tunnelRig) {
		for range 10 {
			v := r.ready()
			v.accepts("c1")
			v.asks("a", "GET")
			r.wantTaken(1, 1, 1)
			v.say(&messages.MuxEnded{Reason: messages.ReasonClientGone})
			r.wantTaken(0, 0, 0) // before the client hears of the end
			v.say(&messages.MuxClosed{})
			for _, pid := range []*actor.PID{v.owner, v.handler} {
				if r.alive(pid) {
					t.Errorf("%s lives on", pid.Id)
				}
			}
			r.wantTaken(0, 0, 0)
		}
		r.wantFree()
	})
}

func TestDrainingRefusesNewTunnelsLast(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{PerUser: 1}}, func(r *tunnelRig) {
		old := r.ready()
		done := r.drain()
		late := r.knock() // over its limit as well, and that is answered first
		if got := late.answer(); got != "user_limit" {
			t.Errorf("over the limit while draining: %q", got)
		}
		other := r.knock(func(open *messages.OpenTunnel) { open.User = "bob" })
		if got := other.answer(); got != "draining" {
			t.Errorf("while draining: %q", got)
		}
		for _, v := range []*rigTunnel{late, other} {
			v.say(&messages.MuxClosed{})
		}
		if isDone(done) {
			t.Error("drained, and a tunnel lives")
		}
		q, s := old.asks("a", "GET"), old.accepts("c1") // what lives goes on, for new requests too
		old.tell(response("a", 200))
		old.wantAnswer(q, "200")
		old.wantStream(s, "")
		again := r.drain()
		old.say(&messages.MuxEnded{Reason: messages.ReasonClientGone})
		if isDone(done) {
			t.Error("drained before the mux was closed")
		}
		old.say(&messages.MuxClosed{})
		if !isDone(done) || !isDone(again) {
			t.Error("not drained after the last end")
		}
		if !isDone(r.drain()) {
			t.Error("drained once more: not done")
		}
	})
}

// A tunnel that was admitted before the drain is upgraded and lives.
func TestDrainReachesTunnelsOnTheirWay(t *testing.T) {
	inRig(t, rigOptions{byHand: true}, func(r *tunnelRig) {
		claiming, admitted := r.knock(), r.knock()
		admitted.walk("granted")
		done := r.drain()
		if got := claiming.walk("granted"); got != "own; finish draining; release; draining" && got != "finish draining; release; draining" {
			t.Errorf("while claiming: %q", got)
		}
		if got := admitted.walk("upgraded"); got != "take 0" {
			t.Errorf("once admitted: %q", got)
		}
		claiming.walk("closed")
		admitted.walk("ended")
		if isDone(done) {
			t.Error("drained, and a tunnel lives")
		}
		admitted.walk("closed")
		if !isDone(done) {
			t.Error("not drained")
		}
	})
}

func TestDrainWithoutTunnelsIsDoneAtOnce(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		if !isDone(r.drain()) {
			t.Error("nothing to drain, and not done")
		}
	})
}

func TestShutdownEndsEveryTunnel(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		admitted, one, two := r.knock(), r.ready(), r.ready()
		q, s := one.asks("a", "GET"), two.accepts("c1")
		for _, v := range []*rigTunnel{admitted, one, two} {
			v.take()
		}
		r.send(r.tunnels, &messages.Shutdown{})
		for _, v := range []*rigTunnel{admitted, one, two} {
			v.want("finish shutdown")
		}
		one.wantAnswer(q, "shutdown")
		two.wantStream(s, "abort shutdown")
		for _, v := range []*rigTunnel{admitted, one, two} {
			v.say(&messages.MuxClosed{})
		}
		if !isDone(r.drain()) {
			t.Error("a tunnel is left")
		}
		r.wantFree()
	})
}

// Each method of the mux is a step of the tunnel that may fail: it ends that
// tunnel alone, the edge has one answer, and all comes back.
func TestPanicInOneTunnelEndsThatTunnelAlone(t *testing.T) {
	for _, test := range []struct {
		method   string
		answer   string
		path     []any // from the admission on
		ended    int   // lines about its end
		finishes int   // at least
	}{
		{"own", "internal", nil, 0, 1},
		{"listen", "admitted", []any{&messages.Upgraded{}}, 1, 1},
		{"start", "admitted", []any{&messages.Upgraded{}, &messages.PortOpened{Port: 10001}}, 1, 1},
		{"finish", "admitted", []any{&messages.Abandoned{}}, 0, 2}, // again as it stops
		{"finish", "admitted", []any{&messages.Upgraded{}, &messages.MuxEnded{Reason: messages.ReasonClientGone}}, 1, 2},
		{"moved", "admitted", []any{&messages.Upgraded{}, &messages.MuxClosed{}}, 0, 0},
	} {
		t.Run(test.method, func(t *testing.T) {
			inRig(t, rigOptions{}, func(r *tunnelRig) {
				other := r.ready()
				q, s := other.asks("a", "GET"), other.accepts("c1")
				mux := &fakeLink{panicIn: test.method}
				answers := make(chan messages.Admission, 4)
				r.send(r.tunnels, &messages.OpenTunnel{Source: rigCount.Addr(), Count: rigCount, User: "bob", Upgrade: true, Mux: mux, Answer: answers})
				v := &rigTunnel{fakeLink: mux, r: r, answers: answers}
				if got := v.answer(); got != test.answer {
					t.Errorf("the edge is answered %q, want %q", got, test.answer)
				}
				for _, m := range test.path {
					if r.alive(v.owner) {
						v.say(m)
					}
				}
				if r.alive(v.owner) || len(v.answers) > 0 {
					t.Errorf("it lives on, with %d more answers", len(v.answers))
				}
				finishes := 0
				for _, call := range v.take() {
					if len(call) > 6 && call[:6] == "finish" {
						finishes++
					}
				}
				if finishes < test.finishes {
					t.Errorf("its mux was finished %d times, want %d", finishes, test.finishes)
				}
				if n := len(r.log.of("tunnel ended")); n != test.ended {
					t.Errorf("%d lines say that it ended, want %d", n, test.ended)
				}
				r.wantTaken(1, 1, 1) // the other's
				other.tell(response("a", 200))
				other.wantAnswer(q, "200")
				other.wantStream(s, "")
				done := r.drain()
				other.say(&messages.MuxEnded{Reason: messages.ReasonClientGone})
				other.say(&messages.MuxClosed{})
				if !isDone(done) {
					t.Error("the tunnels have lost count")
				}
				r.wantFree()
			})
		})
	}
}

func TestPanicInTunnelsKeepsItsTunnels(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		r.send(r.tunnels, (*messages.Drain)(nil)) // no Done to take: panics
		if n := len(r.log.of("an actor failed")); n == 0 {
			t.Fatal("nothing failed")
		}
		q := v.asks("a", "GET")
		v.tell(response("a", 200))
		v.wantAnswer(q, "200")
		done := r.drain()
		if isDone(done) {
			t.Error("the tunnel is forgotten")
		}
		v.say(&messages.MuxEnded{Reason: messages.ReasonClientGone})
		v.say(&messages.MuxClosed{})
		if !isDone(done) {
			t.Error("the tunnels have lost count")
		}
	})
}

// An edge that names no mux must not be left waiting either.
func TestTunnelWithoutALinkIsRefused(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		answers := make(chan messages.Admission, 4)
		r.send(r.tunnels, &messages.OpenTunnel{Upgrade: true, Answer: answers})
		v := &rigTunnel{r: r, answers: answers}
		if got := v.answer(); got != "internal" {
			t.Errorf("the answer is %q", got)
		}
		if !isDone(r.drain()) {
			t.Error("the tunnels have lost count")
		}
	})
}
