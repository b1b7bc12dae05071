package tunnel

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"wsproxy/messages"
)

// wantAllClosed waits for the link's end and makes sure that nothing of it is
// left, and that it is told once.
func (r *tunnelRig) wantAllClosed() {
	r.t.Helper()
	r.wantClosed()
	r.link.Finish(messages.ReasonInternal)
	if listener := r.link.listener.Load(); listener != nil {
		if conn, err := net.DialTCP("tcp4", nil, listener.Addr().(*net.TCPAddr)); err == nil {
			conn.Close()
			r.t.Error("the raw port is still open")
		}
	}
	if r.link.client != nil {
		if err := r.link.client.conn.SetDeadline(time.Now()); err == nil {
			r.t.Error("the client's socket is still open")
		}
	}
	for _, m := range r.tunnel.take() {
		if _, again := m.(*messages.MuxClosed); again {
			r.t.Error("the end is told twice")
		}
	}
}

func TestTunnelFinishBeforeTheClientCame(t *testing.T) {
	r := newBareTunnelRig(t, dialectText, false, nil)
	r.link.Finish(messages.ReasonAbandoned)
	r.link.Finish(messages.ReasonAbandoned)
	r.wantAllClosed()
	_, far := tcpPair(t)
	client, err := newSocket(far)
	if err != nil {
		t.Fatal(err)
	}
	if r.link.attach(client) {
		t.Error("a link that is finished takes a client")
	}
}

func TestTunnelFinishBeforeItStarts(t *testing.T) {
	r := newTunnelRig(t, dialectText, false, nil)
	r.link.Listen(0)
	hears[*messages.PortOpened](r.tunnel)
	r.link.Finish(messages.ReasonInternal)
	r.wantCloseCode(1011)
	r.wantAllClosed()
}

