package tunnel

import (
	"bytes"
	"io"
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

// wantEOF reads the outside peer to an orderly end, which must come after all
// that was sent.
func (c *outsideConn) wantEOF(t *testing.T, sent []byte) {
	t.Helper()
	if got, err := io.ReadAll(c.outside); err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("the peer reads %d bytes of %d, %v", len(got), len(sent), err)
	}
}

// wantPeersEnd waits until the conn is told how its peer has ended.
func (c *outsideConn) wantPeersEnd(t *testing.T, reason messages.CloseReason) {
	t.Helper()
	for {
		switch m := testkit.Hears[any](c.ear).(type) {
		case *messages.Flushed:
		case *messages.OutsideEnded:
			if m.Reason != reason {
				t.Errorf("the conn is told %s, want %s", m.Reason, reason)
			}
			return
		default:
			t.Fatalf("the conn is told %T", m)
		}
	}
}

// The end of the client's sending side is the peer's FIN, behind all that
// waits. The other direction goes on until the peer ends it, which is no reset,
// though the kernel has forgotten the connection by then.
func TestCloseWriteEndsOneSideAlone(t *testing.T) {
	for _, credit := range []bool{false, true} {
		r := startRig(t, rigOptions{credit: credit})
		c := r.open()
		const size = 6 << 20 // more than the kernels hold
		c.holds(size)
		c.Write(testkit.Pattern(size))
		c.CloseWrite()
		c.CloseWrite()
		c.holds(4)
		c.Write(exactly("late"))
		c.wantEOF(t, testkit.Pattern(size))
		testkit.Eventually(t, "nothing is held", func() bool { waiting, _ := c.Waiting(); return waiting == 0 })
		for range 3 {
			if _, err := c.outside.Write(testkit.Pattern(10_000)); err != nil {
				t.Fatal(err)
			}
			r.readData(c, 10_000)
		}
		c.outside.Close()
		if m := r.clientReads(); m.kind != "tcp_close" || m.fields["reason"] != "eof" {
			t.Errorf("the client is told %+v", m)
		}
		c.wantPeersEnd(t, messages.CloseEOF)
		if c.Ended() != "" {
			t.Errorf("it has ended for %s", c.Ended())
		}
		c.EndWrite()
		r.wantStreamClosed(c, "")
	}
}

// A peer that ends its side first is sent the FIN in its turn.
func TestCloseWriteAfterThePeersEnd(t *testing.T) {
	r := startRig(t, rigOptions{})
	c := r.open()
	_ = c.outside.CloseWrite()
	if m := r.clientReads(); m.kind != "tcp_close" || m.fields["reason"] != "eof" {
		t.Errorf("the client is told %+v", m)
	}
	c.wantPeersEnd(t, messages.CloseEOF)
	c.holds(5)
	c.Write(exactly("hello"))
	c.CloseWrite()
	c.wantEOF(t, []byte("hello"))
	c.EndWrite()
	r.wantStreamClosed(c, "")
}

// Called before the pumps run, it counts as well.
func TestCloseWriteBeforeOpen(t *testing.T) {
	r := startRig(t, rigOptions{})
	c := r.accept()
	c.holds(5)
	c.Write(exactly("hello"))
	c.CloseWrite()
	c.Open()
	r.clientReads()
	c.wantEOF(t, []byte("hello"))
	c.Abort(messages.CloseShutdown)
	if m := r.clientReads(); m.kind != "tcp_close" || m.fields["reason"] != "shutdown" {
		t.Errorf("the client is told %+v", m)
	}
	r.wantStreamClosed(c, messages.CloseShutdown)
}

// Behind a window that is used up, both sides' ends are no reset of the bytes
// that wait, and no end before them.
func TestPeersEndBehindBytesAfterCloseWrite(t *testing.T) {
	r := startRig(t, rigOptions{credit: true})
	c := r.open()
	c.CloseWrite()
	c.wantEOF(t, nil)
	if _, err := c.outside.Write(testkit.Pattern(messages.Window + 7)); err != nil {
		t.Fatal(err)
	}
	c.outside.Close()
	r.readData(c, messages.Window)
	<-time.After(2 * creditLook)
	if told := c.ear.Take(); len(told) > 0 {
		t.Errorf("the conn is told %T %+v", told[0], told[0])
	}
	c.Credit(7)
	if got := r.readData(c, 7); !bytes.Equal(got, testkit.Pattern(messages.Window + 7)[messages.Window:]) {
		t.Errorf("the client reads %q", got)
	}
	if m := r.clientReads(); m.kind != "tcp_close" || m.fields["reason"] != "eof" {
		t.Errorf("the client is told %+v", m)
	}
	c.wantPeersEnd(t, messages.CloseEOF)
}

