package actors

import (
	"fmt"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/stalls"
	"wsproxy/messages"
)

// A faultStage is a handler with work under way, when it fails.
type faultStage struct {
	*rigTunnel
	sent, reading *rigRequest // one that the client has, one whose body is to come
	c1, c2        *fakeStream
	extra         []*rigRequest
}

func (r *tunnelRig) faultStage() *faultStage {
	r.t.Helper()
	v := r.ready()
	st := &faultStage{
		rigTunnel: v, sent: v.asks("sent", "GET"), reading: v.asks("reading", ""),
		c1: v.accepts("c1"), c2: v.accepts("c2"),
	}
	v.take()
	return st
}

// wantNewGeneration fails unless the handler has failed and begun anew: who
// waited has one answer, connections are closed, slots are free, and the
// tunnel works.
func (st *faultStage) wantNewGeneration(restarts int) {
	st.r.t.Helper()
	for _, q := range append(st.extra, st.sent, st.reading) {
		if q.id != "" {
			st.wantAnswer(q, "restarted")
		}
	}
	for _, s := range []*fakeStream{st.c1, st.c2} {
		if s.Ended() != messages.CloseRestart && s.Ended() != messages.CloseReset {
			st.r.t.Errorf("connection %s ended for %q", s.id, s.Ended())
		}
	}
	st.r.wantTaken(1, 0, 0)
	if n := st.r.meter.of("restarted"); n != restarts {
		st.r.t.Errorf("%d restarts are counted, want %d", n, restarts)
	}
	if started, ended := st.r.meter.of("raw started"), len(st.r.log.of("raw connection ended")); started != ended {
		st.r.t.Errorf("%d connections started and %d ended", started, ended)
	}
	st.take()
	st.r.wantWorks(st.rigTunnel)
}

// wantWorks fails unless requests and connections pass through a tunnel.
func (r *tunnelRig) wantWorks(v *rigTunnel) {
	r.t.Helper()
	q := v.asks("new", "GET new")
	v.want("control GET new")
	v.tell(response("new", 200))
	v.wantAnswer(q, "200")
	s := v.accepts("new")
	v.tell(&messages.Data{ConnID: "new", Data: []byte("x")})
	v.wantStream(s, "write x")
	v.tell(fromClient(&messages.Close{ConnID: "new"}, 0))
	v.wantStream(s, "endread, endwrite")
	v.tell(&messages.Data{ConnID: "nobody", Data: []byte("x")})
	v.want(`control {"type":"tcp_close","connId":"nobody","reason":"unknown"}`)
	r.wantTaken(1, 0, 0)
}

