package relays

import (
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/messages/renewal"
)

// expiring leads a session to where it copies, whose token lets it go on for so long.
func (h *house) expiring(lasts time.Duration) *visit {
	h.t.Helper()
	v := h.knockWith(func(m *messages.OpenRelay) { m.Resume, m.Expires = true, time.Now().Add(lasts) })
	v.session = testkit.Receive(h.t, v.answers).Session
	h.send(v.session, &messages.Upgraded{})
	v.say(&messages.TargetDialed{})
	v.want(h.t, "dial", "announce", "pump")
	return v
}

// A session ends with its token: to the second, also while its client is away.
func TestSessionEndsWithItsToken(t *testing.T) {
	for name, away := range map[string]bool{"there": false, "away": true} {
		t.Run(name, func(t *testing.T) {
			inHouse(t, Bounds{PerUser: 1}, func(h *house) {
				v := h.expiring(10 * time.Minute)
				if away {
					v.lose(0)
				}
				if time.Sleep(10*time.Minute - 1); v.did() != "" {
					t.Error("it ends before its time")
				}
				if time.Sleep(time.Nanosecond); v.did() != "finish token_expired" {
					t.Error("it does not end when its token has expired")
				}
				v.say(&messages.PairClosed{Reason: messages.ReasonTokenExpired})
				v.gone()
				h.wantSlot("at the end", false)
			})
		})
	}
}

// A fresh token moves the end, and so does one that a session is taken up with; a later
// one may end it sooner.
func TestFreshTokenMovesTheEnd(t *testing.T) {
	inHouse(t, Bounds{}, func(h *house) {
		v := h.expiring(time.Minute)
		time.Sleep(59 * time.Second)
		v.say(&renewal.Renewed{Until: time.Now().Add(time.Hour)})
		if time.Sleep(time.Hour - 1); v.did() != "" {
			t.Error("it ends in spite of the fresh token")
		}
		v.lose(0)
		if reason := v.takeUp(1, func(m *messages.TakeUp) { m.Expires = time.Now().Add(time.Hour) }); reason != accepted {
			t.Fatalf("it is not taken up: %s", reason)
		}
		v.did()
		if time.Sleep(59 * time.Minute); v.did() != "" {
			t.Error("it ends in spite of the token that it was taken up with")
		}
		if reason := v.takeUp(2); reason != accepted { // where sessions don't end with tokens any more
			t.Fatalf("it is not taken up: %s", reason)
		}
		v.did()
		v.say(&renewal.Renewed{Until: time.Now().Add(time.Second)})
		if time.Sleep(time.Second); v.did() != "finish token_expired" {
			t.Error("it does not end with the later token")
		}
		v.say(&messages.PairClosed{Reason: messages.ReasonTokenExpired})
		v.gone()
	})
}

// A session that began when sessions did not end with their token goes on, whatever token
// it is taken up with.
func TestTakeUpSetsNoEnd(t *testing.T) {
	inHouse(t, Bounds{}, func(h *house) {
		v := h.lasting()
		v.lose(0)
		if reason := v.takeUp(1, func(m *messages.TakeUp) { m.Expires = time.Now().Add(time.Hour) }); reason != accepted {
			t.Fatalf("it is not taken up: %s", reason)
		}
		v.did()
		if time.Sleep(2 * time.Hour); v.did() != "" {
			t.Error("it ends with the token that it was taken up with")
		}
		v.say(&messages.Shutdown{})
		v.say(&messages.PairClosed{Reason: messages.ReasonShutdown})
		v.gone()
	})
}

// A timer that a session leaves behind would keep a bubble, and memory, for as long as
// the token lasts.
func TestEndOfASessionEndsItsTimer(t *testing.T) {
	inHouse(t, Bounds{}, func(h *house) {
		v := h.expiring(time.Hour)
		v.say(closed(0))
		v.want(t, "finish client_closed")
		v.say(&messages.PairClosed{Reason: messages.ReasonClientClosed})
		v.gone()
		if time.Sleep(2 * time.Hour); v.did() != "" {
			t.Error("what has ended is ended again")
		}
	})
}
