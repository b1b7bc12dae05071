package tunnel

import (
	"testing"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/tunnel/inflight"
	"wsproxy/transport/tunnel/port"
)

// resetWithBytes opens a connection whose peer sends a little and resets it, and
// waits until it has ended but for what the client has yet to read.
func (r *rig) resetWithBytes() *outsideConn {
	r.t.Helper()
	c := r.accept()
	c.Open()
	if _, err := c.outside.Write([]byte("hello")); err != nil {
		r.t.Fatal(err)
	}
	testkit.Eventually(r.t, "it is read", func() bool { in, _ := c.Moved(); return in == 5 })
	_ = c.outside.SetLinger(0)
	c.outside.Close()
	if m := testkit.Hears[*messages.OutsideEnded](c.ear); m.Reason != messages.CloseReset {
		r.t.Errorf("the conn is told %s", m.Reason)
	}
	c.Abort(messages.CloseReset)
	testkit.Eventually(r.t, "its end waits for its last frame", func() bool {
		n, told := c.queue.Waiting()
		return n == 3 && told
	})
	if n := c.ear.Count(); n > 0 {
		r.t.Errorf("the conn is told %T while bytes wait for the client", c.ear.Take()[0])
	}
	return c
}

// What an ended connection has left for the client takes up memory: it ends for
// its conn, whose slots bound that, when the client has got it.
func TestStreamEndsWhenTheClientHasGotItsLast(t *testing.T) {
	r := startRig(t, rigOptions{})
	r.clientStopsReading()
	a, b := r.resetWithBytes(), r.resetWithBytes()
	for range 7 { // a mark, and three of each
		r.clientReads()
	}
	r.wantStreamClosed(a, messages.CloseReset)
	r.wantStreamClosed(b, messages.CloseReset)
}

// It ends also when the client will never get it: because it wants no more of
// the connection, or is gone itself.
func TestStreamEndsWhenItsLastIsDropped(t *testing.T) {
	r := startRig(t, rigOptions{})
	r.clientStopsReading()
	a, b := r.resetWithBytes(), r.resetWithBytes()
	a.EndRead()
	r.wantStreamClosed(a, messages.CloseReset)
	if n := b.ear.Count(); n > 0 {
		t.Errorf("another conn is told %T", b.ear.Take()[0])
	}
	r.mux.Finish(messages.ReasonClientGone)
	r.wantStreamClosed(b, messages.CloseReset)
}

// What the client never heard of leaves nothing for it.
func TestRejectedConnectionLeavesNothing(t *testing.T) {
	r := startRig(t, rigOptions{})
	r.clientStopsReading()
	for _, end := range []func(c *outsideConn){
		func(c *outsideConn) { c.Reject() },
		func(c *outsideConn) { c.Abort(messages.CloseRestart) },
		func(c *outsideConn) { c.Leave(); c.Reject() },
	} {
		c := r.accept()
		end(c)
		c.Open()
	}
	if batch, _ := r.mux.queue.Take(nil, inflight.MaxBatch); len(batch) > 0 {
		t.Errorf("%d frames wait", len(batch))
	}
}

// A connection that is over holds up nobody, whatever waited for its peer.
func TestNothingWaitsForThePeerOfAnEndedStream(t *testing.T) {
	r := startRig(t, rigOptions{})
	c := r.open()
	c.holds(5 << 20)
	c.Abort(messages.CloseSlow)
	if waiting, _ := c.Waiting(); waiting != 0 {
		t.Errorf("%d bytes wait", waiting)
	}
}

// What an outside peer does not read waits in the kernel too, and there may be a
// thousand of them.
func TestKernelHoldsLittleOfARawConnection(t *testing.T) {
	r := startRig(t, rigOptions{})
	testkit.WantSendBuffer(t, r.accept().conn, port.SendBuffer)
	if port.SendBuffer != 256<<10 {
		t.Errorf("the protocol grants 256 KiB, not %d bytes", port.SendBuffer)
	}
}
