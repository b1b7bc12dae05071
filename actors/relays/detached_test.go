package relays

import (
	"testing"

	"wsproxy/actors/ledger"
	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/desk"
	"wsproxy/messages"
)

// A new session has the slots of a detached one of its user. What is refused anyway,
// because it is no WebSocket or the server drains, costs nobody its session.
func TestNewRelayHasTheSlotsOfADetachedSession(t *testing.T) {
	h := newHouse(t, Bounds{PerAddress: 1, PerUser: 1})
	detached := desk.NewProbe(t, h.system)
	leave := func() {
		t.Helper()
		claims := ledger.SessionClaims(desk.AddressClaim("192.0.2.7").Source, "ann")
		h.desk.WantAcquire("", detached.PID, claims...)
		h.send(h.desk.Limits, &messages.Detached{Holder: detached.PID, Away: true})
	}
	leave()
	h.knockWith(func(m *messages.OpenRelay) { m.Upgrade = false }).wantRefusal(messages.ReasonAddressLimit)
	v := h.relaying()
	for told := false; !told; {
		_, told = testkit.Receive(t, detached.Got).(*messages.YieldSlot)
	}
	v.say(&messages.PumpEnded{Reason: messages.ReasonTargetEnded})
	v.closed(messages.ReasonTargetEnded)
	testkit.Eventually(t, "the slots are free", func() bool { return len(h.lines.Of("relay ended")) == 1 })

	leave()
	h.drain()
	h.knockWith(func(*messages.OpenRelay) {}).wantRefusal(messages.ReasonAddressLimit)
}

// knockWith asks for a session that is changed, and leads it up to its claims.
func (h *house) knockWith(change func(*messages.OpenRelay)) *visit {
	h.t.Helper()
	v := &visit{fakePair: newFakePair(), h: h, answers: make(chan messages.Admission, 4)}
	source := desk.AddressClaim("192.0.2.7").Source
	m := &messages.OpenRelay{Source: source.Addr(), Count: source, User: "ann", Target: "target:22",
		Upgrade: true, Pair: v.fakePair, Answer: v.answers}
	change(m)
	h.send(h.relays, m)
	v.want(h.t, "own", "resolve")
	v.say(&messages.TargetResolved{})
	return v
}
