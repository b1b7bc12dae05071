package tunnel

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

// A rawPipe is a stream whose outer end is a Pipe of the test's.
type rawPipe struct {
	*outsideConn
	pipe *Pipe
}

// pipes opens a stream of this process's own without a protocol, of which the handler
// knows.
func (r *rig) pipes() rawPipe {
	r.t.Helper()
	pipe, err := r.mux.OpenPipe("192.0.2.1:0", "", testkit.Patience)
	if err != nil {
		r.t.Fatal(err)
	}
	m := testkit.Hears[*messages.Accepted](r.handler)
	s := m.Stream.(*Stream)
	if s != pipe.Stream() || m.Protocol != "" {
		r.t.Fatalf("the handler is given %+v", m)
	}
	c := rawPipe{&outsideConn{Stream: s, ear: testkit.NewEar(r.t, r.system)}, pipe}
	r.t.Cleanup(func() { s.Abort(messages.CloseShutdown) })
	s.Own(c.ear.PID)
	return c
}

// opens is what the conn does when it has its slot; then the client knows.
func (r *rig) opens(c rawPipe) {
	r.t.Helper()
	c.Open()
	if m := r.clientReads(); m.kind != "tcp_open" || m.id != c.ID() || m.fields["remoteAddr"] != "192.0.2.1:0" || m.fields["protocol"] != nil {
		r.t.Fatalf("the client is told %+v", m)
	}
}

