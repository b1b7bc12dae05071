package tunnel

import (
	"bytes"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

// A pipeConn is a stream with a Pipe, of which the client knows, and the ear in the
// place of its conn actor.
type pipeConn struct {
	*outsideConn
	pipe *Pipe
}

func (r *rig) opensPipe(patience time.Duration) pipeConn {
	r.t.Helper()
	pipe, err := r.mux.OpenPipe("192.0.2.1:5", messages.ProtocolHTTP, patience)
	if err != nil {
		r.t.Fatal(err)
	}
	accepted := testkit.Hears[*messages.Accepted](r.handler)
	if accepted.Protocol != messages.ProtocolHTTP || accepted.Stream != pipe.s || accepted.Count.IsValid() {
		r.t.Fatalf("the handler is told %+v", accepted)
	}
	c := pipeConn{&outsideConn{Stream: pipe.s, ear: testkit.NewEar(r.t, r.system)}, pipe}
	r.t.Cleanup(func() { pipe.Close(messages.CloseShutdown) })
	c.Own(c.ear.PID)
	c.Open()
	if m := r.clientReads(); m.kind != "tcp_open" || m.id != c.ID() || m.fields["remoteAddr"] != "192.0.2.1:5" || m.fields["protocol"] != "http/1.1" {
		r.t.Fatalf("the client is told %+v", m)
	}
	return c
}

// comes has bytes come from the client, as its actors pass them on.
func (c pipeConn) comes(text string) {
	b := []byte(text)
	c.Hold(b)
	c.Write(b)
}

// wantNext reads what has come, and passes it on.
func (c pipeConn) wantNext(t *testing.T, want string) {
	t.Helper()
	got := ""
	for len(got) < len(want) {
		chunk, err := c.pipe.Next(nil)
		if err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
		got += string(chunk)
		c.pipe.Passed(chunk)
	}
	if got != want {
		t.Errorf("%q comes, not %q", got, want)
	}
}

func (c pipeConn) wantEnd(t *testing.T, want messages.CloseReason) {
	t.Helper()
	_, err := c.pipe.Next(nil)
	var end *messages.EndError
	if !errors.As(err, &end) || end.Reason != want {
		t.Errorf("it ends with %v, not because of %q", err, want)
	}
}

func TestPipeCarriesBytes(t *testing.T) {
	const size = messages.Window // what needs no credit
	inEveryWay(t, func(t *testing.T, r *rig) {
		c := r.opensPipe(testkit.Patience)
		r.passesOn(c.outsideConn)
		go func() {
			if _, err := c.pipe.Write(testkit.Pattern(size)); err != nil {
				t.Error(err)
			}
		}()
		go r.clientSends(websocket.BinaryMessage, dataMessage(c.ID(), testkit.Pattern(size)))
		if got := r.readData(c.outsideConn, size); !bytes.Equal(got, testkit.Pattern(size)) {
			t.Error("the client reads other bytes than were written")
		}
		c.wantNext(t, string(testkit.Pattern(size)))
		if in, out := c.Moved(); in != size || out != size {
			t.Errorf("%d bytes came in, %d went out", in, out)
		}
		sum := 0
		for sum <= size-passedWorth {
			m := testkit.Hears[*messages.Flushed](c.ear)
			if sum += m.N; m.N < passedWorth {
				t.Errorf("the conn hears of %d bytes by themselves", m.N)
			}
		}
		if c.Held() != 0 {
			t.Errorf("%d bytes are held", c.Held())
		}
		c.pipe.Close(messages.CloseEOF)
		if m := r.clientReads(); m.kind != "tcp_close" || m.fields["reason"] != "eof" {
			t.Errorf("the client is told %+v", m)
		}
		testkit.Hears[*messages.StreamClosed](c.ear)
	})
}

// A writer sends no more than the client has credit for, and gives up when none comes.
func TestPipeNeedsCredit(t *testing.T) {
	r := startRig(t, rigOptions{credit: true})
	c := r.opensPipe(50 * time.Millisecond)
	read := make(chan int)
	go func() { read <- len(r.readData(c.outsideConn, messages.Window)) }()
	n, err := c.pipe.Write(make([]byte, messages.Window))
	if n != messages.Window || err != nil {
		t.Fatalf("%d bytes are written, %v", n, err)
	}
	testkit.Receive(t, read)
	if n, err := c.pipe.Write([]byte("more")); n != 0 || !errors.Is(err, messages.ErrStalled) {
		t.Fatalf("%d bytes are written, %v", n, err)
	}
	c.Credit(5)
	room, err := c.pipe.Room(5)
	if err != nil || len(room) != 5 {
		t.Fatalf("with credit for 5 bytes there is room for %d, %v", len(room), err)
	}
	copy(room, "abcde")
	c.pipe.Send(1, 4)
	if got := r.readData(c.outsideConn, 3); string(got) != "bcd" {
		t.Errorf("the client reads %q", got)
	}
	if room, err := c.pipe.Room(2); err != nil || len(room) != 2 {
		t.Errorf("what was not sent is lost: %d, %v", len(room), err)
	}
	c.pipe.Send(0, 0)
	if _, err := c.pipe.Room(3); !errors.Is(err, messages.ErrStalled) {
		t.Errorf("there is room for more: %v", err)
	}
}

// A client that does not read holds a writer back, which gives up.
func TestPipeToAClientThatReadsNothing(t *testing.T) {
	r := startRig(t, rigOptions{})
	c := r.opensPipe(50 * time.Millisecond)
	r.clientStopsReading()
	if n, err := c.pipe.Write(make([]byte, 1<<20)); n == 1<<20 || !errors.Is(err, messages.ErrStalled) {
		t.Errorf("%d bytes are written, %v", n, err)
	}
	c.pipe.Close(messages.CloseReset) // what waits is dropped, or the Mux's end would wait for it
	for m := r.clientReads(); m.kind != "mark"; m = r.clientReads() {
	}
}

// Of what was given up nothing waits for a client that does not read: anyone can ask, and
// go, again and again. It never hears of what began and ended meanwhile.
func TestPipesThatAreGivenUpHoldNothing(t *testing.T) {
	r := startRig(t, rigOptions{credit: true})
	known := r.opensPipe(testkit.Patience)
	r.clientStopsReading()
	if _, err := known.pipe.Write([]byte("head")); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		pipe, err := r.mux.OpenPipe("192.0.2.1:5", messages.ProtocolHTTP, testkit.Patience)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pipe.Write([]byte("head")); err != nil {
			t.Fatal(err)
		}
		pipe.Close(messages.CloseReset)
	}
	known.pipe.Close(messages.CloseReset)
	if held := r.mux.memory.Held(); held != 0 {
		t.Errorf("%d bytes are held", held)
	}
	for m := r.clientReads(); m.kind != "mark"; m = r.clientReads() {
	}
	if m := r.clientReads(); m.kind != "tcp_close" || m.id != known.ID() || m.fields["reason"] != "reset" {
		t.Errorf("the client is told %+v", m)
	}
	testkit.Hears[*messages.StreamClosed](known.ear)
	r.mux.Control([]byte(`{"type":"last"}`))
	if m := r.clientReads(); m.kind != "last" {
		t.Errorf("the client is told %+v", m)
	}
}

