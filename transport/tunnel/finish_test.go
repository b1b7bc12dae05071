package tunnel

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/wsock"
)

// wantAllClosed waits for the Mux's end and makes sure that nothing of it is
// left, and that it is told once.
func (r *rig) wantAllClosed() {
	r.t.Helper()
	r.wantClosed()
	r.mux.Finish(messages.ReasonInternal)
	if listener := r.mux.listener.Load(); listener != nil {
		if conn, err := net.DialTCP("tcp4", nil, listener.Addr().(*net.TCPAddr)); err == nil {
			conn.Close()
			r.t.Error("the raw port is still open")
		}
	}
	if r.served != nil {
		if err := r.served.SetDeadline(time.Now()); err == nil {
			r.t.Error("the client's socket is still open")
		}
	}
	for _, m := range r.tunnel.Take() {
		if _, again := m.(*messages.MuxClosed); again {
			r.t.Error("the end is told twice")
		}
	}
}

func TestFinishBeforeTheClientCame(t *testing.T) {
	r := newBareRig(t, rigOptions{})
	r.mux.Finish(messages.ReasonAbandoned)
	r.mux.Finish(messages.ReasonAbandoned)
	r.wantAllClosed()
	_, far := testkit.TCPPair(t)
	client, err := wsock.NewConn(far)
	if err != nil {
		t.Fatal(err)
	}
	if r.mux.Attach(client) {
		t.Error("a Mux that is finished takes a client")
	}
}

func TestFinishBeforeItStarts(t *testing.T) {
	r := newRig(t, rigOptions{})
	r.mux.Listen(0)
	testkit.Hears[*messages.PortOpened](r.tunnel)
	r.mux.Finish(messages.ReasonInternal)
	r.wantCloseCode(1011)
	r.wantAllClosed()
}

// A Mux may wait to start while requests come, and then end without having
// started: what waits for its client is dropped.
func TestFinishOfAMuxThatIsOnlyPrepared(t *testing.T) {
	r := newRig(t, rigOptions{})
	r.mux.Prepare(r.handler.PID, messages.EncodeReady(messages.Ready{}))
	pipe, err := r.mux.OpenPipe("inner", "", testkit.Patience)
	if err != nil {
		t.Fatal(err)
	}
	s := testkit.Hears[*messages.Accepted](r.handler).Stream
	ear := testkit.NewEar(t, r.system)
	s.Own(ear.PID)
	s.Open()
	if !r.mux.Request("q", []byte(`{"type":"http_request"}`)) {
		t.Error("there is no memory for a request")
	}
	s.Leave()
	s.EndWrite()
	r.mux.Finish(messages.ReasonNameTaken)
	if before := r.wantCloseCode(4001); len(before) > 0 {
		t.Errorf("the client is sent %+v", before)
	}
	r.wantAllClosed()
	pipe.Close(messages.CloseEOF)
	testkit.Hears[*messages.StreamClosed](ear)
}

// Everything that waits goes out first, control and data, then the close.
func TestFinishFlushesWhatWaits(t *testing.T) {
	r := startRig(t, rigOptions{})
	c := r.open()
	for i := range 200 {
		r.mux.Control(fmt.Appendf(nil, `{"type":"m","n":%d,"x":%q}`, i, strings.Repeat("y", 20<<10)))
	}
	c.Abort(messages.CloseShutdown)
	r.mux.Finish(messages.ReasonShutdown)
	before := r.wantCloseCode(1001)
	if len(before) != 201 {
		var kinds []string
		for _, m := range before {
			kinds = append(kinds, fmt.Sprint(m.kind, m.fields["reason"]))
		}
		slices.Sort(kinds)
		t.Fatalf("%d messages came before the close: %q", len(before), slices.Compact(kinds))
	}
	n, closes := 0, 0
	for _, m := range before {
		switch {
		case m.kind == "m" && m.fields["n"] == float64(n):
			n++
		case m.kind == "tcp_close" && m.id == c.ID() && m.fields["reason"] == "shutdown":
			closes++
		}
	}
	if n != 200 || closes != 1 {
		t.Errorf("%d messages in their order, %d tcp_close", n, closes)
	}
	r.wantAllClosed()
}

// A client that vanishes while what waits is being written holds nobody up.
func TestFinishEndsWhenTheClientVanishes(t *testing.T) {
	r := startRig(t, rigOptions{})
	for range 500 {
		r.mux.Control([]byte(`{"type":"` + strings.Repeat("m", 64<<10) + `"}`))
	}
	r.mux.Finish(messages.ReasonShutdown)
	_ = r.peer.SetLinger(0)
	r.peer.Close()
	r.wantAllClosed()
}

// The same for a client that was given up: it is not waited for at all.
func TestFinishDoesNotWaitForAStalledClient(t *testing.T) {
	r := startRig(t, rigOptions{})
	r.clientStopsReading()
	for range 500 {
		r.mux.Control([]byte(`{"type":"` + strings.Repeat("m", 64<<10) + `"}`))
	}
	begun := time.Now()
	r.mux.Finish(messages.ReasonClientStalled)
	r.wantAllClosed()
	if took := time.Since(begun); took > messages.Linger/2 {
		t.Errorf("it took %s", took)
	}
}

// A client that is gone while nothing is to be written: the writer, which waits
// for frames, must be woken. This hung once.
func TestClientGoneWhileTheWriterIsIdle(t *testing.T) {
	for range 20 {
		r := startRig(t, rigOptions{})
		r.peer.Close()
		if m := testkit.Hears[*messages.MuxEnded](r.tunnel); m.Reason != messages.ReasonClientGone {
			t.Errorf("the Mux ended for %s", m.Reason)
		}
		r.mux.Finish(messages.ReasonClientGone)
		r.wantAllClosed()
	}
}

