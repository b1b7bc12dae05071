package relays

import (
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/ledger"
	"wsproxy/actors/limits"
	"wsproxy/actors/sessions"
	"wsproxy/actors/supervise"
	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/desk"
	"wsproxy/messages"
)

// A relay that fails ends alone: its handler is answered, its pair finished,
// its slot comes back, it counts as ended, and other sessions notice nothing.
// Each method of the pair is a step of the relay that may fail.
func TestPanicInOneRelayEndsThatRelayAlone(t *testing.T) {
	for _, test := range []struct {
		method   string
		admitted bool // whether the failure comes after the handler's answer
		started  bool // whether it comes after the start was logged
	}{
		{"own", false, false},
		{"resolve", false, false},
		{"dial", true, true},
		{"pump", true, true},
	} {
		t.Run(test.method, func(t *testing.T) {
			h := newHouse(t, Bounds{PerUser: 2})
			other := h.relaying()
			pair := newFakePair()
			pair.panicIn = test.method
			v := h.knock(pair)
			v.want(t, "own")
			if test.admitted {
				v.want(t, "resolve")
				v.say(&messages.TargetResolved{})
				v.session = testkit.Receive(t, v.answers).Session
				h.send(v.session, &messages.Upgraded{})
				v.want(t, "dial")
				if test.method == "pump" {
					v.say(&messages.TargetDialed{})
					v.want(t, "pump")
				}
			} else {
				if test.method == "resolve" {
					v.want(t, "resolve")
				}
				v.wantRefusal(messages.ReasonInternal)
			}
			v.want(t, "finish internal")
			testkit.Eventually(t, "the slot of the failed relay is free", func() bool {
				holder := h.desk.Holder()
				free := h.desk.Acquire(holder, desk.UserClaim("ann")) == ""
				h.system.Root.Stop(holder)
				return free
			})
			v.wantNoMoreAnswers()
			wantStack(t, h.lines, test.method)

			h.desk.Settled(other.session)
			other.say(&messages.PumpEnded{Reason: messages.ReasonTargetEnded})
			other.closed(messages.ReasonTargetEnded)
			testkit.Receive(t, h.drain())
			started, ended := h.meter.counts()
			if started != ended || started != len(h.lines.Of("relay started")) {
				t.Errorf("the meter counts %d starts and %d ends", started, ended)
			}
			if test.started {
				lines := h.lines.Of("relay ended")
				if len(lines) != 2 || lines[0].Fields["reason"] != "internal" || lines[0].Fields["session"] != sessions.ID(v.session) {
					t.Errorf("the ends that were logged: %v", lines)
				}
			}
		})
	}
}

// wantStack fails unless the log has the stack of the panic in a fake pair.
func wantStack(t *testing.T, lines *testkit.Journal, method string) {
	t.Helper()
	for _, line := range lines.Of("an actor failed") {
		stack, _ := line.Fields["stack"].(string)
		if line.Level == slog.LevelError && line.Fields["fault"] == "injected into "+method && strings.Contains(stack, "fakePair") {
			return
		}
	}
	t.Errorf("no line has the stack of the panic in %s", method)
}

// The last things that a relay does fail: its parent must not wait for it for
// ever, and its slot must come back.
func TestPanicWhileARelayStopsDoesNotHangItsParent(t *testing.T) {
	h := newHouse(t, Bounds{PerUser: 1})
	v := h.relaying()
	v.panicIn = "finish"
	v.say(&messages.PumpEnded{Reason: messages.ReasonTargetEnded})
	v.want(t, "finish target_ended", "finish internal") // in Receive, and again in Stopping
	testkit.Receive(t, h.drain())
	testkit.Eventually(t, "the slot is free", func() bool {
		return h.desk.Acquire(h.desk.Holder(), desk.UserClaim("ann")) == ""
	})
}

func TestPanicInTheLastLineDoesNotHangTheParent(t *testing.T) {
	h := newHouse(t, Bounds{})
	v := h.relaying()
	v.panicIn = "moved"
	v.say(&messages.PumpEnded{Reason: messages.ReasonTargetEnded})
	v.closed(messages.ReasonTargetEnded)
	testkit.Receive(t, h.drain())
}

// A failing start must not leave the handler, or a refused session's pair.
func TestPanicOfARefusedRelayAnswersOnce(t *testing.T) {
	h := newHouse(t, Bounds{})
	pair := newFakePair()
	pair.panicIn = "finish"
	v := h.knock(pair)
	v.want(t, "own", "resolve")
	v.say(&messages.TargetResolved{Refused: true})
	v.wantRefusal(messages.ReasonTargetRefused)
	v.want(t, "finish target_refused", "finish internal")
	testkit.Receive(t, h.drain())
	v.wantNoMoreAnswers()
}

func TestPanicInRelaysKeepsItsSessions(t *testing.T) {
	h := newHouse(t, Bounds{})
	v := h.relaying()
	h.send(h.relays, (*messages.Drain)(nil)) // no Drain to take Done from: panics
	testkit.Eventually(t, "the failure is logged", func() bool { return len(h.lines.Of("an actor failed")) == 1 })
	h.desk.Settled(h.relays)
	h.desk.Settled(v.session)
	v.say(&messages.PumpEnded{Reason: messages.ReasonTargetEnded})
	v.closed(messages.ReasonTargetEnded)
	testkit.Receive(t, h.drain()) // it has not lost count
}

// The handler whose session could not even be spawned is answered too, and the
// count of sessions stays right.
func TestPanicInSpawningAnswersTheHandler(t *testing.T) {
	h := newHouse(t, Bounds{})
	var broken atomic.Bool
	log := slog.New(slog.DiscardHandler)
	session := relayProps(&Needs{Limits: h.desk.Limits, Meter: h.meter, Log: log}).Configure(
		actor.WithSpawnFunc(func(system *actor.ActorSystem, id string, props *actor.Props, parent actor.SpawnerContext) (*actor.PID, error) {
			if broken.Load() {
				panic("injected into spawning")
			}
			return actor.DefaultSpawner(system, id, props, parent)
		}))
	h.relays = h.system.Root.Spawn(supervise.Guarded(log, func() actor.Actor { return &relays{session: session, limits: h.desk.Limits} },
		actor.WithGuardian(supervise.Resume), actor.WithSupervisor(supervise.Stop)))

	v := h.relaying()
	broken.Store(true)
	h.knock(newFakePair()).wantRefusal(messages.ReasonInternal)
	broken.Store(false)
	h.desk.Settled(v.session)
	later := h.relaying()
	for _, v := range []*visit{v, later} {
		v.say(&messages.PumpEnded{Reason: messages.ReasonTargetEnded})
		v.closed(messages.ReasonTargetEnded)
	}
	testkit.Receive(t, h.drain())
}

// Limits that fail while a session waits for them refuse it.
func TestSessionIsRefusedWhenTheLimitsFail(t *testing.T) {
	h := newHouseWith(t, &limits.Book{Ledger: &ledger.Ledger{}}) // no maps to write to
	v := h.knock(newFakePair())
	v.want(t, "own", "resolve")
	v.say(&messages.TargetResolved{})
	v.wantRefusal(messages.ReasonInternal)
	v.closed(messages.ReasonInternal)
	testkit.Receive(t, h.drain())
	v.wantNoMoreAnswers()
}
