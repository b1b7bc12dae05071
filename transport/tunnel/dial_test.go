package tunnel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/gorilla/websocket"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

// An innerConn is a stream whose outer end the test has dialled.
type innerConn struct {
	*outsideConn
	inner *net.UnixConn
}

// dials opens a stream from within, of which the client knows.
func (r *rig) dials() innerConn {
	r.t.Helper()
	inner, dialled, err := r.mux.Dial(r.t.Context(), "192.0.2.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { inner.Close() })
	s := testkit.Hears[*messages.Accepted](r.handler).Stream.(*Stream)
	if s != dialled {
		r.t.Fatal("the handler is given another stream")
	}
	c := innerConn{&outsideConn{Stream: s, ear: testkit.NewEar(r.t, r.system)}, inner}
	r.t.Cleanup(func() { s.Abort(messages.CloseShutdown) })
	s.Own(c.ear.PID)
	s.Open()
	if m := r.clientReads(); m.kind != "tcp_open" || m.id != c.ID() || m.fields["remoteAddr"] != "192.0.2.1:0" {
		r.t.Fatalf("the client is told %+v", m)
	}
	return c
}

// inEveryWay runs a test for each kind of client that needs nothing special.
func inEveryWay(t *testing.T, test func(t *testing.T, r *rig)) {
	for name, dialect := range map[string]Dialect{"text": Text, "binary": Binary} {
		for _, credit := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, credit %t", name, credit), func(t *testing.T) {
				test(t, startRig(t, rigOptions{dialect: dialect, credit: credit}))
			})
		}
	}
}

// A stream from within carries bytes both ways at once, and its ends, as one
// from outside does.
func TestDialledStreamCarriesBytes(t *testing.T) {
	const size = messages.Window // of both directions: what needs no credit
	inEveryWay(t, func(t *testing.T, r *rig) {
		c := r.dials()
		r.passesOn(c.outsideConn)
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := c.inner.Write(testkit.Pattern(size)); err != nil {
				t.Error(err)
			}
			_ = c.inner.CloseWrite()
		})
		all.Go(func() {
			got := make([]byte, size)
			if _, err := io.ReadFull(c.inner, got); err != nil || !bytes.Equal(got, testkit.Pattern(size)) {
				t.Errorf("what the client sends is not read: %v", err)
			}
		})
		all.Go(func() {
			for _, from := range []int{0, size / 2} {
				if err := r.client.WriteMessage(websocket.BinaryMessage, dataMessage(c.ID(), testkit.Pattern(size)[from:from+size/2])); err != nil {
					t.Error(err)
				}
			}
		})
		if got := r.readData(c.outsideConn, size); !bytes.Equal(got, testkit.Pattern(size)) {
			t.Error("the client does not read what was sent")
		}
		if m := r.clientReads(); m.kind != "tcp_close" || m.fields["reason"] != "eof" {
			t.Errorf("the client is told %+v", m)
		}
		all.Wait()
		testkit.Eventually(t, "nothing waits any more", func() bool { waiting, taken := c.Waiting(); return waiting == 0 && taken == size })
		c.EndWrite()
		if n, err := c.inner.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("at the end it reads %d bytes, %v", n, err)
		}
		r.wantStreamClosed(c.outsideConn, "")
	})
}

// With flow=credit the process itself gets no more to the client than that
// allows; its end needs none.
func TestDialledStreamNeedsCredit(t *testing.T) {
	for _, dialect := range []Dialect{Text, Binary} {
		r := startRig(t, rigOptions{dialect: dialect, credit: true})
		c := r.dials()
		const more = 1000
		var sending sync.WaitGroup
		sending.Go(func() {
			_, _ = c.inner.Write(make([]byte, messages.Window+2*more))
			_ = c.inner.CloseWrite()
		})
		r.readData(c.outsideConn, messages.Window)
		for range 2 {
			if in, _ := c.Moved(); in != messages.Window && in != messages.Window+more {
				t.Fatalf("%d bytes are read", in)
			}
			c.Credit(more)
			r.readData(c.outsideConn, more)
		}
		if m := r.clientReads(); m.kind != "tcp_close" || m.fields["reason"] != "eof" { // without credit
			t.Errorf("the client is told %+v", m)
		}
		sending.Wait()
	}
}

