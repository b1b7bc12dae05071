package actors

import (
	"log/slog"
	"net/netip"
	"testing"

	"wsproxy/actors/ledger"
	"wsproxy/actors/limits"
	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/desk"
	"wsproxy/messages"
)

// session is a stand-in for a session: what it is told comes out of the probe.
type session struct {
	*desk.Probe
	claims []messages.Claim
}

// yieldDesk is a desk at which sessions open, lose their WebSocket and give way.
type yieldDesk struct {
	*desk.Desk
	book *limits.Book
}

func newYieldDesk(t *testing.T, bounds Bounds) *yieldDesk {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	book := limits.NewBook(bounds)
	return &yieldDesk{desk.New(t, desk.NewSystem(t, log), book, log), book}
}

// open asks for the slots of a new session, and returns why there are none, or "".
func (d *yieldDesk) open(source, user string) (*session, messages.Reason) {
	d.T.Helper()
	s := &session{desk.NewProbe(d.T, d.System), ledger.SessionClaims(netip.MustParsePrefix(source), user)}
	answer := d.Ask(d.Limits, &messages.Acquire{Holder: s.PID, Claims: s.claims, New: true})
	if m, ok := answer.(*messages.Refused); ok {
		return s, m.Reason
	}
	return s, ""
}

// has opens a session that must be granted.
func (d *yieldDesk) has(source, user string) *session {
	d.T.Helper()
	s, reason := d.open(source, user)
	if reason != "" {
		d.T.Fatalf("a session of %q from %s is refused: %s", user, source, reason)
	}
	return s
}

func (d *yieldDesk) away(s *session, away bool) {
	d.Root.Send(d.Limits, &messages.Detached{Holder: s.PID, Away: away})
}

// yielded reports whether a session was told to give way.
func (s *session) yielded() bool {
	for {
		select {
		case m := <-s.Got:
			if _, ok := m.(*messages.YieldSlot); ok {
				return true
			}
		default:
			return false
		}
	}
}

// wantYielded fails unless exactly these of all sessions were told to give way
// since the last time.
func (d *yieldDesk) wantYielded(when string, all []*session, want ...*session) {
	d.T.Helper()
	d.Settled(d.Limits)
	for i, s := range all {
		expected := false
		for _, w := range want {
			expected = expected || w == s
		}
		if got := s.yielded(); got != expected {
			d.T.Errorf("%s: that number %d gives way is %v, want %v", when, i, got, expected)
		}
	}
}

// The session longest away gives way to a new one of its user, in the same turn; one
// that has its WebSocket, or has it again, never does.
func TestDetachedSessionGivesWay(t *testing.T) {
	d := newYieldDesk(t, Bounds{PerUser: 3})
	var all []*session
	for _, source := range []string{"192.0.2.1/32", "192.0.2.2/32", "192.0.2.3/32"} {
		all = append(all, d.has(source, "ann"))
	}
	d.away(all[1], true)
	d.away(all[0], true)
	d.away(all[1], false)
	d.away(all[2], true)
	d.away(all[1], true)

	all = append(all, d.has("192.0.2.9/32", "ann"))
	d.wantYielded("first", all, all[0])
	all = append(all, d.has("192.0.2.9/32", "ann"))
	d.wantYielded("second", all, all[2])
	d.Root.Send(d.Limits, &messages.Release{Holder: all[0].PID, Claims: all[0].claims}) // as it ends: it has none any more
	d.away(all[1], false)
	if _, reason := d.open("192.0.2.9/32", "ann"); reason != messages.ReasonUserLimit {
		t.Errorf("with three that have their WebSocket the answer is %q", reason)
	}
	d.has("192.0.2.9/32", "bob")
	d.wantYielded("at last", all)
	if n := d.book.Taken(messages.ClaimUser); n != 4 {
		t.Errorf("%d slots are taken, want 4", n)
	}
}

// It gives way only where that makes room: at a full address one from there, though
// another of the user has been away for longer.
func TestDetachedSessionOfTheFullAddressGivesWay(t *testing.T) {
	d := newYieldDesk(t, Bounds{PerAddress: 2, PerUser: 3})
	elsewhere, other, here := d.has("192.0.2.7/32", "ann"), d.has("192.0.2.1/32", "bob"), d.has("192.0.2.1/32", "ann")
	all := []*session{elsewhere, other, here}
	for _, s := range all {
		d.away(s, true)
	}
	all = append(all, d.has("192.0.2.1/32", "ann"))
	d.wantYielded("the address is full", all, here)
	if _, reason := d.open("192.0.2.1/32", "ann"); reason != messages.ReasonAddressLimit {
		t.Errorf("where only another user's is away the answer is %q", reason)
	}
	d.wantYielded("refused", all)
	all = append(all, d.has("192.0.2.8/32", "ann"), d.has("192.0.2.8/32", "ann"))
	d.wantYielded("the user has too many", all, elsewhere)
}

