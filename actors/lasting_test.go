package actors

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"wsproxy/messages"
)

const (
	rigPatience     = 15 * time.Minute // that tunnels wait for another WebSocket
	protocolUnknown = 5 * time.Second  // that one waits whose client may not know that it can
)

func (m *rigMeter) lastingEvent(event string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lasting = append(m.lasting, event)
}

func (m *rigMeter) SessionDetached(endpoint string) { m.lastingEvent(endpoint + " detached") }
func (m *rigMeter) SessionResumed(_ string, away time.Duration) {
	m.lastingEvent(fmt.Sprint("resumed after ", away))
}
func (m *rigMeter) SessionGivenUp(_ string, reason messages.Reason, away time.Duration) {
	m.lastingEvent(fmt.Sprint(reason, " after ", away))
}

// wantMeter fails unless the meter was told this of tunnels that outlive their
// WebSocket since the last look.
func (r *tunnelRig) wantMeter(want string) {
	r.t.Helper()
	r.meter.mu.Lock()
	got := strings.Join(r.meter.lasting, ", ")
	r.meter.lasting = nil
	r.meter.mu.Unlock()
	if got != want {
		r.t.Errorf("the meter was told %q, want %q", got, want)
	}
}

func withResume(open *messages.OpenTunnel) { open.Credit, open.Bytes, open.Resume = true, true, true }

func lost(number uint32) *messages.WebSocketEnded {
	return &messages.WebSocketEnded{Number: number, Reason: messages.ReasonClientGone, Lost: true, Known: true}
}

func closed(number uint32) *messages.WebSocketEnded {
	return &messages.WebSocketEnded{Number: number, Reason: messages.ReasonClientClosed, Known: true}
}

// lose takes the tunnel its WebSocket, which had this number.
func (v *rigTunnel) lose(number uint32) {
	v.r.t.Helper()
	v.say(lost(number))
	v.want()
	v.r.wantMeter("tunnel detached")
}

const noAnswer = messages.Reason("no answer")

// takeUp has a client ask for the tunnel by its token, and returns the answer.
func (v *rigTunnel) takeUp(attempt uint64, edit ...func(*messages.TakeUp)) messages.Reason {
	v.r.t.Helper()
	id, secret, _ := strings.Cut(v.token, ".")
	answer := make(chan messages.Reason, 1)
	m := &messages.TakeUp{Secret: secret, User: "ann", Attempt: attempt, Position: 7, Readable: true, Source: rigCount.Addr(), Answer: answer}
	for _, e := range edit {
		e(m)
	}
	v.r.send(PID(v.r.system, id), m)
	select {
	case reason := <-answer:
		return reason
	default:
		return noAnswer
	}
}

// wantTakeUp fails unless a client that asks for the tunnel is answered this, and the mux
// told so.
func (v *rigTunnel) wantTakeUp(attempt uint64, answer messages.Reason, calls ...string) {
	v.r.t.Helper()
	if got := v.takeUp(attempt); got != answer {
		v.r.t.Errorf("attempt %d is answered %q, want %q", attempt, got, answer)
	}
	v.want(calls...)
}

// A token has the protocol's characters and entropy, and leads to its tunnel, whether
// that has a name or not.
func TestTokenLeadsToItsTunnel(t *testing.T) {
	form := regexp.MustCompile(`^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{43}$`) // 43 characters are 256 bits
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		leads := func(v *rigTunnel) {
			t.Helper()
			id, secret, _ := strings.Cut(v.token, ".")
			if !form.MatchString(v.token) || len(v.token) > messages.MaxResumeToken {
				t.Errorf("the token is %q", v.token)
			}
			if got := PID(r.system, id); got.Id != v.owner.Id || got.Address != v.owner.Address {
				t.Errorf("%q leads to %v, the tunnel is %v", id, got, v.owner)
			}
			if lines := fmt.Sprint(r.log.of("")); strings.Contains(lines, secret) {
				t.Errorf("the token is logged: %s", lines)
			}
		}
		leads(r.ready(withResume))
		first := r.ready(withResume, withName)
		leads(first)
		atTheDoor := &rigTunnel{fakeLink: &fakeLink{token: rigName + first.token[strings.IndexByte(first.token, '.'):]}, r: r}
		atTheDoor.wantTakeUp(1, messages.ReasonNoSession) // the subdomain is no part of it
		second := r.ready(withResume, withName)
		leads(second)
		first.want("finish name_taken")
		first.wantTakeUp(1, messages.ReasonNoSession)
		second.lose(0)
		second.wantTakeUp(1, "", "take up 1 7")
		r.leadsTo(second, true)
	})
}

