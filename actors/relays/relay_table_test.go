package relays

import (
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/supervise"
	"wsproxy/messages"
)

// A stage is an actor.Context for one relay without an actor system: each
// message is handled when say returns, and what the relay does is written down.
type stage struct {
	actor.Context // nil: what the relay has no business to call panics
	system        *actor.ActorSystem
	t             *testing.T
	relay         *relay
	open          *messages.OpenRelay
	pair          *fakePair
	meter         *tally
	answers       chan messages.Admission
	message       any
	deeds         []string
}

var (
	stageSelf   = actor.NewPID("nonhost", "relay-under-test")
	stageLimits = actor.NewPID("nonhost", "limits")
)

func newStage(t *testing.T, lookup bool) *stage {
	s := &stage{t: t, system: stageSystem(), pair: newFakePair(), meter: &tally{}, answers: make(chan messages.Admission, 8)}
	source := netip.MustParseAddr("192.0.2.7")
	s.relay = &relay{
		needs: &Needs{Limits: stageLimits, Meter: s.meter, Log: slog.New(slog.DiscardHandler)},
	}
	s.open = &messages.OpenRelay{
		Source: source, Count: netip.PrefixFrom(source, 32), User: "ann", Target: "target:22",
		Lookup: lookup, Upgrade: true, Pair: s.pair, Answer: s.answers,
	}
	return s
}

// stageSystem is where timers would send: nobody of the stage lives there.
var stageSystem = sync.OnceValue(func() *actor.ActorSystem {
	return supervise.NewSystem(slog.New(slog.DiscardHandler))
})

func (s *stage) ActorSystem() *actor.ActorSystem { return s.system }
func (s *stage) Message() any                    { return s.message }
func (s *stage) Self() *actor.PID                { return stageSelf }
func (s *stage) Stop(who *actor.PID)             { s.deed("stop", who == stageSelf) }
func (s *stage) Send(to *actor.PID, m any)       { s.sent(to, m) }

func (s *stage) deed(what string, legal bool) {
	if !legal {
		s.t.Errorf("%s to the wrong actor", what)
	}
	s.deeds = append(s.deeds, what)
}

func (s *stage) sent(to *actor.PID, m any) {
	legal := to == stageLimits
	switch m := m.(type) {
	case *messages.Acquire:
		s.deed("acquire "+kindsOf(m.Claims), legal && m.Holder == stageSelf)
	case *messages.Release:
		s.deed("release "+kindsOf(m.Claims), legal && m.Holder == stageSelf)
	case *messages.Detached:
		s.deed(fmt.Sprintf("detached %t", m.Away), legal && m.Holder == stageSelf)
	default:
		s.t.Errorf("a relay sends a %T", m)
	}
}

func kindsOf(claims []messages.Claim) string {
	names := [messages.ClaimKinds]string{"address", "user", "lookup"}
	var kinds []string
	for _, c := range claims {
		kinds = append(kinds, names[c.Kind])
	}
	return strings.Join(kinds, "+")
}

// say has the relay handle a message and returns all that it did: what it sent,
// what its pair was told, and what the HTTP handler was answered.
func (s *stage) say(message any) string {
	s.deeds = nil
	if message == begin {
		message = &openRelay{s.open, false}
	}
	s.message = message
	s.relay.Receive(s)
	for _, call := range s.pair.taken() {
		if call != "moved" { // a question, no deed
			s.deeds = append(s.deeds, call)
		}
	}
	for len(s.answers) > 0 {
		if a := <-s.answers; a.Session == stageSelf {
			s.deeds = append(s.deeds, "admit")
		} else {
			s.deeds = append(s.deeds, "refuse: "+string(a.Refusal))
		}
	}
	slices.Sort(s.deeds) // the order among different ears means nothing
	return strings.Join(s.deeds, ", ")
}

// begin stands for the first message, which holds the stage's own pair.
const begin = "begin"

var relayStopping = &actor.Stopping{}