// What has come before the client's end is read, and then the end, which says
// whether it was an orderly one.
func TestPipeEnds(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(pipeConn)
		eof  bool
		why  messages.CloseReason
		lost bool // what has come before
	}{
		"closed by the client":    {func(c pipeConn) { c.EndRead(); c.EndWrite() }, true, "", false},
		"half closed":             {func(c pipeConn) { c.CloseWrite() }, true, "", false},
		"reset by the client":     {func(c pipeConn) { c.EndRead(); c.Abort(messages.CloseClientReset) }, false, messages.CloseClientReset, false},
		"refused":                 {func(c pipeConn) { c.EndRead(); c.Abort(messages.CloseRefused) }, false, messages.CloseRefused, false},
		"the tunnel has ended":    {func(c pipeConn) { c.Leave(); c.EndWrite() }, false, messages.CloseTunnelEnded, false},
		"closed, then left":       {func(c pipeConn) { c.EndWrite(); c.Leave() }, true, "", false},
		"the handler has failed":  {func(c pipeConn) { c.Abort(messages.CloseRestart) }, false, messages.CloseRestart, true},
		"it gave way":             {func(c pipeConn) { c.Abort(messages.CloseSlow) }, false, messages.CloseSlow, true},
		"closed by another":       {func(c pipeConn) { c.pipe.Close(messages.CloseReset) }, false, messages.CloseReset, true},
		"reset, then closed here": {func(c pipeConn) { c.Abort(messages.CloseClientReset); c.pipe.Close(messages.CloseReset) }, false, messages.CloseClientReset, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := startRig(t, rigOptions{credit: true})
			p := r.opensPipe(testkit.Patience)
			p.comes("the last")
			c.end(p)
			if !c.lost {
				p.wantNext(t, "the last")
			}
			if _, err := p.pipe.Next(nil); c.eof != (err == io.EOF) {
				t.Errorf("it ends with %v", err)
			}
			if !c.eof {
				p.wantEnd(t, c.why)
				if _, err := p.pipe.Room(1); err == nil || errors.Is(err, messages.ErrStalled) {
					t.Errorf("there is room all the same: %v", err)
				}
			}
			p.pipe.Close(messages.CloseEOF)
			testkit.Hears[*messages.StreamClosed](p.ear)
			if p.Held() != 0 {
				t.Errorf("%d bytes are held", p.Held())
			}
		})
	}
}

