package tunnel

import (
	"bytes"
	"io"
	"sync"
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

// wantStreamClosed waits for the stream's end, which is told once.
func (r *rig) wantStreamClosed(c *outsideConn, why messages.CloseReason) {
	r.t.Helper()
	for {
		if _, closed := testkit.Hears[any](c.ear).(*messages.StreamClosed); closed {
			break
		}
	}
	if c.Ended() != why {
		r.t.Errorf("it ended for %q, want %q", c.Ended(), why)
	}
	c.Abort(messages.CloseRestart)
	c.EndRead()
	c.EndWrite()
	c.Write(exactly("late"))
	if n := c.holds(5); n != 0 {
		r.t.Errorf("a stream that has ended holds %d", n)
	}
	if c.Ended() != why {
		r.t.Errorf("it ended for %q afterwards", c.Ended())
	}
	if held := r.mux.buffer.Held(); held != 0 {
		r.t.Errorf("%d bytes are held for it", held)
	}
	for _, m := range c.ear.Take() {
		if _, again := m.(*messages.StreamClosed); again {
			r.t.Error("the end is told twice")
		}
	}
	if conn := c.outer(); conn != nil && conn.SetDeadline(time.Now()) == nil {
		r.t.Error("its socket is still open")
	}
}

// The client's close: all that was written before reaches a peer that is slow to read it,
// then the end; what was on its way to the client is not wanted any more.
func TestEndWriteFlushesFirst(t *testing.T) {
	r := startRig(t, rigOptions{})
	c := r.open()
	const size = 6 << 20 // more than the kernels hold
	var sent []byte
	for i := range 96 {
		piece := append([]byte{byte(i)}, testkit.Pattern(size/96-1)...)
		sent = append(sent, piece...)
		if waiting := c.Hold(piece); waiting > int64(len(sent)) {
			t.Fatalf("%d bytes wait of %d", waiting, len(sent))
		}
		c.Write(piece)
	}
	if held := r.mux.buffer.Held(); held < 1 || held > size-messages.ConnShare {
		t.Errorf("%d bytes count against the tunnel", held)
	}
	c.EndRead()
	c.EndWrite()
	c.Write(exactly("late"))
	got, err := io.ReadAll(c.outside)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("the peer reads %d bytes of %d, %v", len(got), len(sent), err)
	}
	c.outside.Close()
	r.wantStreamClosed(c, "")
	r.mux.Control([]byte(`{"type":"mark"}`))
	if m := r.clientReads(); m.kind != "mark" {
		t.Errorf("the client, which has closed, is told %+v", m)
	}
}

// The idle end of a half-closed connection drops nothing of what the client has
// yet to read, and the conn hears of the peer's end when that is on its way: a
// slow client has all its time to answer it.
func TestEndWriteDropsNothingForTheClient(t *testing.T) {
	r := startRig(t, rigOptions{})
	c := r.open()
	r.clientStopsReading()
	if _, err := c.outside.Write(testkit.Pattern(20_000)); err != nil {
		t.Fatal(err)
	}
	_ = c.outside.CloseWrite()
	testkit.Eventually(t, "bytes and end wait", func() bool { return c.framesWaiting() == 2 })
	if told := c.ear.Take(); len(told) > 0 {
		t.Errorf("the conn is told %T before the client can hear of it", told[0])
	}
	c.EndWrite()
	if m := r.clientReads(); m.kind != "mark" {
		t.Fatalf("the client is told %+v", m)
	}
	if got := r.readData(c, 20_000); !bytes.Equal(got, testkit.Pattern(20_000)) {
		t.Error("the client does not read what was sent")
	}
	if m := r.clientReads(); m.kind != "tcp_close" || m.fields["reason"] != "eof" {
		t.Errorf("the client is told %+v", m)
	}
	for {
		if m, ended := testkit.Hears[any](c.ear).(*messages.OutsideEnded); ended {
			if m.Reason != messages.CloseEOF {
				t.Errorf("the conn is told %s", m.Reason)
			}
			break
		}
	}
}

// A peer that sends all the time reads what it was sent, all the same, and is
// not cut off by a reset.
func TestEndWriteToAPeerThatSends(t *testing.T) {
	r := startRig(t, rigOptions{})
	c := r.open()
	stop := make(chan struct{})
	var sending sync.WaitGroup
	sending.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := c.outside.Write(make([]byte, 10_000)); err != nil {
					return
				}
			}
		}
	})
	testkit.Eventually(t, "it is sending", func() bool { in, _ := c.Moved(); return in > 0 })
	c.holds(1 << 20)
	c.Write(testkit.Pattern(1 << 20))
	c.EndRead()
	c.EndWrite()
	if got, err := io.ReadAll(c.outside); err != nil || !bytes.Equal(got, testkit.Pattern(1<<20)) {
		t.Errorf("the peer reads %d bytes, %v", len(got), err)
	}
	close(stop)
	sending.Wait()
	c.outside.Close()
	r.wantStreamClosed(c, "")
}

// Abort: the peer sees a reset, the client what came before and then why.
func TestAbortResetsAndSaysWhy(t *testing.T) {
	for _, why := range []messages.CloseReason{messages.CloseSlow, messages.CloseLimit, messages.CloseReset} {
		r := startRig(t, rigOptions{})
		c := r.open()
		if _, err := c.outside.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "it is read", func() bool { in, _ := c.Moved(); return in == 5 })
		for range 200 { // more than the peer's kernel takes: it does not read
			c.holds(64 << 10)
			c.Write(make([]byte, 64<<10))
		}
		if r.mux.buffer.Held() == 0 {
			t.Error("nothing counts against the tunnel")
		}
		c.Abort(why)
		c.Abort(messages.CloseRestart)
		r.readData(c, 5)
		if m := r.clientReads(); m.kind != "tcp_close" || m.id != c.ID() || m.fields["reason"] != string(why) {
			t.Errorf("the client is told %+v", m)
		}
		if _, err := io.Copy(io.Discard, c.outside); !isReset(err) {
			t.Errorf("the peer's end is %v", err)
		}
		r.wantStreamClosed(c, why)
		r.mux.Control([]byte(`{"type":"mark"}`))
		if m := r.clientReads(); m.kind != "mark" {
			t.Errorf("then the client is told %+v", m)
		}
	}
}

