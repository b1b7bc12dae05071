package relays

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wsproxy/actors/sessions"
	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

var targetEnded = &messages.PumpEnded{Reason: messages.ReasonTargetEnded}

// endsWhileAway has a session's target end while its client is away.
func (h *house) endsWhileAway() *visit {
	h.t.Helper()
	v := h.lasting()
	v.lose(0)
	if did := v.tell(targetEnded); did != "finish target_ended" {
		h.t.Fatalf("when the target ends it does %q", did)
	}
	return v
}

// What is left for a client that is away waits for it, and so does its slot: until it
// has come, has heard of the end, and has answered that. Then the slot is free, and counted
// again if the target takes its time.
func TestEndOfTheTargetWaitsForTheClient(t *testing.T) {
	inHouse(t, Bounds{PerUser: 1}, func(h *house) {
		v := h.endsWhileAway()
		time.Sleep(2 * messages.Linger)
		h.wantSlot("while the client can come", true)
		v.resumed(1, "take up 1 7")
		h.wantMeter("resumed after " + (2 * messages.Linger).String())
		h.wantSlot("when it has come", true)
		time.Sleep(2 * messages.Linger)
		h.wantSlot("when it reads slowly", true)
		if did := v.tell(closed(1)); did != "" {
			t.Errorf("when the client has answered it does %q", did)
		}
		h.wantSlot("when it has answered", false)
		time.Sleep(messages.Linger)
		h.wantSlot("when it takes long", true)
		v.say(&messages.PairClosed{Reason: messages.ReasonTargetEnded})
		v.gone()
		h.wantSlot("at the end", false)
		h.wantMeter("")
	})
}

// It is lost again before it has heard all, as often as it likes.
func TestClientOfAnEndedTargetIsLostAgain(t *testing.T) {
	inHouse(t, Bounds{PerUser: 1}, func(h *house) {
		v := h.endsWhileAway()
		for n := range uint32(3) {
			v.resumed(uint64(n)+1, fmt.Sprint("take up ", n+1, " 7"))
			h.wantMeter("resumed after 0s")
			v.lose(n + 1)
		}
		time.Sleep(patience - 1)
		if did := v.did(); did != "" {
			t.Errorf("it does %q", did)
		}
		time.Sleep(time.Nanosecond)
		if did := v.did(); did != "cut" {
			t.Errorf("when its time is over it does %q", did)
		}
		v.say(&messages.PairClosed{Reason: messages.ReasonTargetEnded})
		v.gone()
		h.wantMeter("target_ended after " + patience.String())
		h.wantSlot("at the end", false)
	})
}

// It has its slot all the while: else a client could have any number of sessions.
func TestClientThatComesAndGoesHasASlot(t *testing.T) {
	inHouse(t, Bounds{PerUser: 1}, func(h *house) {
		v := h.endsWhileAway()
		for n := range uint32(6) {
			v.resumed(uint64(n)+1, fmt.Sprint("take up ", n+1, " 7"))
			h.wantMeter(fmt.Sprintf("resumed after %v", min(time.Duration(n), 1)*messages.Linger/5))
			h.wantSlot(fmt.Sprint("when it has come again, ", n), true)
			time.Sleep(messages.Linger / 4)
			v.lose(n + 1)
			time.Sleep(messages.Linger / 5)
		}
	})
}

// One that loses its WebSocket while it closes keeps its slot, and gives way with that
// like any other.
func TestSessionThatIsLostWhileItClosesGivesWay(t *testing.T) {
	inHouse(t, Bounds{PerUser: 1}, func(h *house) {
		v := h.lasting()
		if did := v.tell(targetEnded); did != "finish target_ended" {
			h.t.Fatalf("when the target ends it does %q", did)
		}
		v.lose(0)
		h.wantSlot("just closed", true)
		time.Sleep(messages.Linger)
		h.wantSlot("after a while", true)
		if did := v.did(); did != "" {
			t.Errorf("within the limits it does %q", did)
		}
		h.lasting()
		if did := v.did(); did != "cut" {
			t.Errorf("when another one comes it does %q", did)
		}
		v.say(&messages.PairClosed{Reason: messages.ReasonTargetEnded})
		v.gone()
		h.wantMeter("target_ended after " + messages.Linger.String())
		h.wantSlot("the other one", true)
	})
}

// A session that closes gives way while nobody is there. If its client has come, it
// has no slot, and what it fetches is not cut.
func TestSessionThatClosesGivesWay(t *testing.T) {
	inHouse(t, Bounds{PerUser: 1}, func(h *house) {
		v := h.endsWhileAway()
		h.lasting()
		if did := v.did(); did != "cut" {
			t.Errorf("away it does %q", did)
		}
	})
	inHouse(t, Bounds{PerUser: 1}, func(h *house) {
		v := h.endsWhileAway()
		v.resumed(1, "take up 1 7")
		if did := v.tell(&messages.YieldSlot{}); did != "" {
			t.Errorf("just taken up it does %q", did)
		}
	})
}