// The messages that a relay may get, by the names that the table uses.
var relayMessages = []struct {
	name    string
	message any
}{
	{"granted", &messages.Granted{}},
	{"refused", &messages.Refused{Reason: messages.ReasonUserLimit}},
	{"resolved", &messages.TargetResolved{}},
	{"unresolved", &messages.TargetResolved{Refused: true}},
	{"upgraded", &messages.Upgraded{}},
	{"abandoned", &messages.Abandoned{}},
	{"dialed", &messages.TargetDialed{}},
	{"undialed", &messages.TargetDialed{Failure: messages.ReasonTargetUnreachable}},
	{"pump", &messages.PumpEnded{Reason: messages.ReasonClientGone}},
	{"closed", &messages.PairClosed{Reason: messages.ReasonTargetEnded}},
	{"drain", &messages.Drain{}},
	{"shutdown", &messages.Shutdown{}},
	{"stopping", relayStopping},
	{"unknown", &struct{}{}},
}

// The messages that lead to each state, from Started on.
var (
	toLooking   = []any{&actor.Started{}, begin}
	toResolving = after(toLooking, &messages.Granted{})
	toClaiming  = after(toResolving, &messages.TargetResolved{})
	toAdmitted  = after(toClaiming, &messages.Granted{})
	toDialing   = after(toAdmitted, &messages.Upgraded{})
	toRelaying  = after(toDialing, &messages.TargetDialed{})
	toClosing   = after(toRelaying, &messages.PumpEnded{Reason: messages.ReasonTargetEnded})
	toEnded     = after(toClosing, &messages.PairClosed{Reason: messages.ReasonTargetEnded})
	toRefused   = after(toClaiming, &messages.Refused{Reason: messages.ReasonUserLimit})
)

func after(path []any, more ...any) []any { return slices.Concat(path, more) }

// relayTable says for each state and message what the relay does, and the state
// that it is in then. What is not listed changes nothing and does nothing,
// whatever the state: a message that comes at the wrong time.
var relayTable = []struct {
	from  string
	path  []any
	state relayState
	does  map[string]string
	goes  map[string]relayState
}{
	{"looking", toLooking, relayLooking, map[string]string{
		"granted":   "resolve",
		"refused":   "finish user_limit, refuse: user_limit",
		"abandoned": "finish abandoned, release lookup",
		"pump":      "finish client_gone, release lookup",
		"closed":    "stop",
		"shutdown":  "finish draining, refuse: draining",
		"stopping":  "finish internal, refuse: internal",
	}, map[string]relayState{"granted": relayResolving, "refused": relayClosing, "abandoned": relayClosing, "pump": relayClosing,
		"closed": relayEnded, "shutdown": relayClosing, "stopping": relayEnded}},
	{"resolving", toResolving, relayResolving, map[string]string{
		"refused":    "finish user_limit, refuse: user_limit",
		"resolved":   "acquire address+user, release lookup",
		"unresolved": "finish target_refused, refuse: target_refused, release lookup",
		"abandoned":  "finish abandoned, release lookup",
		"pump":       "finish client_gone, release lookup",
		"closed":     "stop",
		"shutdown":   "finish draining, refuse: draining",
		"stopping":   "finish internal, refuse: internal",
	}, map[string]relayState{"refused": relayClosing, "resolved": relayClaiming, "unresolved": relayClosing, "abandoned": relayClosing,
		"pump": relayClosing, "closed": relayEnded, "shutdown": relayClosing, "stopping": relayEnded}},
	{"claiming", toClaiming, relayClaiming, map[string]string{
		"granted":   "admit",
		"refused":   "finish user_limit, refuse: user_limit",
		"abandoned": "finish abandoned, release address+user",
		"pump":      "finish client_gone, release address+user",
		"closed":    "stop",
		"shutdown":  "finish draining, refuse: draining",
		"stopping":  "finish internal, refuse: internal",
	}, map[string]relayState{"granted": relayAdmitted, "refused": relayClosing, "abandoned": relayClosing, "pump": relayClosing,
		"closed": relayEnded, "shutdown": relayClosing, "stopping": relayEnded}},
	{"admitted", toAdmitted, relayAdmitted, map[string]string{
		"upgraded":  "dial",
		"abandoned": "finish abandoned, release address+user",
		"pump":      "finish client_gone, release address+user",
		"closed":    "stop",
		"shutdown":  "finish shutdown, release address+user",
		"stopping":  "finish internal",
	}, map[string]relayState{"upgraded": relayDialing, "abandoned": relayClosing, "pump": relayClosing,
		"closed": relayEnded, "shutdown": relayClosing, "stopping": relayEnded}},
	{"dialing", toDialing, relayDialing, map[string]string{
		"abandoned": "finish abandoned, release address+user",
		"dialed":    "pump",
		"undialed":  "finish target_unreachable, release address+user",
		"pump":      "finish client_gone, release address+user",
		"closed":    "stop",
		"shutdown":  "finish shutdown, release address+user",
		"stopping":  "finish internal",
	}, map[string]relayState{"abandoned": relayClosing, "dialed": relayRelaying, "undialed": relayClosing, "pump": relayClosing,
		"closed": relayEnded, "shutdown": relayClosing, "stopping": relayEnded}},
	{"relaying", toRelaying, relayRelaying, map[string]string{
		"abandoned": "finish abandoned, release address+user",
		"pump":      "finish client_gone, release address+user",
		"closed":    "stop",
		"shutdown":  "finish shutdown, release address+user",
		"stopping":  "finish internal",
	}, map[string]relayState{"abandoned": relayClosing, "pump": relayClosing, "closed": relayEnded,
		"shutdown": relayClosing, "stopping": relayEnded}},
	{"closing", toClosing, relayClosing, map[string]string{
		"closed":   "stop",
		"stopping": "finish internal", // changes nothing at the pair but where Finish itself has failed
	}, map[string]relayState{"closed": relayEnded, "stopping": relayEnded}},
	{"refused", toRefused, relayClosing, map[string]string{
		"closed":   "stop",
		"stopping": "finish internal",
	}, map[string]relayState{"closed": relayEnded, "stopping": relayEnded}},
	// After PairClosed the library delivers nothing but Stopping and Stopped.
	{"ended", toEnded, relayEnded, map[string]string{
		"closed": "stop",
	}, nil},
}