// An inner end that is closed at once with bytes unread is a reset; an abort is
// an end that the process can tell by the stream.
func TestDialledStreamsEnds(t *testing.T) {
	inEveryWay(t, func(t *testing.T, r *rig) {
		c := r.dials()
		c.holds(5)
		c.Write(exactly("hello"))
		testkit.Hears[*messages.Flushed](c.ear)
		c.inner.Close()
		if m := testkit.Hears[*messages.OutsideEnded](c.ear); m.Reason != messages.CloseReset {
			t.Errorf("the conn is told %s", m.Reason)
		}
		c.Abort(messages.CloseReset)
		if m := r.clientReads(); m.kind != "tcp_close" || m.fields["reason"] != "reset" {
			t.Errorf("the client is told %+v", m)
		}
		r.wantStreamClosed(c.outsideConn, messages.CloseReset)

		c = r.dials()
		c.Abort(messages.CloseRestart)
		if _, err := c.inner.Read(make([]byte, 1)); err == nil {
			t.Error("it reads on")
		}
		testkit.Receive(t, c.Done())
		if c.Ended() != messages.CloseRestart {
			t.Errorf("it ended for %q", c.Ended())
		}
	})
}

// What this process carries over a stream of its own must not be taken for whole
// when the tunnel ends, unless the client has said so.
func TestLeaveAbortsAnInnerStream(t *testing.T) {
	inEveryWay(t, func(t *testing.T, r *rig) {
		c := r.dials()
		c.Leave()
		r.wantStreamClosed(c.outsideConn, messages.CloseTunnelEnded)
	})
	for name, end := range map[string]func(*Stream){"closed": (*Stream).EndWrite, "closed its side": (*Stream).CloseWrite} {
		r := startRig(t, rigOptions{})
		c := r.dials()
		c.holds(5)
		c.Write(exactly("hello"))
		end(c.Stream)
		c.Leave()
		c.EndWrite()
		if got, err := io.ReadAll(c.inner); string(got) != "hello" || err != nil {
			t.Errorf("the client has %s: it reads %q, %v", name, got, err)
		}
		c.inner.Close()
		r.wantStreamClosed(c.outsideConn, "")
	}
}

// Who dials waits while the handler has enough to do, and is let go by the end
// of the Mux or of its context.
func TestDialWaitsForTheHandler(t *testing.T) {
	r := newRig(t, rigOptions{}) // without a raw port, which takes a place
	r.mux.Prepare(r.handler.PID, messages.EncodeReady(messages.Ready{}))
	r.mux.Start()
	for range maxAccepted {
		inner, _, err := r.mux.Dial(t.Context(), "inner")
		if err != nil {
			t.Fatal(err)
		}
		defer inner.Close()
	}
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	if _, _, err := r.mux.Dial(ctx, "inner"); err != enough {
		t.Errorf("after its context's end: %v", err)
	}
	results := make(chan error, 2)
	dial := func() {
		inner, _, err := r.mux.Dial(t.Context(), "inner")
		if err == nil {
			inner.Close()
		}
		results <- err
	}
	go dial()
	testkit.Hears[*messages.Accepted](r.handler).Stream.Reject()
	if err := testkit.Receive(t, results); err != nil {
		t.Errorf("though there is room: %v", err)
	}
	go dial()
	go dial()
	r.mux.Finish(messages.ReasonClientGone)
	for range 2 {
		if err := testkit.Receive(t, results); err != nil && err != net.ErrClosed {
			t.Errorf("at the end of the Mux: %v", err)
		}
	}
	r.wantAllClosed()
	// What nobody took ended with the Mux, and no place is lost.
	testkit.Eventually(t, "all places are free", func() bool { return len(r.mux.accepts) == 0 })
	for r.handler.Count() > 0 {
		s := testkit.Hears[*messages.Accepted](r.handler).Stream.(*Stream)
		testkit.Receive(t, s.Done())
	}
}
