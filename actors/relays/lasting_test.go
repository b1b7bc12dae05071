package relays

import (
	"encoding/base64"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"wsproxy/internal/testkit/desk"
	"wsproxy/messages"
)

// A token has the protocol's characters and entropy, and leads to its session, of
// however many: the library's own names would not.
func TestTokenLeadsToItsSession(t *testing.T) {
	form := regexp.MustCompile(`^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$`)
	inHouse(t, Bounds{}, func(h *house) {
		seen := make(map[string]bool)
		for range 200 {
			v := h.lastingDialing()
			if !form.MatchString(v.token) || len(v.token) > messages.MaxResumeToken {
				h.t.Fatalf("the token is %q", v.token)
			}
			id, secret, _ := strings.Cut(v.token, ".")
			random, err := base64.RawURLEncoding.DecodeString(secret)
			if err != nil || 8*len(random) < 256 || seen[secret] {
				t.Errorf("the secret is %q: %v", secret, err)
			}
			seen[secret] = true
			if got := PID(h.system, id); got.Id != v.session.Id || got.Address != v.session.Address {
				t.Errorf("%q leads to %v, the session is %v", id, got, v.session)
			}
		}
	})
}

// A session waits for another WebSocket for the time-out, or for five seconds if its
// client may not know that it can; it keeps its slot meanwhile.
func TestLostSessionWaits(t *testing.T) {
	for _, test := range []struct {
		name  string
		known bool
		begin func(*house) *visit
		waits time.Duration
	}{
		{"dialing", true, (*house).lastingDialing, patience},
		{"dialing, unknown", false, (*house).lastingDialing, protocolUnknown},
		{"relaying", true, (*house).lasting, patience},
		{"relaying, unknown", false, (*house).lasting, protocolUnknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			inHouse(t, Bounds{PerUser: 1}, func(h *house) {
				v := test.begin(h)
				loss := lost(0)
				loss.Known = test.known
				if did := v.tell(loss); did != "" {
					t.Errorf("it does %q", did)
				}
				h.wantMeter("detached")
				time.Sleep(test.waits - 1)
				if did := v.did(); did != "" {
					t.Errorf("before the time is over it does %q", did)
				}
				h.wantSlot("while it waits", true)
				time.Sleep(time.Nanosecond)
				if did := v.did(); did != "finish resume_timeout" {
					t.Errorf("when the time is over it does %q", did)
				}
				v.say(&messages.PairClosed{Reason: messages.ReasonResumeTimeout})
				v.gone()
				h.wantMeter("resume_timeout after " + test.waits.String())
				h.wantSlot("at the end", false)
				if n := len(h.lines.Of("relay detached")); n != 1 {
					t.Errorf("%d lines say that it is detached", n)
				}
			})
		})
	}
}

// The target is dialled for a client that is away, and may be found out of reach: then
// the client is waited for, to be told.
func TestDialingGoesOnWhileTheClientIsAway(t *testing.T) {
	inHouse(t, Bounds{PerUser: 1}, func(h *house) {
		v := h.lastingDialing()
		v.lose(0)
		if did := v.tell(&messages.TargetDialed{}); did != "pump" {
			t.Errorf("when it is there it does %q", did)
		}
		v.resumed(1, "take up 1 7")
		h.wantMeter("resumed after 0s")
		if did := v.tell(closed(1)); did != "finish client_closed" {
			t.Errorf("when the client has closed it does %q", did)
		}
		v.say(&messages.PairClosed{Reason: messages.ReasonClientClosed})
		v.gone()

		v = h.lastingDialing()
		v.lose(0)
		if did := v.tell(&messages.TargetDialed{Failure: messages.ReasonTargetUnreachable}); did != "finish target_unreachable" {
			t.Errorf("when it is out of reach it does %q", did)
		}
		h.wantSlot("while the client can come", true)
		v.resumed(1, "take up 1 7")
	})
}

// Who may take a session up, and what a refusal changes: nothing.
func TestTakeUpIsJudged(t *testing.T) {
	inHouse(t, Bounds{}, func(h *house) {
		v := h.lasting()
		v.lose(0)
		v.resumed(5, "take up 1 7")
		h.wantMeter("resumed after 0s")
		v.lose(1)
		time.Sleep(time.Minute)
		for _, test := range []struct {
			name    string
			attempt uint64
			edit    func(*messages.TakeUp)
			refusal messages.Reason // of the pair
			want    messages.Reason
			does    string
		}{
			{"a wrong secret", 6, func(m *messages.TakeUp) { m.Secret = m.Secret[1:] + "x" }, "", messages.ReasonNoSession, ""},
			{"no secret", 6, func(m *messages.TakeUp) { m.Secret = "" }, "", messages.ReasonNoSession, ""},
			{"another user", 6, func(m *messages.TakeUp) { m.User = "bob" }, "", messages.ReasonNoSession, ""},
			{"nobody", 6, func(m *messages.TakeUp) { m.User = "" }, "", messages.ReasonNoSession, ""},
			{"a wrong secret is told first", 0, func(m *messages.TakeUp) { m.Secret, m.Readable = "x", false }, "", messages.ReasonNoSession, ""},
			{"no attempt", 0, nil, "", messages.ReasonOldAttempt, ""},
			{"a lower attempt", 4, nil, "", messages.ReasonOldAttempt, ""},
			{"the same attempt", 5, nil, "", messages.ReasonOldAttempt, ""},
			{"an old attempt is told first", 5, func(m *messages.TakeUp) { m.Readable = false }, "", messages.ReasonOldAttempt, ""},
			{"no position", 9, func(m *messages.TakeUp) { m.Readable = false }, "", messages.ReasonNotContinued, ""},
			{"a wrong position", 9, nil, messages.ReasonNotContinued, messages.ReasonNotContinued, "take up 2 7"},
			{"the pair is over", 9, nil, messages.ReasonNoSession, messages.ReasonNoSession, "take up 2 7"},
		} {
			v.refusal = test.refusal
			edits := []func(*messages.TakeUp){func(m *messages.TakeUp) {
				if test.edit != nil {
					test.edit(m)
				}
			}}
			if got := v.takeUp(test.attempt, edits...); got != test.want {
				t.Errorf("%s: the answer is %q, want %q", test.name, got, test.want)
			}
			if did := v.did(); did != test.does {
				t.Errorf("%s: it does %q, want %q", test.name, did, test.does)
			}
			h.wantMeter("")
		}
		v.refusal = ""
		time.Sleep(patience - time.Minute - 1)
		v.resumed(6, "take up 2 7") // neither number nor attempt nor time have moved
		h.wantMeter("resumed after " + (patience - 1).String())
		time.Sleep(2 * patience)
		if did := v.did(); did != "" {
			t.Errorf("it has a WebSocket, and does %q", did)
		}
	})
}