// For each message that a handler gets: it may fail on it, and then nothing is
// lost but what the protocol says.
func TestHandlerThatFailsBeginsAnew(t *testing.T) {
	for _, test := range []struct {
		name    string
		fault   func(any)
		provoke func(*faultStage)
		handled int // messages of the mux
	}{
		{"response", failOnce[*messages.FromClient](), func(st *faultStage) { st.tell(response("sent", 200)) }, 1},
		{"close", failOnce[*messages.FromClient](), func(st *faultStage) { st.tell(fromClient(&messages.Close{ConnID: "c1"}, 7)) }, 1},
		{"credit", failOnce[*messages.FromClient](), func(st *faultStage) { st.tell(fromClient(&messages.Credit{ConnID: "c1", Bytes: 1}, 7)) }, 1},
		{"data", failOnce[*messages.Data](), func(st *faultStage) { st.tell(&messages.Data{ConnID: "c1", Data: []byte("abc")}) }, 1},
		{"unknown data", failOnce[*messages.Data](), func(st *faultStage) { st.tell(&messages.Data{ConnID: "c9", Data: []byte("abc")}) }, 1},
		{"garbage", failOnce[*messages.Garbage](), func(st *faultStage) { st.tell(&messages.Garbage{What: "x"}) }, 1},
		{"request", failOnce[*messages.OpenRequest](), func(st *faultStage) { st.extra = append(st.extra, st.asks("a", "GET")) }, 0},
		{"request with a body", failOnce[*messages.OpenRequest](), func(st *faultStage) { st.extra = append(st.extra, st.asks("a", "")) }, 0},
		{"cancel", failOnce[*messages.CancelRequest](), func(st *faultStage) { st.tell(&messages.CancelRequest{ID: "sent"}) }, 0},
		{"granted", failOnce[*messages.Granted](), func(st *faultStage) { st.extra = append(st.extra, st.asks("a", "GET")) }, 0},
		{"refused", failOnce[*messages.Refused](), func(st *faultStage) {
			st.extra = append(st.extra, st.asks("a", "GET"), st.asks("b", "GET")) // one too many
			st.pass(protocolTurn)
		}, 0},
		{"accepted", failOnce[*messages.Accepted](), func(st *faultStage) {
			s := st.r.stream("c3")
			st.tell(&messages.Accepted{Stream: s})
			if !s.over {
				st.r.t.Error("the accepted connection is left open")
			}
		}, 0},
		{"conn ended", failOnce[*messages.ConnEnded](), func(st *faultStage) { st.c1.Abort(messages.CloseReset) }, 0},
		{"conn terminated", failOnce[*actor.Terminated](), func(st *faultStage) { st.c1.Abort(messages.CloseReset) }, 0},
		{"judge", failOnce[*stalls.Look](), func(st *faultStage) {
			st.c1.set(messages.ConnShare+1, 0)
			st.tell(&messages.Data{ConnID: "c1", Data: []byte("x")})
			time.Sleep(3 * time.Second / stalls.Looks)
			st.r.settle()
		}, 1},
		{"anything else", failOnce[*struct{}](), func(st *faultStage) { st.tell(&struct{}{}) }, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			inRig(t, rigOptions{bounds: Bounds{HTTP: 3}, needs: Tunnels{MaxHTTP: 5}}, func(r *tunnelRig) {
				st := r.faultStage()
				r.fault = test.fault
				test.provoke(st)
				r.settle()
				if n := len(r.log.of("an actor failed")); n != 1 {
					t.Fatalf("it failed %d times", n)
				}
				if len(st.handled) != test.handled {
					t.Errorf("given back were %v, want %d messages", st.handled, test.handled)
				}
				for _, call := range st.take() {
					if call != "control GET" { // of the extra requests
						t.Errorf("the mux was told %q", call)
					}
				}
				st.wantNewGeneration(1)
				st.end()
				r.wantFree()
			})
		})
	}
}

// Other tunnels do not notice, and a handler may fail while it begins anew.
func TestHandlerThatFailsConcernsItsTunnelAlone(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		st, other := r.faultStage(), r.ready()
		q, s := other.asks("a", "GET"), other.accepts("c1")
		r.fault = failOnce[*messages.Garbage]()
		st.tell(&messages.Garbage{})
		other.want("control GET")
		other.wantStream(s, "")
		other.tell(response("a", 200))
		other.wantAnswer(q, "200")
		other.end()
		st.wantNewGeneration(1)
	})
}

func TestHandlerMayFailAsItBeginsAnew(t *testing.T) {
	for name, again := range map[string]func(any){
		"restarting":      failOnce[*actor.Restarting](),
		"started":         failOnce[*actor.Started](),
		"conn terminated": failOnce[*actor.Terminated](),
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, rigOptions{}, func(r *tunnelRig) {
				st := r.faultStage()
				first := failOnce[*messages.Garbage]()
				r.fault = func(m any) { first(m); again(m) }
				st.tell(&messages.Garbage{})
				if n := len(r.log.of("an actor failed")); n != 2 {
					t.Errorf("it failed %d times, want 2", n)
				}
				restarts := 2
				if name == "restarting" {
					restarts = 1 // the meter was to be told by what failed
				}
				st.wantNewGeneration(restarts)
				if got := fmt.Sprint(st.handled); got != "[0 0 1 0 1]" {
					t.Errorf("given back were %s", got)
				}
			})
		})
	}
}

func TestHandlerThatFailsAtItsFirstStepBeginsAnew(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		r.fault = failOnce[*actor.Started]()
		v := r.ready()
		if r.meter.of("restarted") != 1 {
			t.Error("no restart is counted")
		}
		r.wantWorks(v)
	})
}

// What the mux does wrong is the handler's to survive as well.
func TestPanicInTheLinkOrAStreamIsSurvived(t *testing.T) {
	for _, test := range []struct {
		name    string
		provoke func(*faultStage)
	}{
		{"control for a request", func(st *faultStage) {
			st.panicIn = "control"
			st.extra = append(st.extra, st.asks("a", "GET"))
		}},
		{"reject", func(st *faultStage) {
			s := st.r.stream("c1") // an id in use
			s.panicIn = "reject"
			st.tell(&messages.Accepted{Stream: s})
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inRig(t, rigOptions{}, func(r *tunnelRig) {
				st := r.faultStage()
				test.provoke(st)
				st.wantNewGeneration(1)
			})
		})
	}
}