// The peer's end alone needs no credit, nor does a reset, behind bytes or not.
func TestPeersEndNeedsNoCreditAfterCloseWrite(t *testing.T) {
	for _, test := range []struct {
		name  string
		extra int // bytes beyond the window
		reset bool
	}{
		{"end", 0, false}, {"reset", 0, true}, {"reset behind bytes", 7, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := startRig(t, rigOptions{credit: true})
			c := r.open()
			c.CloseWrite()
			c.wantEOF(t, nil)
			if _, err := c.outside.Write(make([]byte, messages.Window+test.extra)); err != nil {
				t.Fatal(err)
			}
			r.readData(c, messages.Window)
			want := messages.CloseEOF
			if test.reset {
				want = messages.CloseReset
				_ = c.outside.SetLinger(0)
			}
			c.outside.Close()
			c.wantPeersEnd(t, want)
		})
	}
}

// A reset is one also after the sending side has ended.
func TestResetAfterCloseWrite(t *testing.T) {
	r := startRig(t, rigOptions{})
	c := r.open()
	c.CloseWrite()
	c.wantEOF(t, nil)
	_ = c.outside.SetLinger(0)
	c.outside.Close()
	c.wantPeersEnd(t, messages.CloseReset)
	c.Abort(messages.CloseReset)
	if m := r.clientReads(); m.kind != "tcp_close" || m.fields["reason"] != "reset" {
		t.Errorf("the client is told %+v", m)
	}
	r.wantStreamClosed(c, messages.CloseReset)
}

// What ends the connection ends it after CloseWrite as well: the client's close
// with the patience that a peer has, an abort with a reset.
func TestStreamEndsAfterCloseWrite(t *testing.T) {
	t.Run("close", func(t *testing.T) {
		r := startRig(t, rigOptions{})
		c := r.open()
		c.holds(5)
		c.Write(exactly("hello"))
		c.CloseWrite()
		c.EndRead()
		c.EndWrite()
		c.wantEOF(t, []byte("hello"))
		if _, err := c.outside.Write([]byte("more")); err != nil { // is read to no purpose
			t.Error(err)
		}
		c.outside.Close()
		r.wantStreamClosed(c, "")
	})
	t.Run("abort", func(t *testing.T) {
		r := startRig(t, rigOptions{})
		c := r.open()
		c.CloseWrite()
		one := make([]byte, 1)
		if _, err := c.outside.Read(one); err != io.EOF {
			t.Errorf("the peer reads %v", err)
		}
		c.Abort(messages.CloseSlow)
		if m := r.clientReads(); m.kind != "tcp_close" || m.fields["reason"] != "slow" {
			t.Errorf("the client is told %+v", m)
		}
		r.wantStreamClosed(c, messages.CloseSlow)
		testkit.Eventually(t, "the peer's side is reset", func() bool { _, err := c.outside.Write(one); return err != nil })
	})
	t.Run("abort while bytes wait", func(t *testing.T) {
		r := startRig(t, rigOptions{})
		c := r.open()
		c.holds(16 << 20) // more than the kernels hold
		c.Write(make([]byte, 16<<20))
		c.CloseWrite()
		c.Abort(messages.CloseSlow)
		if _, err := io.Copy(io.Discard, c.outside); !isReset(err) {
			t.Errorf("the peer's end is %v", err)
		}
		r.wantStreamClosed(c, messages.CloseSlow)
	})
	t.Run("leave", func(t *testing.T) {
		r := startRig(t, rigOptions{})
		c := r.open()
		const size = 6 << 20
		c.holds(size)
		c.Write(testkit.Pattern(size))
		c.CloseWrite()
		c.Leave()
		r.mux.Finish(messages.ReasonClientGone)
		r.wantAllClosed()
		c.EndWrite()
		c.wantEOF(t, testkit.Pattern(size))
		c.outside.Close()
		r.wantStreamClosed(c, "")
	})
}
