package actors

import (
	"fmt"
	"testing"

	"wsproxy/messages"
)

func TestRecentIDsAreThoseOfTheLastUse(t *testing.T) {
	r := newRecentIDs(3)
	for i, step := range []struct {
		id  string
		new bool
	}{
		{"a", true}, {"b", true}, {"c", true}, {"a", false}, {"d", true}, // b goes, which was used longest ago
		{"a", false}, {"c", false}, {"b", true}, // d goes
		{"a", false}, {"c", false}, {"d", true},
	} {
		if got := r.add(step.id); got != step.new {
			t.Errorf("step %d: %s is new: %v", i, step.id, got)
		}
	}
	if len(r.known) != 3 || r.order.Len() != 3 {
		t.Errorf("%d ids are known, %d in order", len(r.known), r.order.Len())
	}
}

func TestEndedIDsAreTheLast(t *testing.T) {
	var r endedIDs
	for i := range 3 * endedRemembered {
		r.add(fmt.Sprint(i))
		if oldest := max(0, i+1-endedRemembered); !r.has(fmt.Sprint(i)) || !r.has(fmt.Sprint(oldest)) || r.has(fmt.Sprint(oldest-1)) {
			t.Fatalf("after %d: %d is known: %v, %d: %v, %d: %v", i, i, r.has(fmt.Sprint(i)),
				oldest, r.has(fmt.Sprint(oldest)), oldest-1, r.has(fmt.Sprint(oldest-1)))
		}
	}
}

// A connection's stream has said that it ended, in its lane: another answer
// would overtake that.
func TestConnectionOfAHandlerThatFailedIsNotAnsweredAsUnknown(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready()
		s := v.accepts("c1")
		r.fault = failOnce[*messages.Garbage]()
		v.tell(data("gone", 1), &messages.Garbage{}, data("c1", 1), data("c2", 1), data("gone", 1))
		if s.Ended() != messages.CloseRestart {
			t.Errorf("the connection ended for %q", s.Ended())
		}
		v.want(unknown("gone"), unknown("c2"))
	})
}