// Everything that waits goes out first, control and data, then the close.
func TestTunnelFinishFlushesWhatWaits(t *testing.T) {
	r := startedTunnelRig(t, false, nil)
	c := r.open()
	for i := range 200 {
		r.link.Control(fmt.Appendf(nil, `{"type":"m","n":%d,"x":%q}`, i, strings.Repeat("y", 20<<10)))
	}
	c.Abort(messages.CloseShutdown)
	r.link.Finish(messages.ReasonShutdown)
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
func TestTunnelFinishEndsWhenTheClientVanishes(t *testing.T) {
	r := startedTunnelRig(t, false, nil)
	for range 500 {
		r.link.Control([]byte(`{"type":"` + strings.Repeat("m", 64<<10) + `"}`))
	}
	r.link.Finish(messages.ReasonShutdown)
	_ = r.peer.SetLinger(0)
	r.peer.Close()
	r.wantAllClosed()
}

// The same for a client that was given up: it is not waited for at all.
func TestTunnelFinishDoesNotWaitForAStalledClient(t *testing.T) {
	r := startedTunnelRig(t, false, nil)
	for range 500 {
		r.link.Control([]byte(`{"type":"` + strings.Repeat("m", 64<<10) + `"}`))
	}
	eventually(t, "the writer waits", func() bool { return r.link.client.writing.Load() })
	begun := time.Now()
	r.link.Finish(messages.ReasonClientStalled)
	r.wantAllClosed()
	if took := time.Since(begun); took > messages.Linger/2 {
		t.Errorf("it took %s", took)
	}
}

// A client that is gone while nothing is to be written: the writer, which waits
// for frames, must be woken. This hung once.
func TestClientGoneWhileTheWriterIsIdle(t *testing.T) {
	for range 20 {
		r := startedTunnelRig(t, false, nil)
		r.peer.Close()
		if m := hears[*messages.MuxEnded](r.tunnel); m.Reason != messages.ReasonClientGone {
			t.Errorf("the link ended for %s", m.Reason)
		}
		r.link.Finish(messages.ReasonClientGone)
		r.wantAllClosed()
	}
}

func TestTunnelAnswersTheClientsClose(t *testing.T) {
	r := startedTunnelRig(t, false, nil)
	if _, err := r.peer.Write(wsFrame(0x88, closePayload(4000, "bye"))); err != nil {
		t.Fatal(err)
	}
	if m := hears[*messages.MuxEnded](r.tunnel); m.Reason != messages.ReasonClientClosed {
		t.Errorf("the link ended for %s", m.Reason)
	}
	r.link.Finish(messages.ReasonClientClosed)
	r.wantCloseCode(4000)
	r.peer.Close()
	r.wantAllClosed()
}

// The client closes just when the server shuts down: whoever is first, the
// link ends, and nothing is read that is being written.
func TestTunnelFinishAndTheClientsCloseRace(t *testing.T) {
	for range 30 {
		r := startedTunnelRig(t, false, nil)
		var both sync.WaitGroup
		both.Go(func() { r.link.Finish(messages.ReasonShutdown) })
		both.Go(func() { _, _ = r.peer.Write(wsFrame(0x88, closePayload(4000, ""))) })
		both.Wait()
		r.wantCloseCode(1001)
		r.peer.Close()
		r.wantAllClosed()
	}
}

// Finish while the client sends without pause: the close arrives all the same
// (protocol, section 2).
func TestTunnelCloseArrivesWhileTheClientSends(t *testing.T) {
	r := startedTunnelRig(t, false, nil)
	r.handles(func(any) {})
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		frame := wsFrame(0x82, tunnelData("c", pattern(32<<10)))
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
	eventually(t, "the client is sending", func() bool { return r.link.received.Load() > 1<<20 })
	r.link.Finish(messages.ReasonShutdown)
	r.wantCloseCode(1001)
	close(stop)
	<-ended
	r.peer.Close()
	r.wantAllClosed()
}

// What the reader waits for does not keep the link from closing, and what the
// actors never handled is given back.
func TestTunnelFinishWhileTheReaderWaits(t *testing.T) {
	r := startedTunnelRig(t, false, nil)
	flood := wsFrame(0x82, tunnelData("c", make([]byte, 64<<10)))
	go func() {
		for {
			if _, err := r.peer.Write(flood); err != nil {
				return
			}
		}
	}()
	eventually(t, "the reader waits", func() bool { return r.link.inbound.held.Load() >= inboundWindow })
	r.link.Finish(messages.ReasonShutdown)
	r.wantCloseCode(1001)
	r.peer.Close()
	r.wantAllClosed() // and close looks at the budgets
}

// The port opens just when the link closes: it does not stay open.
func TestTunnelFinishAndListenRace(t *testing.T) {
	for range 30 {
		r := newTunnelRig(t, dialectText, false, nil)
		var both sync.WaitGroup
		both.Go(func() { r.link.Listen(0) })
		both.Go(func() { r.link.Finish(messages.ReasonClientGone) })
		both.Wait()
		opened := false
		for _, m := range r.wantClosed() {
			if _, ok := m.(*messages.PortOpened); ok {
				opened = true
			}
		}
		for !opened {
			_, opened = hears[any](r.tunnel).(*messages.PortOpened)
		}
		if listener := r.link.listener.Load(); listener != nil {
			if conn, err := net.DialTCP("tcp4", nil, listener.Addr().(*net.TCPAddr)); err == nil {
				conn.Close()
				t.Fatal("the raw port is open after the link's end")
			}
		}
	}
}

// A raw connection that no actor has taken when the link closes: the outside
// peer is not left hanging.
func TestConnectionsThatNobodyTookEndWithTheLink(t *testing.T) {
	r := startedTunnelRig(t, false, nil)
	outside := r.dial()
	hears[*messages.Accepted](r.handler) // and lost: the handler ended just then
	r.link.Finish(messages.ReasonClientGone)
	r.wantAllClosed()
	_ = outside.SetReadDeadline(time.Now().Add(2 * time.Second))
	if _, err := outside.Read(make([]byte, 1)); isTimeout(err) {
		t.Error("the outside peer's connection is still open")
	} else if err == io.EOF {
		t.Log("it was ended in order")
	}
}