func TestRelayAnswersEveryMessageInEveryState(t *testing.T) {
	for _, row := range relayTable {
		for _, m := range relayMessages {
			t.Run(row.from+"/"+m.name, func(t *testing.T) {
				s := newStage(t, true)
				for _, step := range row.path {
					s.say(step)
				}
				if s.relay.state != row.state {
					t.Fatalf("the way there leads to state %d, want %d", s.relay.state, row.state)
				}
				if got := s.say(m.message); got != row.does[m.name] {
					t.Errorf("it does %q, want %q", got, row.does[m.name])
				}
				want, moves := row.goes[m.name]
				if !moves {
					want = row.state
				}
				if s.relay.state != want {
					t.Errorf("it goes to state %d, want %d", s.relay.state, want)
				}
			})
		}
	}
}

// Whatever comes in whatever order, the handler is answered once and no more,
// the pair is finished for one reason, and what starts also ends.
func TestRelayAnswersOnceWhateverTheOrder(t *testing.T) {
	for first := range relayMessages {
		for second := range relayMessages {
			for _, path := range [][]any{toLooking, toResolving, toClaiming, toAdmitted, toDialing, toRelaying} {
				s := newStage(t, true)
				var deeds []string
				stopping := false
				say := func(m any) {
					if stopping { // the library delivers no more
						return
					}
					if m == relayStopping {
						stopping = true
					}
					done := s.say(m)
					deeds = append(deeds, done)
					if strings.Contains(done, "stop") && !stopping {
						stopping = true
						deeds = append(deeds, s.say(relayStopping))
					}
				}
				for _, m := range path {
					say(m)
				}
				say(relayMessages[first].message)
				say(relayMessages[second].message)
				say(relayStopping) // comes at the end of every relay

				name := fmt.Sprintf("%d steps, %s, %s: %q", len(path), relayMessages[first].name, relayMessages[second].name, deeds)
				all := strings.Join(deeds, ", ")
				if n := strings.Count(all, "admit") + strings.Count(all, "refuse:"); n != 1 {
					t.Errorf("%s: %d answers", name, n)
				}
				if started, ended := s.meter.counts(); started != ended {
					t.Errorf("%s: %d sessions started, %d ended", name, started, ended)
				}
			}
		}
	}
}

