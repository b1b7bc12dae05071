package actors

import (
	"testing"

	"wsproxy/messages"
)

// The message that comes just now is the newest of what a tunnel holds, and gives
// way first: a client that stops in the middle of it would hold its memory for
// ever.
func TestMessageThatComesGivesWayFirst(t *testing.T) {
	inRig(t, rigOptions{needs: Tunnels{MaxConns: 9}}, func(r *tunnelRig) {
		v := r.ready()
		older, newer := v.holds("older", 2<<20), v.holds("newer", 2<<20)
		v.setComing(9<<20, 5<<20)

		r.excess.Store(5 << 20)
		r.send(r.tunnels, &messages.MemoryShort{})
		v.wantStream(newer, "")
		r.excess.Store(1)
		v.pass(roomLook)
		v.wantStream(newer, "abort slow") // nothing comes any more
		v.wantStream(older, "")
		r.excess.Store(0)
	})
}