// reads reads what the client sends up to its end.
func (c rawPipe) reads() (all []byte, err error) {
	for {
		chunk, err := c.pipe.Next(nil)
		if err != nil {
			return all, err
		}
		all = append(all, chunk...)
		c.pipe.Passed(chunk)
	}
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

// A stream from within carries bytes both ways at once, as one from outside does, and
// the client's end. Nothing goes before the client knows of it.
func TestRawPipeCarriesBytes(t *testing.T) {
	const size = messages.Window // of both directions: what needs no credit
	inEveryWay(t, func(t *testing.T, r *rig) {
		c := r.pipes()
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := c.pipe.Write(testkit.Pattern(size)); err != nil {
				t.Error(err)
			}
		})
		r.mux.Control([]byte(`{"type":"mark"}`))
		if m := r.clientReads(); m.kind != "mark" {
			t.Errorf("the client is told %+v", m)
		}
		r.opens(c)
		r.passesOn(c.outsideConn)
		all.Go(func() {
			if got, err := c.reads(); err != io.EOF || !bytes.Equal(got, testkit.Pattern(size)) {
				t.Errorf("what the client sends is not read: %d bytes, %v", len(got), err)
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
		testkit.Eventually(t, "nothing waits any more", func() bool { waiting, taken := c.Waiting(); return waiting == 0 && taken == size })
		c.EndWrite()
		all.Wait()
		c.pipe.Close(messages.CloseEOF)
		r.wantStreamClosed(c.outsideConn, messages.CloseEOF)
	})
}

// What a dialect asks for a stream holds for a Pipe: it waits for the client, and
// pauses; and the dialect hears of the end.
func TestRawPipeKeepsToTheDialect(t *testing.T) {
	r, d := startFake(t, false)
	c := r.pipes()
	wrote := make(chan error, 1)
	go func() {
		_, err := c.pipe.Write([]byte("hello"))
		wrote <- err
	}()
	r.opens(c)
	if m := r.clientReads(); m.kind != "special" || m.id != c.ID() {
		t.Fatalf("behind tcp_open comes %+v", m)
	}
	r.mux.Control([]byte(`{"type":"mark"}`))
	if m := r.clientReads(); m.kind != "mark" {
		t.Fatalf("the client reads %+v", m)
	}
	const pause = 30 * time.Millisecond
	d.note(func() { d.pause = pause })
	d.lets(c.outsideConn)
	if m := r.clientReads(); string(m.data) != "hello" {
		t.Errorf("the client reads %+v", m)
	}
	if err := testkit.Receive(t, wrote); err != nil {
		t.Error(err)
	}
	begun := time.Now()
	if _, err := c.pipe.Write([]byte("again")); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took < pause {
		t.Errorf("the second frame is sent after %s", took)
	}
	c.pipe.Close(messages.CloseEOF)
	d.note(func() {
		if len(d.ended) != 1 || len(d.paused) != 2 {
			t.Errorf("the dialect heard of the ends of %q, and of frames of %d", d.ended, d.paused)
		}
	})
}

// An abort is an end that is none of the client's, before the client knows of the
// stream and later.
func TestRawPipeIsAborted(t *testing.T) {
	for _, opened := range []bool{true, false} {
		r := startRig(t, rigOptions{})
		c := r.pipes()
		if opened {
			r.opens(c)
			c.Abort(messages.CloseRestart)
			if m := r.clientReads(); m.kind != "tcp_close" || m.fields["reason"] != "restart" {
				t.Errorf("the client is told %+v", m)
			}
		} else {
			c.Reject()
			r.mux.Control([]byte(`{"type":"mark"}`))
			if m := r.clientReads(); m.kind != "mark" {
				t.Errorf("the client is told %+v", m)
			}
		}
		var end *messages.EndError
		if _, err := c.pipe.Next(nil); !errors.As(err, &end) {
			t.Errorf("it reads on: %v", err)
		}
		if _, err := c.pipe.Room(1); !errors.As(err, &end) {
			t.Errorf("it writes on: %v", err)
		}
	}
}

// What this process carries over a stream of its own must not be taken for whole
// when the tunnel ends, unless the client has said so.
func TestLeaveEndsARawPipe(t *testing.T) {
	inEveryWay(t, func(t *testing.T, r *rig) {
		c := r.pipes()
		r.opens(c)
		c.Leave()
		var end *messages.EndError
		if got, err := c.reads(); len(got) > 0 || !errors.As(err, &end) || end.Reason != messages.CloseTunnelEnded {
			t.Errorf("it reads %q, %v", got, err)
		}
		c.pipe.Close(messages.CloseReset)
		r.wantStreamClosed(c.outsideConn, messages.CloseTunnelEnded)
	})
	for name, end := range map[string]func(*Stream){"closed": (*Stream).EndWrite, "closed its side": (*Stream).CloseWrite} {
		r := startRig(t, rigOptions{})
		c := r.pipes()
		r.opens(c)
		c.holds(5)
		c.Write(exactly("hello"))
		end(c.Stream)
		c.Leave()
		c.EndWrite()
		if got, err := c.reads(); string(got) != "hello" || err != io.EOF {
			t.Errorf("the client has %s: it reads %q, %v", name, got, err)
		}
		c.pipe.Close(messages.CloseEOF)
	}
}

// Who uses a Pipe can be told to stop, and take it up again.
func TestRawPipeIsInterrupted(t *testing.T) {
	r := startRig(t, rigOptions{})
	c := r.pipes() // of which the client does not know yet
	stop := make(chan struct{})
	c.pipe.Interrupt(stop)
	results := make(chan error, 2)
	go func() {
		_, err := c.pipe.Next(nil)
		results <- err
	}()
	go func() {
		_, err := c.pipe.Room(1)
		results <- err
	}()
	close(stop)
	for range 2 {
		if err := testkit.Receive(t, results); !errors.Is(err, messages.ErrStopped) {
			t.Errorf("it ends with %v", err)
		}
	}
	r.opens(c)
	if _, err := c.pipe.Write([]byte("x")); !errors.Is(err, messages.ErrStopped) { // though there is room
		t.Errorf("it writes on: %v", err)
	}
	if c.pipe.Quiet(testkit.Patience, nil) {
		t.Error("it is quiet, though it was stopped")
	}
	c.pipe.Interrupt(nil)
	if _, err := c.pipe.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	r.readData(c.outsideConn, 1)
}

// A Pipe is quiet while nothing comes, neither bytes nor an end, nor the word to stop.
func TestRawPipeIsQuiet(t *testing.T) {
	r := startRig(t, rigOptions{})
	c := r.pipes()
	r.opens(c)
	if !c.pipe.Quiet(time.Millisecond, nil) {
		t.Error("something has come")
	}
	stop := make(chan struct{})
	close(stop)
	if c.pipe.Quiet(testkit.Patience, stop) {
		t.Error("it waits though nobody wants it to")
	}
	quiet := make(chan bool, 1)
	waits := func() { quiet <- c.pipe.Quiet(testkit.Patience, nil) }
	go waits()
	c.holds(5)
	c.Write(exactly("hello"))
	if testkit.Receive(t, quiet) {
		t.Error("it is quiet when bytes come")
	}
	if chunk, err := c.pipe.Next(nil); string(chunk) != "hello" || err != nil {
		t.Errorf("it reads %q, %v", chunk, err)
	} else {
		c.pipe.Passed(chunk)
	}
	go waits()
	c.EndWrite()
	if testkit.Receive(t, quiet) {
		t.Error("it is quiet when the end comes")
	}
	c.pipe.Close(messages.CloseEOF)
}

// The end of the Mux is that of a Pipe that nobody has taken.
func TestRawPipeEndsWithTheMux(t *testing.T) {
	r := startRig(t, rigOptions{})
	pipe, err := r.mux.OpenPipe("192.0.2.1:0", "", testkit.Patience)
	if err != nil {
		t.Fatal(err)
	}
	r.mux.Finish(messages.ReasonClientGone)
	testkit.Receive(t, pipe.Stream().Done())
	r.wantAllClosed()
	if _, err := r.mux.OpenPipe("192.0.2.1:0", "", testkit.Patience); !errors.Is(err, net.ErrClosed) {
		t.Errorf("another one: %v", err)
	}
}
