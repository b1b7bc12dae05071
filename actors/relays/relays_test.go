package relays

import (
	"log/slog"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/limits"
	"wsproxy/actors/sessions"
	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/desk"
	"wsproxy/messages"
)

// A house is all actors together, and this test in the part of the edge.
type house struct {
	t      testing.TB
	system *actor.ActorSystem
	desk   *desk.Desk
	relays *actor.PID
	meter  *tally
	lines  *testkit.Journal
	log    *slog.Logger
}

func newHouse(t testing.TB, bounds Bounds) *house {
	t.Helper()
	return newHouseWith(t, limits.NewBook(bounds))
}

func newHouseWith(t testing.TB, book *limits.Book) *house {
	t.Helper()
	log, lines := testkit.NewJournal()
	system := desk.NewSystem(t, log)
	h := &house{t: t, log: log, system: system, meter: &tally{}, lines: lines, desk: desk.New(t, system, book, log)}
	pid, err := Spawn(system, Needs{Limits: h.desk.Limits, Meter: h.meter, Lasting: h.terms(), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	h.relays = pid
	return h
}

func (h *house) terms() sessions.Terms {
	return sessions.Terms{Timeout: patience, Endpoint: "relay", Meter: h.meter, Limits: h.desk.Limits}
}

// source is where all clients of the house are.
func (h *house) source() netip.Addr { return netip.MustParseAddr("192.0.2.7") }

func (h *house) send(to *actor.PID, m any) { h.system.Root.Send(to, m) }

// A visit is one session, as the HTTP handler and the sockets see it.
type visit struct {
	*fakePair
	h       *house
	answers chan messages.Admission
	session *actor.PID
}

// knock asks for a session to a literal address.
func (h *house) knock(pair *fakePair) *visit {
	v := &visit{fakePair: pair, h: h, answers: make(chan messages.Admission, 4)}
	source := netip.MustParseAddr("192.0.2.7")
	h.send(h.relays, &messages.OpenRelay{
		Source: source, Count: netip.PrefixFrom(source, 32), User: "ann", Target: "target:22",
		Upgrade: true, Pair: pair, Answer: v.answers,
	})
	return v
}

// say sends the session a message in the part of its pair.
func (v *visit) say(m any) {
	v.h.t.Helper()
	if v.owner.Load() == nil {
		v.h.t.Fatal("the pair has no owner yet")
	}
	v.h.send(v.owner.Load(), m)
}

// admitted leads a session up to the upgrade.
func (h *house) admitted() *visit {
	h.t.Helper()
	v := h.knock(newFakePair())
	v.want(h.t, "own", "resolve")
	v.say(&messages.TargetResolved{})
	a := testkit.Receive(h.t, v.answers)
	if a.Session == nil || a.Refusal != "" {
		h.t.Fatalf("not admitted: %+v", a)
	}
	v.session = a.Session
	return v
}

// relaying leads a session up to the copying.
func (h *house) relaying() *visit {
	h.t.Helper()
	v := h.admitted()
	h.send(v.session, &messages.Upgraded{})
	v.want(h.t, "dial")
	v.say(&messages.TargetDialed{})
	v.want(h.t, "pump")
	return v
}

// closed leads a session from Finish to its end.
func (v *visit) closed(reason messages.Reason) {
	v.h.t.Helper()
	v.want(v.h.t, "finish "+string(reason))
	v.say(&messages.PairClosed{Reason: reason})
}

func (v *visit) wantRefusal(reason messages.Reason) {
	v.h.t.Helper()
	if a := testkit.Receive(v.h.t, v.answers); a.Session != nil || a.Refusal != reason {
		v.h.t.Fatalf("the answer is %+v, want a refusal for %s", a, reason)
	}
}

func (v *visit) wantNoMoreAnswers() {
	v.h.t.Helper()
	if len(v.answers) > 0 {
		v.h.t.Fatalf("one more answer: %+v", <-v.answers)
	}
}

// drain tells the relays to drain, and returns what is closed at the last end.
func (h *house) drain() chan struct{} {
	done := make(chan struct{})
	h.send(h.relays, &messages.Drain{Done: done})
	return done
}

func isClosed(done chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

func TestSessionTellsItsLifeInTwoLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, Bounds{PerAddress: 1, PerUser: 1})
		pair := newFakePair()
		pair.up, pair.down = 123, 456
		v := h.knock(pair)
		v.want(t, "own", "resolve")
		v.say(&messages.TargetResolved{})
		v.session = testkit.Receive(t, v.answers).Session
		h.send(v.session, &messages.Upgraded{})
		v.want(t, "dial")
		v.say(&messages.TargetDialed{Address: netip.MustParseAddrPort("[2001:db8::5]:22"), Local: netip.MustParseAddrPort("[2001:db8::1]:40123")})
		v.want(t, "pump")
		time.Sleep(1500 * time.Millisecond)
		v.say(&messages.PumpEnded{Reason: messages.ReasonTargetEnded})
		v.say(&messages.PumpEnded{Reason: messages.ReasonClientGone}) // the other pump: too late to matter
		v.closed(messages.ReasonTargetEnded)
		synctest.Wait()

		fields := map[string]any{"session": strings.TrimPrefix(v.session.Id, "relays/"), "user": "ann", "source": "192.0.2.7", "target": "target:22"}
		wantOneLine(t, h.lines, "relay started", fields)
		fields["reason"], fields["bytes_up"], fields["bytes_down"] = "target_ended", int64(123), int64(456)
		fields["address"], fields["local"] = "[2001:db8::5]:22", "[2001:db8::1]:40123"
		fields["duration_ms"] = int64(1500)
		wantOneLine(t, h.lines, "relay ended", fields)
		if h.meter.started != 1 || len(h.meter.ended) != 1 || h.meter.ended[messages.ReasonTargetEnded] != 1 || h.meter.lasted != 1500*time.Millisecond {
			t.Errorf("the meter has counted %+v", h.meter)
		}
		if len(v.calls) != 1 { // moved
			t.Errorf("the pair was told more: %q", v.taken())
		}
		done := h.drain()
		testkit.Receive(t, done)
		time.Sleep(2 * time.Second) // lets the library's timer end, which the bubble waits for
	})
}