// Of an IPv6 site that is full, one from it; anonymous ones have their /64 alone in
// common.
func TestDetachedSessionOfTheFullSiteGivesWay(t *testing.T) {
	d := newYieldDesk(t, Bounds{PerAddress: 1})
	all := []*session{d.has("2001:db8:8::/64", "ann")}
	for n := range 4 {
		all = append(all, d.has(network(n), "ann"))
	}
	for _, s := range all {
		d.away(s, true)
	}
	all = append(all, d.has(network(9), "ann"))
	d.wantYielded("the site is full", all, all[1])

	d = newYieldDesk(t, Bounds{PerAddress: 2})
	all = nil
	for n := range 8 {
		all = append(all, d.has(network(n), ""))
		d.away(all[n], true)
	}
	if _, reason := d.open(network(9), ""); reason != messages.ReasonAddressLimit {
		t.Errorf("a stranger's answer is %q", reason)
	}
	d.wantYielded("refused", all)
	all = append(all, d.has(network(5), ""))
	d.wantYielded("the same address", all, all[5])
}

// A look-up, a request and a session that takes long to close find what they find.
func TestOnlyNewSessionsMakeOthersGiveWay(t *testing.T) {
	d := newYieldDesk(t, Bounds{PerAddress: 1, HTTP: 1, PerUser: 1})
	s := d.has("192.0.2.1/32", "ann")
	d.away(s, true)
	h := d.Holder()
	d.WantAcquire(messages.ReasonAddressLimit, h, s.claims...) // not New
	d.WantAcquire("", h, lookupClaim("192.0.2.1"))
	for _, claim := range []messages.Claim{lookupClaim("192.0.2.1"), {Kind: messages.ClaimAddress, Source: s.claims[0].Source}} {
		answer := d.Ask(d.Limits, &messages.Acquire{Holder: h, Claims: []messages.Claim{claim}, New: true})
		if _, ok := answer.(*messages.Refused); !ok {
			t.Errorf("%v: the answer is %#v", claim, answer)
		}
	}
	d.wantYielded("nobody new", []*session{s})
}

// What ends is forgotten, whatever is said of it afterwards; a fault of the limits
// forgets nobody.
func TestDetachedSessionsEndAndOutliveAFault(t *testing.T) {
	d := newYieldDesk(t, Bounds{PerUser: 2})
	source := netip.MustParsePrefix("192.0.2.1/32")
	ended := d.Holder()
	d.WantAcquire("", ended, ledger.SessionClaims(source, "ann")...)
	lives := d.has("192.0.2.1/32", "ann")
	d.Root.Send(d.Limits, &messages.Detached{Holder: ended, Away: true})
	d.away(lives, true)
	d.Root.Send(d.Limits, &messages.Detached{Away: true}) // of nobody: panics
	d.Settled(d.Limits)
	if n := d.book.Detached(); n != 2 {
		t.Fatalf("%d are detached, want 2", n)
	}
	d.Root.Stop(ended)
	other := d.Holder()
	testkit.Eventually(t, "the slots of one that has ended are free", func() bool {
		return d.Acquire(other, lives.claims...) == ""
	})
	if n := d.book.Detached(); n != 1 {
		t.Errorf("%d are detached, want one: the other has ended", n)
	}
	d.Release(other, lives.claims...)
	d.Root.Send(d.Limits, &messages.Detached{Holder: ended, Away: true})
	d.has("192.0.2.1/32", "ann") // in its place
	d.wantYielded("there was room", []*session{lives})
	last := d.has("192.0.2.1/32", "ann")
	d.wantYielded("there was none", []*session{lives, last}, lives)
	if n := d.book.Detached(); n != 0 {
		t.Errorf("%d are detached, want none", n)
	}
}

// A new tunnel has the slots of a detached session of its user, unless it is refused
// anyway: what is no WebSocket, or comes while the server drains.
func TestNewTunnelHasTheSlotsOfADetachedSession(t *testing.T) {
	inRig(t, rigOptions{bounds: Bounds{PerUser: 1}}, func(r *tunnelRig) {
		detached := r.probe()
		leave := func() {
			r.root.Send(r.limits, &messages.Acquire{Holder: detached.pid, Claims: ledger.SessionClaims(rigCount, "ann")})
			r.send(r.limits, &messages.Detached{Holder: detached.pid, Away: true})
			detached.all()
		}
		leave()
		if got := r.knock(func(m *messages.OpenTunnel) { m.Upgrade = false }).answer(); got != string(messages.ReasonUserLimit) {
			t.Errorf("what is no WebSocket is answered %q", got)
		}
		v := r.ready()
		if sent := detached.all(); len(sent) != 1 {
			t.Errorf("the detached session was told %v", sent)
		}
		v.say(&messages.Shutdown{})
		v.say(&messages.MuxClosed{})
		leave()
		r.drain()
		if got := r.knock().answer(); got != string(messages.ReasonUserLimit) || len(detached.all()) != 0 {
			t.Errorf("while it drains the answer is %q, or another gives way", got)
		}
	})
}
