package tunnel

import (
	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

// opensInner has a stream that was dialled owned and opened, and the client
// know of it.
func (r *rig) opensInner() *outsideConn {
	r.t.Helper()
	s := testkit.Hears[*messages.Accepted](r.handler).Stream.(*Stream)
	c := &outsideConn{Stream: s, ear: testkit.NewEar(r.t, r.system)}
	r.t.Cleanup(func() { s.Abort(messages.CloseShutdown) })
	s.Own(c.ear.PID)
	s.Open()
	if m := r.clientReads(); m.kind != "tcp_open" || m.id != c.ID() || m.fields["remoteAddr"] != c.RemoteAddr() {
		r.t.Fatalf("the client is told %+v", m)
	}
	return c
}