func wantOneLine(t testing.TB, lines *testkit.Journal, message string, fields map[string]any) {
	t.Helper()
	found := lines.Of(message)
	if len(found) != 1 {
		t.Fatalf("%d lines say %q", len(found), message)
	}
	if found[0].Level != slog.LevelInfo {
		t.Errorf("%q has level %v", message, found[0].Level)
	}
	for key, want := range fields {
		if got := found[0].Fields[key]; got != want {
			t.Errorf("%q: %s is %v, want %v", message, key, got, want)
		}
	}
	if len(found[0].Fields) != len(fields) {
		t.Errorf("%q has the fields %v", message, found[0].Fields)
	}
}

func TestSessionWithoutUserIsLoggedAsAnonymous(t *testing.T) {
	h := newHouse(t, Bounds{})
	pair := newFakePair()
	answers := make(chan messages.Admission, 1)
	h.send(h.relays, &messages.OpenRelay{Source: netip.MustParseAddr("192.0.2.7"), Upgrade: true, Pair: pair, Answer: answers})
	pair.want(t, "own", "resolve")
	h.send(pair.owner.Load(), &messages.TargetResolved{})
	h.send(testkit.Receive(t, answers).Session, &messages.Upgraded{})
	pair.want(t, "dial")
	if got := h.lines.Of("relay started")[0].Fields["user"]; got != "anonymous" {
		t.Errorf("the user is %v", got)
	}
}

func TestRefusedSessionIsNotLogged(t *testing.T) {
	h := newHouse(t, Bounds{PerUser: 1})
	first := h.admitted()
	v := h.knock(newFakePair())
	v.want(t, "own", "resolve")
	v.say(&messages.TargetResolved{})
	v.wantRefusal(messages.ReasonUserLimit)
	v.closed(messages.ReasonUserLimit)
	h.send(first.session, &messages.Abandoned{})
	first.closed(messages.ReasonAbandoned)
	testkit.Receive(t, h.drain())
	if n := len(h.lines.Of("relay started")) + len(h.lines.Of("relay ended")); n > 0 {
		t.Errorf("%d lines for sessions that never began", n)
	}
	if started, ended := h.meter.counts(); started+ended > 0 {
		t.Errorf("the meter counts %d and %d", started, ended)
	}
}

// A client that is told of the end may connect again at once: its slot must be
// free by then, not only when the sockets have lingered.
func TestSlotIsFreeBeforeTheClientHearsOfTheEnd(t *testing.T) {
	h := newHouse(t, Bounds{PerAddress: 1, PerUser: 1})
	v := h.relaying()
	other := h.desk.Holder()
	h.desk.WantAcquire(messages.ReasonUserLimit, other, desk.UserClaim("ann"))
	v.say(&messages.PumpEnded{Reason: messages.ReasonClientClosed})
	v.want(t, "finish client_closed")
	h.desk.WantAcquire("", other, desk.AddressClaim("192.0.2.7"), desk.UserClaim("ann"))
	h.desk.Settled(v.session) // the session lives on
	v.say(&messages.PairClosed{Reason: messages.ReasonClientClosed})
	testkit.Receive(t, h.drain())
	h.desk.WantAcquire(messages.ReasonUserLimit, h.desk.Holder(), desk.UserClaim("ann")) // not given back twice
}

func TestDrainWithoutSessionsIsDoneAtOnce(t *testing.T) {
	h := newHouse(t, Bounds{})
	testkit.Receive(t, h.drain())
	testkit.Receive(t, h.drain()) // whoever asks later learns it too
	v := h.knock(newFakePair())
	v.want(t, "own", "resolve")
	v.say(&messages.TargetResolved{})
	v.wantRefusal(messages.ReasonDraining)
}

