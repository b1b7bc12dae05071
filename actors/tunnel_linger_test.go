package actors

import (
	"slices"
	"testing"

	"wsproxy/messages"
)

// A tunnel whose client takes its last bytes slowly counts again after a while,
// and is cut where another one has its slot.
func TestTunnelThatClosesSlowlyCountsAgain(t *testing.T) {
	for _, full := range []bool{false, true} {
		inRig(t, rigOptions{bounds: Bounds{PerAddress: 1}}, func(r *tunnelRig) {
			v := r.ready()
			v.say(&messages.MuxEnded{Reason: messages.ReasonClientClosed})
			r.wantTaken(0, 0, 0)
			left := 0
			if full {
				r.ready()
				left = 1
			}
			v.pass(messages.Linger)
			if calls := v.take(); slices.Contains(calls, "cut") != full {
				t.Errorf("another has its slot: %v, and the mux was told %q", full, calls)
			}
			r.wantTaken(1, 0, 0)
			v.say(&messages.MuxClosed{})
			r.wantTaken(left, 0, 0)
		})
	}
}