// What waits in the mailbox behind the message that failed is not lost, and
// every message of the mux is given back once.
func TestMessagesBehindAFailureAreHandled(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		st := r.faultStage()
		r.fault = failOnce[*messages.Garbage]()
		q, open := st.request("a", "GET a")
		s := r.stream("c3")
		st.tell(
			&messages.Data{ConnID: "c1", Data: []byte("ab")}, &messages.Garbage{}, // fails
			&messages.Data{ConnID: "c1", Data: []byte("abc")}, &messages.Data{ConnID: "c1", Data: []byte("abcd")},
			response("sent", 200), fromClient(&messages.Close{ConnID: "c2"}, 6),
			open, &messages.Accepted{Stream: s}, &messages.Garbage{}, response("a", 200))
		if got := fmt.Sprint(st.handled); got != "[2 0 3 4 0 6 0 0]" {
			t.Errorf("given back were %s", got)
		}
		if len(q.answers) != 1 {
			t.Errorf("the request behind the failure has %d answers", len(q.answers))
		}
		if s.Ended() != "" || s.take() != "own, open" {
			t.Error("the connection behind the failure was not opened")
		}
		st.tell(fromClient(&messages.Close{ConnID: "c3"}, 0))
		st.wantAnswer(q, "200") // and the slot comes back, if it came before the answer
		st.wantNewGeneration(1)
	})
}

// fails makes a handler fail n times.
func (st *faultStage) fails(n int) {
	st.r.fault = func(m any) {
		if _, hit := m.(*messages.Garbage); hit {
			panic("injected")
		}
	}
	for range n {
		st.tell(&messages.Garbage{})
	}
	st.r.fault = nil
}

func TestNineFailuresInTenSecondsAreSurvived(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		st := r.faultStage()
		st.fails(9)
		st.want()
		st.wantNewGeneration(9)
	})
}

func TestTenthFailureInTenSecondsEndsTheTunnel(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		other := r.ready()
		st := r.faultStage()
		st.fails(5)
		time.Sleep(protocolWindow - 1)
		st.fails(4)
		st.want()
		q, s := st.asks("late", "GET"), st.accepts("late")
		st.fails(1)
		if calls := st.take(); len(calls) < 2 || calls[0] != "control GET" || calls[1] != "finish internal" {
			t.Errorf("the mux was told %q", calls)
		}
		st.wantAnswer(q, "tunnel_gone")
		if s.Ended() == "" {
			t.Error("a connection is left open")
		}
		if code, _ := messages.CloseFor(messages.ReasonInternal); code != 1011 {
			t.Errorf("the close code is %d", code)
		}
		st.say(&messages.MuxClosed{})
		if r.alive(st.owner) || r.alive(st.handler) {
			t.Error("an actor lives on")
		}
		if r.meter.of("restarted") != 9 || r.meter.of("tunnel ended internal") != 1 {
			t.Errorf("the meter counts %v", r.meter.counts)
		}
		r.wantTaken(1, 0, 0)
		r.wantWorks(other)
		other.end()
		r.wantFree()
	})
}

func TestFailuresSpreadOverTimeNeverEndTheTunnel(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		st := r.faultStage()
		for range 20 {
			st.fails(9)
			time.Sleep(protocolWindow)
		}
		for range 50 {
			st.fails(1)
			time.Sleep(protocolWindow/9 + 1)
		}
		st.want()
		st.wantNewGeneration(230)
	})
}

// The handler's last steps may fail too. Its tunnel must end all the same, and
// so the server that waits for it.
func TestHandlerThatFailsAsItEndsIsNotWaitedFor(t *testing.T) {
	for name, fault := range map[string]func(any){
		"close":    failOnce[*messages.CloseHandler](),
		"stopping": failOnce[*actor.Stopping](),
		"stopped":  failOnce[*actor.Stopped](),
	} {
		t.Run(name, func(t *testing.T) {
			inRig(t, rigOptions{}, func(r *tunnelRig) {
				st := r.faultStage()
				r.fault = fault
				st.say(&messages.MuxEnded{Reason: messages.ReasonClientGone})
				time.Sleep(handlerPatience)
				r.settle()
				st.say(&messages.MuxClosed{})
				if !isDone(r.drain()) {
					t.Error("the tunnel has not ended")
				}
				if len(st.sent.answers) != 1 || len(st.reading.answers) != 1 {
					t.Error("a request has no answer")
				}
				r.wantFree()
			})
		})
	}
}
