package tunnel

import (
	"bytes"
	"io"
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

// A stream needs its Mux no longer: what waits for the peer when the client is
// gone reaches it, then the end. Until then it counts as memory.
func TestStreamOutlivesItsMux(t *testing.T) {
	for _, closed := range []bool{false, true} { // by the client, before
		r := startRig(t, rigOptions{})
		c := r.open()
		const size = 6 << 20 // more than the kernels hold
		c.holds(size)
		c.Write(testkit.Pattern(size))
		if closed {
			c.EndRead()
			c.EndWrite()
		}
		c.Leave()
		r.mux.Finish(messages.ReasonClientGone)
		r.wantAllClosed()
		c.EndWrite()
		if held := r.settings.Memory.Held(); held == 0 {
			t.Error("nothing counts against the memory of all tunnels")
		}
		got, err := io.ReadAll(c.outside)
		if err != nil || !bytes.Equal(got, testkit.Pattern(size)) {
			t.Errorf("the peer reads %d bytes of %d, %v", len(got), size, err)
		}
		c.outside.Close()
		r.wantStreamClosed(c, "")
	}
}

// The client gets what waits for it, and no word about the end: that is its
// tunnel's, not the connection's.
func TestLeaveTellsTheClientNothing(t *testing.T) {
	r := startRig(t, rigOptions{})
	c, never := r.open(), r.accept()
	if _, err := c.outside.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it is read", func() bool { in, _ := c.Moved(); return in == 5 })
	c.Leave()
	never.Leave() // the client has not heard of it, and does not
	never.Open()
	if _, err := c.outside.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	_ = c.outside.CloseWrite()
	if m := testkit.Hears[*messages.OutsideEnded](c.ear); m.Reason != messages.CloseEOF { // nobody else does
		t.Errorf("the conn is told %s", m.Reason)
	}
	r.mux.Finish(messages.ReasonMessageTooBig)
	if before := r.wantCloseCode(1009); len(before) != 1 || string(before[0].data) != "hello" {
		t.Errorf("the client is told %+v", before)
	}
	for _, c := range []*outsideConn{c, never} {
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
	r := startRig(t, rigOptions{})
	c := r.open()
	begun := time.Now()
	c.EndWrite()
	if got, err := io.ReadAll(c.outside); err != nil || len(got) > 0 {
		t.Errorf("the peer reads %q, %v", got, err)
	}
	testkit.Eventually(t, "it lingers", func() bool {
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