// A tunnel waits with all that it has: its slot, its requests and raw connections; new
// ones are taken on as from a client that is slow.
func TestLostTunnelWaits(t *testing.T) {
	for _, known := range []bool{true, false} {
		inRig(t, rigOptions{bounds: Bounds{PerUser: 1}}, func(r *tunnelRig) {
			patience := rigPatience
			if !known {
				patience = protocolUnknown
			}
			v := r.ready(withResume)
			q, s := v.asks("q", "GET q"), v.accepts("c1")
			v.take()
			m := lost(0)
			m.Known = known
			v.say(m)
			r.wantMeter("tunnel detached")
			late := v.asks("late", "GET late")
			v.want("control GET late")
			v.accepts("c2")
			s.slow = true
			v.tell(&messages.Data{ConnID: "c1", Data: []byte("a")})
			v.pass(patience - time.Nanosecond)
			v.want()
			r.wantTaken(1, 2, 2)
			v.wantAnswer(q, "")
			v.pass(time.Nanosecond)
			v.want("finish resume_timeout")
			v.wantAnswer(q, "tunnel_gone")
			v.wantAnswer(late, "tunnel_gone")
			r.wantTaken(0, 0, 1) // what a raw connection has for its peer is delivered
			v.wantTakeUp(1, messages.ReasonNoSession)
			v.say(&messages.MuxClosed{})
			v.wantTakeUp(1, messages.ReasonNoSession)
			r.wantMeter("resume_timeout after " + patience.String())
			v.toConn(s, &messages.StreamClosed{})
			if r.alive(v.owner) {
				t.Error("the tunnel is left")
			}
			v.pass(rigPatience)
			r.wantFree()
		})
	}
}

// Until its client can know the token nothing of the WebSocket's end means that it
// waits: it begins, and finds out.
func TestTunnelIsNotDetachedBeforeItBegins(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.knock(withResume)
		v.token = v.subdomain() + "."
		v.wantTakeUp(1, messages.ReasonNoSession, "own")
		v.say(&messages.Upgraded{})
		v.say(lost(0))
		v.wantTakeUp(1, messages.ReasonNoSession, fmt.Sprint("listen ", rigFirstPort))
		r.wantMeter("")
		v.say(&messages.PortOpened{Port: rigFirstPort})
		if calls := v.take(); len(calls) != 2 || calls[0] != "announce" || !strings.HasPrefix(calls[1], "start ") {
			t.Errorf("the mux was told %q", calls)
		}
		v.lose(0)

		plain := r.ready() // of another kind
		plain.token = plain.subdomain() + "."
		plain.say(lost(0))
		plain.wantTakeUp(1, messages.ReasonNoSession)
		r.wantMeter("")
	})
}

// Who may take a tunnel up, what a refusal changes, and which WebSockets' ends mean
// anything.
func TestTunnelIsTakenUp(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready(withResume)
		nothing := func(ends ...*messages.WebSocketEnded) {
			t.Helper()
			for _, m := range ends {
				v.say(m)
			}
			v.want()
			r.wantMeter("")
		}
		nothing(lost(1), closed(1))
		v.lose(0)
		nothing(lost(0), closed(0), lost(1))
		for name, edit := range map[string]func(*messages.TakeUp){
			"a wrong secret": func(m *messages.TakeUp) { m.Secret = "x" },
			"another user":   func(m *messages.TakeUp) { m.User = "bob" },
		} {
			if got := v.takeUp(1, edit); got != messages.ReasonNoSession {
				t.Errorf("%s is answered %q", name, got)
			}
		}
		v.wantTakeUp(0, messages.ReasonOldAttempt)
		v.refusal = messages.ReasonNotContinued
		v.wantTakeUp(1, messages.ReasonNotContinued, "take up 1 7")
		nothing()
		v.refusal = ""
		v.pass(time.Minute)
		v.wantTakeUp(1, "", "take up 1 7")
		r.wantMeter("resumed after 1m0s")
		nothing(lost(0), closed(0))
		v.wantTakeUp(1, messages.ReasonOldAttempt)
		v.wantTakeUp(2, "", "take up 2 7") // in the place of one that it still has
		r.wantMeter("tunnel detached, resumed after 0s")
		nothing(lost(1), closed(1))
		v.pass(2 * rigPatience)
		nothing()
		v.say(closed(2))
		v.want("finish client_closed")
		nothing(lost(2), closed(2))
		v.wantTakeUp(3, messages.ReasonNoSession)
	})
}

