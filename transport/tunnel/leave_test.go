package tunnel

import (
	"bytes"
	"io"
	"testing"
	"time"

	"wsproxy/messages"
)

// A stream needs its link no longer: what waits for the peer when the client is
// gone reaches it, then the end. Until then it counts as memory.
func TestStreamOutlivesItsLink(t *testing.T) {
	for _, closed := range []bool{false, true} { // by the client, before
		r := startedTunnelRig(t, false, nil)
		c := r.open()
		const size = 6 << 20 // more than the kernels hold
		c.Hold(size)
		c.Write(pattern(size))
		if closed {
			c.EndRead()
			c.EndWrite()
		}
		c.Leave()
		r.link.Finish(messages.ReasonClientGone)
		r.wantAllClosed()
		c.EndWrite()
		if held := r.tools.total.held.Load(); held == 0 {
			t.Error("nothing counts against the memory of all tunnels")
		}
		got, err := io.ReadAll(c.outside)
		if err != nil || !bytes.Equal(got, pattern(size)) {
			t.Errorf("the peer reads %d bytes of %d, %v", len(got), size, err)
		}
		c.outside.Close()
		r.wantStreamClosed(c, "")
	}
}

// The client gets what waits for it, and the word that no more will come.
func TestLeaveTellsTheClient(t *testing.T) {
	r := startedTunnelRig(t, false, nil)
	c, never := r.open(), r.accept()
	if _, err := c.outside.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is read", func() bool { in, _ := c.Moved(); return in == 5 })
	c.Leave()
	never.Leave() // the client has not heard of it, and does not
	never.Open()
	r.link.Finish(messages.ReasonMessageTooBig)
	before := r.wantCloseCode(1009)
	if len(before) != 2 || string(before[0].data) != "hello" || before[1].kind != "tcp_close" || before[1].fields["reason"] != "shutdown" {
		t.Errorf("the client is told %+v", before)
	}
	for _, c := range []*tunnelConn{c, never} {
		c.EndWrite()
		if got, err := io.ReadAll(c.outside); err != nil || len(got) > 0 {
			t.Errorf("the peer reads %q, %v", got, err)
		}
		c.outside.Close()
		r.wantStreamClosed(c, "")
	}
}

// Nobody waits for a peer that keeps its side open when the server shuts down.
func TestShutdownEndsALingeringStream(t *testing.T) {
	r := startedTunnelRig(t, false, nil)
	c := r.open()
	begun := time.Now()
	c.EndWrite()
	if got, err := io.ReadAll(c.outside); err != nil || len(got) > 0 {
		t.Errorf("the peer reads %q, %v", got, err)
	}
	eventually(t, "it lingers", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.over
	})
	c.Abort(messages.CloseShutdown)
	r.wantStreamClosed(c, "")
	if took := time.Since(begun); took > messages.Linger/2 {
		t.Errorf("it took %s", took)
	}
}

// What this process carries over a raw connection of its own must not be taken
// for whole when the tunnel ends.
func TestLeaveAbortsAnInsideConnection(t *testing.T) {
	r := startedTunnelRig(t, false, nil)
	near, far, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	defer near.Close()
	r.link.accepts <- struct{}{}
	c := &tunnelConn{stream: newStream(r.link, far, "inside"), ear: newTunnelEar(t, r.system)}
	c.Own(c.ear.pid)
	c.Open()
	c.Leave()
	r.wantStreamClosed(c, messages.CloseShutdown)
}