func TestRelayToALiteralClaimsNoLookup(t *testing.T) {
	s := newStage(t, false)
	if got, want := s.say(begin), "own, resolve"; got != want {
		t.Errorf("at the start it does %q, want %q", got, want)
	}
	if got, want := s.say(&messages.TargetResolved{}), "acquire address+user"; got != want {
		t.Errorf("after resolving it does %q, want %q", got, want)
	}
}

func TestRelayOfNobodyClaimsForNoUser(t *testing.T) {
	s := newStage(t, false)
	s.open.User = ""
	s.say(begin)
	if got, want := s.say(&messages.TargetResolved{}), "acquire address"; got != want {
		t.Errorf("after resolving it does %q, want %q", got, want)
	}
}

// 429 takes precedence over 503 (protocol, section 2), and so do 403 and the
// rest: what drains must ask all the same.
func TestRelayWhileDrainingIsRefusedLast(t *testing.T) {
	draining := func() *stage {
		s := newStage(t, true)
		s.say(&openRelay{s.open, true})
		for _, m := range toClaiming[len(toLooking):] {
			s.say(m)
		}
		return s
	}
	if got, want := draining().say(&messages.Granted{}), "finish draining, refuse: draining, release address+user"; got != want {
		t.Errorf("within the limits: %q, want %q", got, want)
	}
	if got, want := draining().say(&messages.Refused{Reason: messages.ReasonAddressLimit}), "finish address_limit, refuse: address_limit"; got != want {
		t.Errorf("above the limit: %q, want %q", got, want)
	}
	s := newStage(t, true)
	for _, m := range toAdmitted {
		s.say(m)
	}
	s.say(&messages.Drain{})
	if got, want := s.say(&messages.Upgraded{}), "dial"; got != want {
		t.Errorf("a session that was admitted before: %q, want %q", got, want)
	}
}

func TestRelayGivesItsClaimsBackOnce(t *testing.T) {
	s := newStage(t, true)
	for _, m := range toResolving {
		s.say(m)
	}
	if got, want := s.say(&messages.TargetResolved{Refused: true}), "finish target_refused, refuse: target_refused, release lookup"; got != want {
		t.Errorf("it does %q, want %q", got, want)
	}
	s = newStage(t, true)
	for _, m := range toRelaying {
		s.say(m)
	}
	if got, want := s.say(&messages.PumpEnded{Reason: messages.ReasonTargetEnded}), "finish target_ended, release address+user"; got != want {
		t.Errorf("it does %q, want %q", got, want)
	}
	if got, want := s.say(&messages.PairClosed{Reason: messages.ReasonTargetEnded}), "stop"; got != want {
		t.Errorf("at the end it does %q, want %q", got, want)
	}
}

// 426 is the last answer of all: what is no handshake is judged like one.
func TestRelayWithoutAHandshakeIsRefusedLast(t *testing.T) {
	claiming := func(draining bool) *stage {
		s := newStage(t, true)
		s.open.Upgrade = false
		s.say(&openRelay{s.open, draining})
		for _, m := range toClaiming[len(toLooking):] {
			s.say(m)
		}
		return s
	}
	for _, c := range []struct {
		draining bool
		word     any
		want     string
	}{
		{false, &messages.Granted{}, "finish not_websocket, refuse: not_websocket, release address+user"},
		{true, &messages.Granted{}, "finish draining, refuse: draining, release address+user"},
		{true, &messages.Refused{Reason: messages.ReasonAddressLimit}, "finish address_limit, refuse: address_limit"},
	} {
		if got := claiming(c.draining).say(c.word); got != c.want {
			t.Errorf("draining %v, %T: %q, want %q", c.draining, c.word, got, c.want)
		}
	}
}
