package actors

import (
	"testing"

	"wsproxy/messages"
)

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