// The drain changes nothing for a session that waits, and waits for it; the shutdown
// waits for nobody.
func TestDrainWaitsForDetachedSessionsAndShutdownDoesNot(t *testing.T) {
	inHouse(t, Bounds{}, func(h *house) {
		away, closing, attached := h.lasting(), h.endsWhileAway(), h.lasting()
		h.wantMeter("")
		away.lose(0)
		attached.say(targetEnded)
		if did := attached.did(); did != "finish target_ended" {
			t.Errorf("attached it does %q", did)
		}
		done := h.drain()
		synctest.Wait()
		away.resumed(1, "take up 1 7")
		h.wantMeter("resumed after 0s")
		away.lose(1)
		if isClosed(done) {
			h.t.Fatal("drained while sessions wait")
		}
		h.send(h.relays, &messages.Shutdown{})
		for _, row := range []struct {
			v    *visit
			does string
		}{{away, "finish shutdown"}, {closing, "cut"}, {attached, ""}} {
			if did := row.v.did(); did != row.does {
				t.Errorf("at shutdown it does %q, want %q", did, row.does)
			}
		}
		if did := attached.tell(lost(0)); did != "cut" {
			t.Errorf("lost after the shutdown it does %q", did)
		}
		for _, v := range []*visit{away, closing, attached} {
			v.say(&messages.PairClosed{Reason: messages.ReasonShutdown})
			v.gone()
		}
		testkit.Receive(t, done)
		h.wantMeter("detached, shutdown after 0s, shutdown after 0s, shutdown after 0s")
	})
}

// A session that fails while it is away gives back what it has, and its time ends
// nothing any more. Whoever wanted to take it up sees that it is gone.
func TestPanicWhileAway(t *testing.T) {
	for _, test := range []struct {
		name    string
		panicIn string
		fails   func(v *visit)
		does    string
	}{
		{"take-up", "take up", func(v *visit) {
			if got := v.takeUp(1); got != noAnswer {
				v.h.t.Errorf("the answer is %q", got)
			}
		}, "take up 1 7, finish internal, cut"},
		{"pump", "pump", func(v *visit) { v.say(&messages.TargetDialed{}) }, "pump, finish internal, cut"},
		{"finish", "finish", func(v *visit) { v.say(targetEnded) }, "finish target_ended, finish internal"},
		{"time", "finish", func(*visit) { time.Sleep(patience) }, "finish resume_timeout, finish internal"},
		{"cut", "cut", func(v *visit) { v.say(targetEnded); v.say(&messages.YieldSlot{}) }, "finish target_ended, cut, finish internal, cut"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inHouse(t, Bounds{PerUser: 1}, func(h *house) {
				v := h.lastingDialing()
				v.panicIn = test.panicIn
				v.lose(0)
				test.fails(v)
				if did := v.did(); did != test.does {
					t.Errorf("it does %q, want %q", did, test.does)
				}
				v.gone()
				h.wantSlot("when it has failed", false)
				told := h.meter.of()
				if !strings.HasPrefix(told, "internal after ") || strings.Contains(told, ",") {
					t.Errorf("the meter was told %q", told)
				}
				time.Sleep(2 * patience)
				if did := v.did(); did != "" {
					t.Errorf("long after it does %q", did)
				}
				if got := v.takeUp(2); got != noAnswer { // nobody is there, which the edge sees
					t.Errorf("the answer is %q", got)
				}
			})
		})
	}
}

// Whatever comes in whatever order: what is detached is resumed or given up, once, and
// what is claimed is given back, but for what the end of the actor gives.
func TestDetachedIsResumedOrGivenUpWhateverTheOrder(t *testing.T) {
	token := ""
	takeUp := func(attempt uint64) any {
		return &messages.TakeUp{Secret: token, User: "ann", Attempt: attempt, Readable: true, Answer: make(chan messages.Reason, 1)}
	}
	all := []struct {
		name string
		make func(step int) any
	}{
		{"lost 0", func(int) any { return lost(0) }},
		{"lost 1", func(int) any { return lost(1) }},
		{"closed 0", func(int) any { return closed(0) }},
		{"take-up", func(step int) any { return takeUp(uint64(step) + 1) }},
		{"target", func(int) any { return targetEnded }},
		{"yield", func(int) any { return &messages.YieldSlot{} }},
		{"still closes", func(int) any { return &sessions.StillCloses{} }},
		{"refused", func(int) any { return &messages.Refused{Reason: messages.ReasonUserLimit} }},
		{"shutdown", func(int) any { return &messages.Shutdown{} }},
		{"stopping", func(int) any { return relayStopping }},
	}
	path := make([]int, 4)
	var walk func(depth int)
	walk = func(depth int) {
		if depth < len(path) {
			for path[depth] = range all {
				walk(depth + 1)
			}
			return
		}
		s := newStage(t, true)
		s.open.Resume = true
		s.relay.needs = &Needs{Limits: stageLimits, Meter: s.meter, Log: slog.New(slog.DiscardHandler),
			Lasting: sessions.Terms{Timeout: patience, Endpoint: "relay", Meter: s.meter, Limits: stageLimits}}
		for _, m := range toRelaying {
			s.say(m)
		}
		_, token, _ = strings.Cut(s.pair.token, ".")
		names, stopped := "", false
		for step, i := range path {
			m := all[i].make(step)
			if stopped {
				break // the library delivers no more
			}
			names += ", " + all[i].name
			s.say(m)
			stopped = m == relayStopping
		}
		if !stopped {
			s.say(&messages.PairClosed{Reason: messages.ReasonTargetEnded})
		}
		detached, ended := 0, 0
		for event := range strings.SplitSeq(s.meter.of(), ", ") {
			switch {
			case event == "detached":
				detached++
			case event != "":
				ended++
			}
			if detached-ended < 0 || detached-ended > 1 {
				t.Errorf("%s: the gauge is %d", names, detached-ended)
			}
		}
		if detached != ended {
			t.Errorf("%s: %d are detached, %d have ended", names, detached, ended)
		}
		if s.relay.linger != nil && s.relay.linger.Stop() {
			t.Errorf("%s: a timer is left", names)
		}
	}
	walk(0)
}