func TestDrainWaitsForTheLastSession(t *testing.T) {
	h := newHouse(t, Bounds{})
	visits := []*visit{h.relaying(), h.admitted(), h.relaying()}
	done, again := h.drain(), h.drain()
	h.desk.Settled(h.relays)
	for _, v := range visits {
		if isClosed(done) || isClosed(again) {
			t.Fatal("drained while a session lives")
		}
		h.send(v.session, &messages.Abandoned{})
		v.closed(messages.ReasonAbandoned)
	}
	testkit.Receive(t, done)
	testkit.Receive(t, again)
}

// The 429 comes before the 503, also for the session that was on its way when
// the draining began.
func TestDrainReachesSessionsOnTheirWay(t *testing.T) {
	h := newHouse(t, Bounds{PerUser: 1})
	one, two := h.knock(newFakePair()), h.knock(newFakePair())
	one.want(t, "own", "resolve")
	two.want(t, "own", "resolve")
	done := h.drain()
	h.desk.Settled(h.relays)
	h.desk.WantAcquire("", h.desk.Holder(), desk.UserClaim("bob"))
	one.say(&messages.TargetResolved{})
	one.wantRefusal(messages.ReasonDraining)
	one.closed(messages.ReasonDraining)
	testkit.Eventually(t, "the first one's slot is free", func() bool {
		return h.desk.Acquire(h.desk.Holder(), desk.UserClaim("ann")) == ""
	})
	two.say(&messages.TargetResolved{})
	two.wantRefusal(messages.ReasonUserLimit)
	two.closed(messages.ReasonUserLimit)
	testkit.Receive(t, done)
}

func TestShutdownEndsEverySession(t *testing.T) {
	h := newHouse(t, Bounds{})
	early := h.knock(newFakePair())
	early.want(t, "own", "resolve")
	admitted, relaying := h.admitted(), h.relaying()
	done := h.drain()
	h.send(h.relays, &messages.Shutdown{})
	early.wantRefusal(messages.ReasonDraining)
	early.closed(messages.ReasonDraining)
	admitted.closed(messages.ReasonShutdown)
	relaying.closed(messages.ReasonShutdown)
	testkit.Receive(t, done)
	lines := h.lines.Of("relay ended")
	if len(lines) != 1 || lines[0].Fields["reason"] != "shutdown" {
		t.Errorf("the ends that were logged: %v", lines)
	}
}

// At an end that waits for nobody a session tells its end all the same, whatever it was
// at: also if it was told to end before, and waits.
func TestShutdownAtOnceCutsEverySession(t *testing.T) {
	h := newHouse(t, Bounds{})
	admitted, relaying, closing := h.admitted(), h.relaying(), h.relaying()
	done := h.drain()
	closing.say(&messages.Shutdown{})
	closing.want(t, "finish shutdown")
	h.send(h.relays, &messages.Shutdown{AtOnce: true})
	closing.want(t, "cut")
	admitted.want(t, "finish shutdown", "cut")
	relaying.want(t, "finish shutdown", "cut")
	for _, v := range []*visit{admitted, relaying, closing} {
		v.say(&messages.PairClosed{Reason: messages.ReasonShutdown})
	}
	testkit.Receive(t, done)
	if lines := h.lines.Of("relay ended"); len(lines) != 2 || lines[0].Fields["reason"] != "shutdown" || lines[1].Fields["reason"] != "shutdown" {
		t.Errorf("the ends that were logged: %v", lines)
	}
}

// What a log calls a session is its own in all logs that there are, and fits a URL.
func TestSessionsHaveNamesOfTheirOwn(t *testing.T) {
	names := make(map[string]bool)
	for range 3 { // as after restarts
		h := newHouse(t, Bounds{})
		for range 3 {
			v := h.relaying()
			name := sessions.ID(v.session)
			if names[name] || !regexp.MustCompile(`^[A-Za-z0-9_-]{12,}$`).MatchString(name) {
				t.Errorf("a session is called %q", name)
			}
			names[name] = true
			v.say(&messages.Shutdown{})
			v.closed(messages.ReasonShutdown)
		}
	}
}

func TestManySessionsComeAndGo(t *testing.T) {
	h := newHouse(t, Bounds{PerAddress: 400, PerUser: 400})
	var visits []*visit
	for range 400 {
		visits = append(visits, h.admitted())
	}
	one := h.knock(newFakePair())
	one.want(t, "own", "resolve")
	one.say(&messages.TargetResolved{})
	one.wantRefusal(messages.ReasonAddressLimit)
	one.closed(messages.ReasonAddressLimit)
	done := h.drain()
	for _, v := range visits {
		h.send(v.session, &messages.Abandoned{})
		v.closed(messages.ReasonAbandoned)
	}
	testkit.Receive(t, done)
	testkit.Eventually(t, "all slots are free", func() bool {
		claims := make([]messages.Claim, 400)
		for i := range claims {
			claims[i] = desk.AddressClaim("192.0.2.7")
		}
		return h.desk.Acquire(h.desk.Holder(), claims...) == ""
	})
}