// Nor is what the reader has yet to return: a slow one would hold it for as long as it
// likes, and no budget would know.
func TestPipeThatIsOverHoldsNothing(t *testing.T) {
	r := startRig(t, rigOptions{credit: true})
	c := r.opensPipe(testkit.Patience)
	for range 3 {
		c.comes(string(make([]byte, 32<<10)))
	}
	chunk, err := c.pipe.Next(nil)
	if err != nil {
		t.Fatal(err)
	}
	c.Abort(messages.CloseLimit)
	c.pipe.Passed(chunk)
	c.wantEnd(t, messages.CloseLimit)
}

func TestPipeReaderStops(t *testing.T) {
	r := startRig(t, rigOptions{})
	c := r.opensPipe(testkit.Patience)
	stop := make(chan struct{})
	go close(stop)
	if _, err := c.pipe.Next(stop); !errors.Is(err, messages.ErrStopped) {
		t.Errorf("%v", err)
	}
	if !c.pipe.Waits() {
		t.Error("something has come")
	}
	c.comes("x")
	if c.pipe.Waits() {
		t.Error("what has come is not seen")
	}
}

// Whatever happens to a Pipe that nobody uses is told, once, and then it is of no use.
func TestIdlePipes(t *testing.T) {
	for name, happens := range map[string]func(pipeConn){
		"bytes come":           func(c pipeConn) { c.comes("x") },
		"the client closes it": func(c pipeConn) { c.EndRead(); c.EndWrite() },
		"the client resets it": func(c pipeConn) { c.Abort(messages.CloseClientReset) },
		"the tunnel ends":      func(c pipeConn) { c.Leave() },
		"it is aborted":        func(c pipeConn) { c.Abort(messages.CloseRestart) },
	} {
		t.Run(name, func(t *testing.T) {
			r := startRig(t, rigOptions{credit: true})
			c := r.opensPipe(testkit.Patience)
			var told atomic.Int32
			note := func() { told.Add(1) }
			if !c.pipe.Idle(note) || !c.pipe.Use() || told.Load() != 0 {
				t.Fatal("it is of no use at once")
			}
			if c.pipe.Use() {
				t.Error("it is used twice")
			}
			if !c.pipe.Idle(note) {
				t.Fatal("it can't be idle again")
			}
			happens(c)
			if told.Load() != 1 {
				t.Errorf("it is told %d times", told.Load())
			}
			happens(c)
			if told.Load() != 1 || c.pipe.Use() || c.pipe.Idle(note) {
				t.Error("it is taken to be of use")
			}
			c.pipe.Close(messages.CloseEOF)
			testkit.Hears[*messages.StreamClosed](c.ear)
		})
	}
}

