package relays

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/desk"
	"wsproxy/messages"
)

const (
	patience = 15 * time.Minute // that sessions wait for another WebSocket
	// What the protocol says, written down once more.
	protocolUnknown = 5 * time.Second
)

// inHouse runs a test in a bubble of synctest. The library's timer, which can't be
// stopped, gets the time that it needs to end.
func inHouse(t *testing.T, bounds Bounds, test func(h *house)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		test(newHouse(t, bounds))
		time.Sleep(2 * time.Second)
	})
}

// lastingDialing leads a session that may outlive its WebSocket up to the dialling.
func (h *house) lastingDialing() *visit {
	h.t.Helper()
	v := h.knockWith(func(m *messages.OpenRelay) { m.Resume = true })
	v.session = testkit.Receive(h.t, v.answers).Session
	if v.session == nil {
		h.t.Fatal("it is not admitted")
	}
	h.send(v.session, &messages.Upgraded{})
	v.want(h.t, "dial", "announce")
	return v
}

// lasting leads a session that may outlive its WebSocket up to the copying.
func (h *house) lasting() *visit {
	h.t.Helper()
	v := h.lastingDialing()
	v.say(&messages.TargetDialed{})
	v.want(h.t, "pump")
	return v
}

// tell sends the session a message and returns what it did then.
func (v *visit) tell(m any) string {
	v.h.t.Helper()
	v.say(m)
	return v.did()
}

// did returns what the pair was told since the last look.
func (v *visit) did() string {
	synctest.Wait()
	var deeds []string
	for _, call := range v.taken() {
		if call != "moved" { // a question, no deed
			deeds = append(deeds, call)
		}
	}
	return strings.Join(deeds, ", ")
}

func lost(number uint32) *messages.WebSocketEnded {
	return &messages.WebSocketEnded{Number: number, Reason: messages.ReasonClientGone, Lost: true, Known: true}
}

func closed(number uint32) *messages.WebSocketEnded {
	return &messages.WebSocketEnded{Number: number, Reason: messages.ReasonClientClosed, Known: true}
}

// lose takes the session its WebSocket, which had this number.
func (v *visit) lose(number uint32) {
	v.h.t.Helper()
	if did := v.tell(lost(number)); did != "" {
		v.h.t.Fatalf("when it loses its WebSocket it does %q", did)
	}
	v.h.wantMeter("detached")
}

const (
	noAnswer = messages.Reason("no answer")
	accepted = messages.Reason("")
)

// takenUpFrom is where a client is that takes a session up.
var takenUpFrom = netip.MustParseAddr("198.51.100.77")

// takeUp has a client ask for the session by its token, and returns the answer.
func (v *visit) takeUp(attempt uint64, edit ...func(*messages.TakeUp)) messages.Reason {
	v.h.t.Helper()
	id, secret, _ := strings.Cut(v.token, ".")
	answer := make(chan messages.Reason, 1)
	m := &messages.TakeUp{Secret: secret, User: "ann", Attempt: attempt, Position: 7, Readable: true, Source: takenUpFrom, Answer: answer}
	for _, e := range edit {
		e(m)
	}
	v.h.send(PID(v.h.system, id), m)
	synctest.Wait()
	select {
	case reason := <-answer:
		return reason
	default:
		return noAnswer
	}
}

// resumed takes the session up, and expects no refusal.
func (v *visit) resumed(attempt uint64, call string) {
	v.h.t.Helper()
	if reason := v.takeUp(attempt); reason != accepted {
		v.h.t.Fatalf("it is not taken up: %s", reason)
	}
	if did := v.did(); did != call {
		v.h.t.Errorf("when it is taken up it does %q, want %q", did, call)
	}
}

// wantMeter fails unless the meter was told this since the last look.
func (h *house) wantMeter(want string) {
	h.t.Helper()
	synctest.Wait()
	if got := h.meter.of(); got != want {
		h.t.Errorf("the meter was told %q, want %q", got, want)
	}
}

// wantSlot fails unless the only slot of the user is taken, or free.
func (h *house) wantSlot(when string, taken bool) {
	h.t.Helper()
	synctest.Wait()
	holder := h.desk.Holder()
	if got := h.desk.Acquire(holder, desk.UserClaim("ann")) != ""; got != taken {
		h.t.Errorf("%s: that the slot is taken is %t", when, got)
	}
	h.system.Root.Stop(holder)
	synctest.Wait()
}

// gone fails unless the session's actor has ended, and has logged no token.
func (v *visit) gone() {
	v.h.t.Helper()
	synctest.Wait()
	_, secret, _ := strings.Cut(v.token, ".")
	for _, message := range []string{"relay started", "relay detached", "relay resumed", "relay ended"} {
		if lines := fmt.Sprint(v.h.lines.Of(message)); strings.Contains(lines, secret) {
			v.h.t.Errorf("a token is logged: %s", lines)
		}
	}
	if _, lives := v.h.system.ProcessRegistry.Get(v.session); lives {
		v.h.t.Error("its actor lives")
	}
}