func TestMuxAnswersTheClientsClose(t *testing.T) {
	r := startRig(t, rigOptions{})
	if _, err := r.peer.Write(testkit.Frame(0x88, testkit.ClosePayload(4000, "bye"))); err != nil {
		t.Fatal(err)
	}
	if m := testkit.Hears[*messages.MuxEnded](r.tunnel); m.Reason != messages.ReasonClientClosed {
		t.Errorf("the Mux ended for %s", m.Reason)
	}
	r.mux.Finish(messages.ReasonClientClosed)
	r.wantCloseCode(4000)
	r.peer.Close()
	r.wantAllClosed()
}

// A client that ends its TCP stream without a close frame is sent what is left,
// a close frame and the end, and no reset, though it says nothing more.
func TestClientThatEndsItsStreamIsSentWhatIsLeft(t *testing.T) {
	r := startRig(t, rigOptions{})
	c := r.open()
	r.clientStopsReading()
	if _, err := c.outside.Write(testkit.Pattern(20_000)); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it waits", func() bool { in, _ := c.Moved(); return in == 20_000 })
	if err := r.peer.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if m := testkit.Hears[*messages.MuxEnded](r.tunnel); m.Reason != messages.ReasonClientGone {
		t.Errorf("the Mux ended for %s", m.Reason)
	}
	r.mux.Finish(messages.ReasonClientGone)
	before := r.wantCloseCode(1000)
	if len(before) != 2 || before[0].kind != "mark" || !bytes.Equal(before[1].data, testkit.Pattern(20_000)) {
		t.Errorf("%d messages came before", len(before))
	}
	if n, err := r.peer.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("behind the close frame come %d bytes, %v", n, err)
	}
	r.wantAllClosed()
	c.Abort(messages.CloseShutdown)
}

// The client closes just when the server shuts down: whoever is first, the
// Mux ends, and nothing is read that is being written.
func TestFinishAndTheClientsCloseRace(t *testing.T) {
	for range 30 {
		r := startRig(t, rigOptions{})
		var both sync.WaitGroup
		both.Go(func() { r.mux.Finish(messages.ReasonShutdown) })
		both.Go(func() { _, _ = r.peer.Write(testkit.Frame(0x88, testkit.ClosePayload(4000, ""))) })
		both.Wait()
		r.wantCloseCode(1001)
		r.peer.Close()
		r.wantAllClosed()
	}
}

// Finish while the client sends without pause: the close arrives all the same
// (protocol, section 2).
func TestCloseArrivesWhileTheClientSends(t *testing.T) {
	r := startRig(t, rigOptions{})
	r.handles(func(any) {})
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		frame := testkit.Frame(0x82, dataMessage("c", testkit.Pattern(32<<10)))
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := r.peer.Write(frame); err != nil {
					return
				}
			}
		}
	}()
	testkit.Eventually(t, "the client is sending", func() bool { return r.mux.received.Load() > 1<<20 })
	r.mux.Finish(messages.ReasonShutdown)
	r.wantCloseCode(1001)
	close(stop)
	<-ended
	r.peer.Close()
	r.wantAllClosed()
}

// What the reader waits for does not keep the Mux from closing, and what the
// actors never handled is given back.
func TestFinishWhileTheReaderWaits(t *testing.T) {
	r := startRig(t, rigOptions{})
	flood := testkit.Frame(0x82, dataMessage("c", make([]byte, 64<<10)))
	go func() {
		for {
			if _, err := r.peer.Write(flood); err != nil {
				return
			}
		}
	}()
	testkit.Eventually(t, "the reader waits", func() bool { return r.mux.inbound.Held() >= inboundWindow })
	r.mux.Finish(messages.ReasonShutdown)
	r.wantCloseCode(1001)
	r.peer.Close()
	r.wantAllClosed() // and close looks at the budgets
}

// The port opens just when the Mux closes: it does not stay open.
func TestFinishAndListenRace(t *testing.T) {
	for range 30 {
		r := newRig(t, rigOptions{})
		var both sync.WaitGroup
		both.Go(func() { r.mux.Listen(0) })
		both.Go(func() { r.mux.Finish(messages.ReasonClientGone) })
		both.Wait()
		opened := false
		for _, m := range r.wantClosed() {
			if _, ok := m.(*messages.PortOpened); ok {
				opened = true
			}
		}
		for !opened {
			_, opened = testkit.Hears[any](r.tunnel).(*messages.PortOpened)
		}
		if listener := r.mux.listener.Load(); listener != nil {
			if conn, err := net.DialTCP("tcp4", nil, listener.Addr().(*net.TCPAddr)); err == nil {
				conn.Close()
				t.Fatal("the raw port is open after the Mux's end")
			}
		}
	}
}

// A raw connection that no actor has taken when the Mux closes: the outside
// peer is not left hanging.
func TestConnectionsThatNobodyTookEndWithTheMux(t *testing.T) {
	r := startRig(t, rigOptions{})
	outside := r.dial()
	testkit.Hears[*messages.Accepted](r.handler) // and lost: the handler ended just then
	r.mux.Finish(messages.ReasonClientGone)
	r.wantAllClosed()
	_ = outside.SetReadDeadline(time.Now().Add(2 * time.Second))
	if _, err := outside.Read(make([]byte, 1)); testkit.IsTimeout(err) {
		t.Error("the outside peer's connection is still open")
	} else if err == io.EOF {
		t.Log("it was ended in order")
	}
}
