package actors

import (
	"testing"
	"time"

	"wsproxy/messages"
	"wsproxy/messages/renewal"
)

// A tunnel ends with its token. Its client is told a minute before, and at half time of
// a token that lasts less than two.
func TestTunnelEndsWithItsToken(t *testing.T) {
	inRig(t, rigOptions{}, func(r *tunnelRig) {
		v := r.ready(func(open *messages.OpenTunnel) { open.Expires = time.Now().Add(time.Hour) })
		stream := v.accepts("c1")
		v.pass(59*time.Minute - 1)
		v.want()
		v.pass(1)
		v.want(`control {"type":"auth_expires","in":60}`)
		v.pass(59 * time.Second)
		v.say(&renewal.Renewed{Until: time.Now().Add(90 * time.Second)})
		v.pass(45*time.Second - 1)
		v.want()
		v.pass(1)
		v.want(`control {"type":"auth_expires","in":45}`)
		v.pass(45*time.Second - 1)
		v.want()
		v.pass(1)
		v.want("finish token_expired")
		v.wantStream(stream, "abort tunnel_ended") // as at a shutdown
		v.say(&messages.MuxClosed{})
		if r.alive(v.owner) {
			t.Error("the tunnel lives on")
		}
	})
}