// What ends a tunnel ends one that is away, at once: its slot is free, nobody takes it
// up, and its time means nothing any more.
func TestTunnelEndsWhileAway(t *testing.T) {
	for _, test := range []struct {
		reason messages.Reason
		end    func(r *tunnelRig, v *rigTunnel)
	}{
		{messages.ReasonShutdown, func(_ *tunnelRig, v *rigTunnel) { v.say(&messages.Shutdown{}) }},
		{messages.ReasonInternal, func(_ *tunnelRig, v *rigTunnel) { v.say(&messages.MuxEnded{Reason: messages.ReasonInternal}) }},
		{messages.ReasonNameTaken, func(r *tunnelRig, _ *rigTunnel) { r.ready(withName, func(m *messages.OpenTunnel) { m.User = "bob" }) }},
		{messages.ReasonInternal, func(r *tunnelRig, v *rigTunnel) {
			r.fault = func(any) { panic("injected") }
			for range 10 {
				v.tell(&messages.Garbage{})
			}
			r.fault = nil
		}},
	} {
		inRig(t, rigOptions{bounds: Bounds{PerUser: 1}}, func(r *tunnelRig) {
			v := r.ready(withResume, withName)
			v.lose(0)
			v.pass(time.Minute)
			test.end(r, v)
			if calls := slices.Compact(v.take()); len(calls) != 1 || calls[0] != "finish "+string(test.reason) {
				t.Errorf("the mux was told %q", calls)
			}
			r.ready() // has the slot
			v.wantTakeUp(1, messages.ReasonNoSession)
			v.say(lost(0))
			v.say(&messages.YieldSlot{})
			v.say(&messages.Shutdown{})
			v.want()
			v.say(&messages.MuxClosed{})
			if r.alive(v.owner) {
				t.Error("its actor lives")
			}
			r.wantMeter(string(test.reason) + " after 1m0s")
			time.Sleep(rigPatience)
			r.settle()
			v.want()
		})
	}
}

// A tunnel that closes waits for nobody: what becomes of its WebSocket then is no loss.
func TestTunnelThatClosesIsNotDetached(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready(withResume)
		v.say(&messages.Shutdown{})
		v.want("finish shutdown")
		v.say(lost(0))
		v.wantTakeUp(1, messages.ReasonNoSession)
		v.say(&messages.MuxClosed{})
		r.wantMeter("")
		if n := len(r.log.of("tunnel detached")); n != 0 {
			t.Errorf("%d lines say that it is detached", n)
		}
		r.wantFree()
	})
}

// A tunnel gives way to a new session of its user, also if it was taken up just then.
func TestTunnelGivesWay(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{PerUser: 1}}, func(r *tunnelRig) {
		v := r.ready(withResume)
		v.lose(0)
		other := r.ready(withResume)
		v.want("finish gave_way")
		v.say(&messages.MuxClosed{})
		r.wantMeter("gave_way after 0s")
		r.wantTaken(1, 0, 0)
		other.lose(0)
		other.wantTakeUp(1, "", "take up 1 7")
		other.say(&messages.YieldSlot{})
		other.want("finish gave_way")
		r.wantTaken(1, 0, 0) // it was another's already
		other.say(&messages.MuxClosed{})
		r.wantMeter("resumed after 0s")
		r.wantFree()
	})
}

// The drain waits for a tunnel that is away, and refuses nobody who takes it up.
func TestDrainWaitsForDetachedTunnels(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready(withResume)
		v.lose(0)
		done := r.drain()
		v.wantTakeUp(1, "", "take up 1 7")
		v.say(lost(1))
		if isDone(done) {
			t.Fatal("drained while a tunnel waits")
		}
		v.pass(rigPatience)
		v.say(&messages.MuxClosed{})
		if !isDone(done) {
			t.Error("the drain goes on")
		}
		r.wantMeter("resumed after 0s, tunnel detached, resume_timeout after " + rigPatience.String())
	})
}

// A tunnel that fails while it is away gives back what it has, and is counted out, even
// if its mux fails with it.
func TestTunnelFailsWhileAway(t *testing.T) {
	for _, test := range []struct {
		panicIn string
		fails   func(v *rigTunnel)
	}{
		{"take up", func(v *rigTunnel) { v.wantTakeUp(1, noAnswer, "take up 1 7", "finish internal") }},
		{"finish", func(v *rigTunnel) {
			v.onFinish = func() { v.panicIn = "finish" } // each time
			v.say(&messages.Shutdown{})
		}},
	} {
		inRig(t, rigOptions{}, func(r *tunnelRig) {
			v := r.ready(withResume)
			v.lose(0)
			v.pass(time.Second)
			v.panicIn = test.panicIn
			test.fails(v)
			if r.alive(v.owner) {
				t.Error("its actor lives")
			}
			v.pass(2 * rigPatience)
			told := "internal after 1s"
			if test.panicIn == "finish" {
				told = "shutdown after 1s"
			}
			r.wantMeter(told)
			r.wantFree()
		})
	}
}
