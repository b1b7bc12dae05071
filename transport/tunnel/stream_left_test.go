package tunnel

import (
	"testing"

	"wsproxy/messages"
)

// clientStopsReading is as if the client read nothing, until goOn is called.
func (r *tunnelRig) clientStopsReading() (goOn func()) {
	r.t.Helper()
	r.link.client.turn.Lock()
	r.link.Control([]byte(`{"type":"mark"}`))
	eventually(r.t, "the writer waits", func() bool { return r.link.lanes.backlog() == 0 })
	return r.link.client.turn.Unlock
}

// resetWithBytes opens a connection whose peer sends a little and resets it, and
// waits until it has ended but for what the client has yet to read.
func (r *tunnelRig) resetWithBytes() *tunnelConn {
	r.t.Helper()
	c := r.accept()
	c.Open()
	if _, err := c.outside.Write([]byte("hello")); err != nil {
		r.t.Fatal(err)
	}
	eventually(r.t, "it is read", func() bool { in, _ := c.Moved(); return in == 5 })
	_ = c.outside.SetLinger(0)
	c.outside.Close()
	if m := hears[*messages.OutsideEnded](c.ear); m.Reason != messages.CloseReset {
		r.t.Errorf("the conn is told %s", m.Reason)
	}
	c.Abort(messages.CloseReset)
	eventually(r.t, "its end waits for its last frame", func() bool {
		c.lane.all.mu.Lock()
		defer c.lane.all.mu.Unlock()
		n := len(c.lane.frames)
		return n == 3 && c.lane.frames[n-1].gone != nil
	})
	if n := c.ear.count(); n > 0 {
		r.t.Errorf("the conn is told %T while bytes wait for the client", c.ear.take()[0])
	}
	return c
}

// What an ended connection has left for the client takes up memory: it ends for
// its conn, whose slots bound that, when the client has got it.
func TestStreamEndsWhenTheClientHasGotItsLast(t *testing.T) {
	r := startedTunnelRig(t, false, nil)
	goOn := r.clientStopsReading()
	a, b := r.resetWithBytes(), r.resetWithBytes()
	goOn()
	for range 7 { // a mark, and three of each
		r.clientReads()
	}
	r.wantStreamClosed(a, messages.CloseReset)
	r.wantStreamClosed(b, messages.CloseReset)
}

// It ends also when the client will never get it: because it wants no more of
// the connection, or is gone itself.
func TestStreamEndsWhenItsLastIsDropped(t *testing.T) {
	r := startedTunnelRig(t, false, nil)
	goOn := r.clientStopsReading()
	a, b := r.resetWithBytes(), r.resetWithBytes()
	a.EndRead()
	r.wantStreamClosed(a, messages.CloseReset)
	if n := b.ear.count(); n > 0 {
		t.Errorf("another conn is told %T", b.ear.take()[0])
	}
	goOn()
	r.link.Finish(messages.ReasonClientGone)
	r.wantStreamClosed(b, messages.CloseReset)
}

// What the client never heard of leaves nothing for it.
func TestRejectedConnectionLeavesNothing(t *testing.T) {
	r := startedTunnelRig(t, false, nil)
	defer r.clientStopsReading()()
	for _, end := range []func(c *tunnelConn){
		func(c *tunnelConn) { c.Reject() },
		func(c *tunnelConn) { c.Abort(messages.CloseRestart) },
		func(c *tunnelConn) { c.Leave(); c.Reject() },
	} {
		c := r.accept()
		end(c)
		c.Open()
	}
	r.link.lanes.mu.Lock()
	defer r.link.lanes.mu.Unlock()
	if n := len(r.link.lanes.turn) + len(r.link.lanes.control); n > 0 {
		t.Errorf("%d lanes and messages wait", n)
	}
}

// A connection that is over holds up nobody, whatever waited for its peer.
func TestNothingWaitsForThePeerOfAnEndedStream(t *testing.T) {
	r := startedTunnelRig(t, false, nil)
	c := r.open()
	c.Hold(5 << 20)
	c.Abort(messages.CloseSlow)
	if waiting, _ := c.Waiting(); waiting != 0 {
		t.Errorf("%d bytes wait", waiting)
	}
}