// Before its client can know the token there is nothing to take up; one without a
// token never can be.
func TestNothingIsTakenUpBeforeASessionBegins(t *testing.T) {
	inHouse(t, Bounds{}, func(h *house) {
		v := h.knockWith(func(m *messages.OpenRelay) { m.Resume = true })
		v.token = v.owner.Load().Id[len("relays/"):] + "."
		if got := v.takeUp(1); got != messages.ReasonNoSession {
			t.Errorf("before the upgrade the answer is %q", got)
		}
		plain := h.relaying()
		plain.token = plain.session.Id[len("relays/"):] + "."
		if got := plain.takeUp(1); got != messages.ReasonNoSession {
			t.Errorf("of a session that can't be taken up the answer is %q", got)
		}
		if did := plain.tell(lost(0)) + v.did() + plain.did(); did != "" {
			t.Errorf("they do %q", did)
		}
		h.wantMeter("")
	})
}

// What an earlier WebSocket still brings has no effect, nor what is said twice.
func TestEndsOfOtherWebSocketsMeanNothing(t *testing.T) {
	inHouse(t, Bounds{}, func(h *house) {
		v := h.lasting()
		nothing := func(when string, ends ...*messages.WebSocketEnded) {
			t.Helper()
			for _, m := range ends {
				if did := v.tell(m); did != "" {
					t.Errorf("%s, number %d, lost %t: it does %q", when, m.Number, m.Lost, did)
				}
			}
			h.wantMeter("")
		}
		nothing("attached", lost(1), closed(1)) // of one that there is not
		v.resumed(1, "take up 1 7")             // though it is not detached
		h.wantMeter("detached, resumed after 0s")
		nothing("after the take-over", lost(0), closed(0), lost(0))
		v.lose(1)
		nothing("away", lost(1), closed(1), lost(0), closed(0))
		v.resumed(2, "take up 2 7")
		h.wantMeter("resumed after 0s")
		nothing("after the take-up", lost(1), closed(1), lost(0), closed(0))
		v.resumed(3, "take up 3 7")
		h.wantMeter("detached, resumed after 0s")
		nothing("again", lost(2), closed(2))
		if did := v.tell(closed(3)); did != "finish client_closed" {
			t.Errorf("the client has closed, and it does %q", did)
		}
		nothing("closing", closed(3), lost(3), lost(2)) // it was not lost before it closed
		if got := v.takeUp(4); got != messages.ReasonNoSession {
			t.Errorf("the client has ended it, and is answered %q", got)
		}
		v.say(&messages.PairClosed{Reason: messages.ReasonClientClosed})
		v.gone()
		h.wantMeter("")
	})
}

// The time of an earlier loss ends nothing.
func TestTimeOfAnEarlierLossIsNobodys(t *testing.T) {
	inHouse(t, Bounds{}, func(h *house) {
		v := h.lasting()
		v.lose(0)
		time.Sleep(patience - time.Second)
		v.resumed(1, "take up 1 7")
		h.wantMeter("resumed after " + (patience - time.Second).String())
		v.lose(1)
		time.Sleep(patience - 1)
		if did := v.did(); did != "" {
			t.Errorf("it does %q", did)
		}
		time.Sleep(time.Nanosecond)
		if did := v.did(); did != "finish resume_timeout" {
			t.Errorf("after its own time it does %q", did)
		}
	})
}

// A session that gives way ends, also if it was taken up just then: another one has its
// slot.
func TestSessionGivesWay(t *testing.T) {
	inHouse(t, Bounds{PerUser: 1}, func(h *house) {
		v := h.lasting()
		v.lose(0)
		time.Sleep(time.Minute)
		other := h.lasting()
		if did := v.did(); did != "finish gave_way" {
			t.Errorf("while it is away it does %q", did)
		}
		v.say(&messages.PairClosed{Reason: messages.ReasonGaveWay})
		v.gone()
		h.wantMeter("gave_way after 1m0s")
		h.wantSlot("the other one", true)

		other.lose(0)
		other.resumed(1, "take up 1 7")
		h.wantMeter("resumed after 0s")
		if did := other.tell(&messages.YieldSlot{}); did != "finish gave_way" {
			t.Errorf("just taken up it does %q", did)
		}
		h.desk.WantAcquire(messages.ReasonUserLimit, h.desk.Holder(), desk.UserClaim("ann")) // not released: it is not its own
		other.say(&messages.PairClosed{Reason: messages.ReasonGaveWay})
		other.gone()
		synctest.Wait()
		h.wantSlot("at the end", false)
		h.wantMeter("")
	})
}