// A Pipe that is joined to a connection becomes a stream like any other: nothing is
// lost on the way, and credit goes on from where it was.
func TestPipeIsJoined(t *testing.T) {
	r := startRig(t, rigOptions{credit: true})
	c := r.opensPipe(testkit.Patience)
	if _, err := c.pipe.Write([]byte("head")); err != nil {
		t.Fatal(err)
	}
	r.readData(c.outsideConn, 4)
	c.comes("answer")
	c.wantNext(t, "answer")
	c.comes("early ")
	outside, conn := testkit.TCPPair(t)
	ended := make(chan struct{})
	if s := c.pipe.Join(conn, func() { close(ended) }); s != c.Stream {
		t.Fatal("it is not joined")
	}
	if m := testkit.Hears[*messages.Flushed](c.ear); m.N != 6 {
		t.Errorf("the conn hears of %d bytes", m.N)
	}
	testkit.Hears[*messages.StreamJoined](c.ear)
	before := c.LastMoved()
	c.comes("words")
	got := make([]byte, len("early words"))
	if _, err := io.ReadFull(outside, got); err != nil || string(got) != "early words" {
		t.Errorf("outside comes %q, %v", got, err)
	}
	go func() { _, _ = outside.Write(testkit.Pattern(messages.Window)) }()
	r.readData(c.outsideConn, messages.Window-4) // the head has used the rest up
	c.Credit(4)
	r.readData(c.outsideConn, 4)
	if !c.LastMoved().After(before) {
		t.Error("nothing is noted to have moved")
	}
	_ = outside.CloseWrite()
	if m := r.clientReads(); m.kind != "tcp_close" || m.fields["reason"] != "eof" {
		t.Errorf("the client is told %+v", m)
	}
	c.comes(" and the end")
	c.EndWrite()
	if rest, err := io.ReadAll(outside); err != nil || string(rest) != " and the end" {
		t.Errorf("outside comes %q, %v", rest, err)
	}
	outside.Close()
	testkit.Receive(t, ended)
}

func TestPipeThatIsOverIsNotJoined(t *testing.T) {
	for name, end := range map[string]func(pipeConn){
		"over": func(c pipeConn) { c.pipe.Close(messages.CloseReset) },
		"left": func(c pipeConn) { c.Leave() },
	} {
		t.Run(name, func(t *testing.T) {
			r := startRig(t, rigOptions{credit: true})
			c := r.opensPipe(testkit.Patience)
			end(c)
			_, conn := testkit.TCPPair(t)
			if c.pipe.Join(conn, func() { t.Error("it has ended") }) != nil {
				t.Error("it is joined")
			}
		})
	}
}

// A Pipe that no actor has ends with its Mux, and there is none before that starts or
// after its end.
func TestPipesNeedAMux(t *testing.T) {
	r := newRig(t, rigOptions{credit: true})
	if _, err := r.mux.OpenPipe("192.0.2.1:5", "x", time.Second); !errors.Is(err, net.ErrClosed) {
		t.Errorf("before the start: %v", err)
	}
	r = startRig(t, rigOptions{credit: true})
	pipe, err := r.mux.OpenPipe("192.0.2.1:5", "x", time.Second)
	if err != nil {
		t.Fatal(err)
	}
	r.mux.Finish(messages.ReasonClientGone)
	var end *messages.EndError
	if _, err := pipe.Next(nil); !errors.As(err, &end) {
		t.Errorf("its reader is told %v", err)
	}
	if _, err := r.mux.OpenPipe("192.0.2.1:5", "x", time.Second); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}