// A peer that resets: its conn is told, and says what is to become of it.
func TestOutsideResetIsTold(t *testing.T) {
	r := startRig(t, rigOptions{})
	c := r.open()
	_ = c.outside.SetLinger(0)
	c.outside.Close()
	if m := testkit.Hears[*messages.OutsideEnded](c.ear); m.Reason != messages.CloseReset {
		t.Errorf("the conn is told %s", m.Reason)
	}
	c.Abort(messages.CloseReset)
	if m := r.clientReads(); m.kind != "tcp_close" || m.fields["reason"] != "reset" {
		t.Errorf("the client is told %+v", m)
	}
	r.wantStreamClosed(c, messages.CloseReset)
}

// A peer that resets while it is written to: the client hears of it, once.
func TestWriteToAPeerThatResets(t *testing.T) {
	r := startRig(t, rigOptions{})
	c := r.open()
	for range 200 {
		c.holds(64 << 10)
		c.Write(make([]byte, 64<<10))
	}
	_ = c.outside.SetLinger(0)
	c.outside.Close()
	if m := r.clientReads(); m.kind != "tcp_close" || m.fields["reason"] != "reset" {
		t.Errorf("the client is told %+v", m)
	}
	r.wantStreamClosed(c, messages.CloseReset)
}

// Whoever closes the socket of a stream that is aborted, its peer sees a reset:
// the out pump may be faster than the Abort that has woken it.
func TestAbortIsAResetWhoeverCloses(t *testing.T) {
	r := startRig(t, rigOptions{})
	c := r.open()
	c.finish(messages.CloseRestart, true) // the first half of Abort
	r.wantStreamClosed(c, messages.CloseRestart)
	if _, err := io.Copy(io.Discard, c.outside); !isReset(err) {
		t.Errorf("the peer's end is %v", err)
	}
}

// One that the client was never told of ends without a word to it.
func TestConnectionThatWasNotAnnouncedEndsInSilence(t *testing.T) {
	r := startRig(t, rigOptions{})
	aborted, rejected := r.accept(), r.accept()
	aborted.Abort(messages.CloseRestart)
	rejected.Reject()
	for _, c := range []*outsideConn{aborted, rejected} {
		c.Open() // too late
		if _, err := io.Copy(io.Discard, c.outside); !isReset(err) {
			t.Errorf("the peer's end is %v", err)
		}
		if n := c.holds(5); n != 0 {
			t.Errorf("it holds %d bytes", n)
		}
	}
	r.mux.Control([]byte(`{"type":"mark"}`))
	if m := r.clientReads(); m.kind != "mark" {
		t.Errorf("the client is told %+v", m)
	}
}

// A peer that keeps its side open keeps the connection no longer than it takes
// to be sure of its last bytes: that its kernel has acknowledged the end is no
// sign that it will read more.
func TestEndWriteLingersOnce(t *testing.T) {
	t.Parallel()
	r := startRig(t, rigOptions{})
	c := r.open()
	c.holds(5)
	c.Write(exactly("hello"))
	begun := time.Now()
	c.EndRead()
	c.EndWrite()
	if got, err := io.ReadAll(c.outside); string(got) != "hello" || err != nil {
		t.Errorf("the peer reads %q, %v", got, err)
	}
	r.wantStreamClosed(c, "")
	if took := time.Since(begun); took < messages.Linger/2 || took > messages.Linger*3/2 {
		t.Errorf("it is closed after %s", took)
	}
}

// The peer's end needs no credit: it is told behind a window that is used up.
// A reset is told also when bytes wait that the client did not allow.
func TestPeersEndNeedsNoCredit(t *testing.T) {
	for _, test := range []struct {
		name  string
		extra int // bytes beyond the window
		reset bool
		want  string
	}{
		{"end", 0, false, "eof"},
		{"reset", 0, true, "reset"},
		{"reset behind bytes", 7, true, "reset"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := startRig(t, rigOptions{credit: true})
			c := r.open()
			if _, err := c.outside.Write(testkit.Pattern(messages.Window + test.extra)); err != nil {
				t.Fatal(err)
			}
			r.readData(c, messages.Window)
			if test.reset {
				_ = c.outside.SetLinger(0)
				c.outside.Close()
			} else {
				_ = c.outside.CloseWrite()
				if m := r.clientReads(); m.kind != "tcp_close" || m.fields["reason"] != "eof" {
					t.Errorf("the client is told %+v", m)
				}
			}
			if m := testkit.Hears[*messages.OutsideEnded](c.ear); string(m.Reason) != test.want {
				t.Errorf("the conn is told %s", m.Reason)
			}
		})
	}
}

// What waits without credit is no end: it stays where it is, and the end behind
// it is told in its turn.
func TestPeersEndWaitsForItsBytes(t *testing.T) {
	r := startRig(t, rigOptions{credit: true})
	c := r.open()
	if _, err := c.outside.Write(testkit.Pattern(messages.Window + 7)); err != nil {
		t.Fatal(err)
	}
	_ = c.outside.CloseWrite()
	r.readData(c, messages.Window)
	late := time.NewTimer(2 * creditLook)
	<-late.C
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
}
