package relays

import (
	"testing"

	"wsproxy/actors/sessions"
	"wsproxy/messages"
)

// Who takes the last bytes slowly has a session for as long as that takes: it is
// counted again, and cut where the limits are used up.
func TestRelayThatClosesSlowlyCountsAgain(t *testing.T) {
	closing := func() *stage {
		s := newStage(t, true)
		for _, m := range toClosing {
			s.say(m)
		}
		if got, want := s.say(&sessions.StillCloses{}), "acquire address+user"; got != want {
			t.Fatalf("after a while it does %q, want %q", got, want)
		}
		return s
	}
	s := closing()
	if got := s.say(&messages.Granted{}) + s.say(&sessions.StillCloses{}); got != "" {
		t.Errorf("within the limits it does %q", got)
	}
	s = closing()
	if got, want := s.say(&messages.Refused{Reason: messages.ReasonAddressLimit}), "cut"; got != want {
		t.Errorf("beyond them it does %q, want %q", got, want)
	}
}
