package tunnel

import (
	"bytes"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

// passesOn does for a stream what its actors do with what the client sends.
func (r *rig) passesOn(c *outsideConn) {
	r.handles(func(m any) {
		if data, ok := m.(*messages.Data); ok && data.ConnID == c.ID() {
			c.Hold(data.Data)
			c.Write(data.Data)
		}
	})
}

// readData reads n bytes of data of one connection.
func (r *rig) readData(c *outsideConn, n int) (all []byte) {
	r.t.Helper()
	for len(all) < n {
		m := r.clientReads()
		if m.kind != "data" || m.id != c.ID() {
			r.t.Fatalf("after %d of %d bytes comes %s of %q", len(all), n, m.kind, m.id)
		}
		if len(m.data) > 32<<10 || len(m.data) == 0 {
			r.t.Fatalf("a payload has %d bytes", len(m.data))
		}
		all = append(all, m.data...)
	}
	return all
}

func TestRawBytesPassBothWaysAtOnce(t *testing.T) {
	const size = 3 << 20
	r := startRig(t, rigOptions{})
	c := r.open()
	r.passesOn(c)
	var all sync.WaitGroup
	all.Go(func() {
		if _, err := c.outside.Write(testkit.Pattern(size)); err != nil {
			t.Error(err)
		}
	})
	all.Go(func() {
		for rest := testkit.Pattern(size); len(rest) > 0; {
			n := min(len(rest), 50_000)
			if err := r.client.WriteMessage(websocket.BinaryMessage, dataMessage(c.ID(), rest[:n])); err != nil {
				t.Error(err)
			}
			rest = rest[n:]
		}
	})
	all.Go(func() {
		got := make([]byte, size)
		if _, err := io.ReadFull(c.outside, got); err != nil || !bytes.Equal(got, testkit.Pattern(size)) {
			t.Errorf("the outside peer does not read what was sent: %v", err)
		}
	})
	if got := r.readData(c, size); !bytes.Equal(got, testkit.Pattern(size)) {
		t.Error("the client does not read what was sent")
	}
	all.Wait()
	testkit.Eventually(t, "nothing waits any more", func() bool {
		waiting, acked := c.Waiting()
		return waiting == 0 && acked >= size
	})
	if in, out := c.Moved(); in != size || out != size {
		t.Errorf("%d bytes in and %d out are counted", in, out)
	}
}

// With flow=credit no byte goes to the client that it has not allowed, and every
// one that it has.
func TestCreditIsTheLimitOfWhatTheClientGets(t *testing.T) {
	r := startRig(t, rigOptions{credit: true})
	c := r.open()
	go func() { _, _ = c.outside.Write(make([]byte, 5*messages.MaxWindow)) }()
	want := 0
	allow := func(n int) {
		t.Helper()
		want += n
		r.readData(c, n)
		if in, _ := c.Moved(); in != int64(want) {
			t.Fatalf("%d bytes were read from the peer, %d were allowed", in, want)
		}
	}
	allow(messages.Window)
	for _, n := range []int{1, 7, 40_000, messages.Window} {
		c.Credit(n)
		allow(n)
	}
	c.Credit(5) // as the conn would: one by one, and seen together or not
	c.Credit(6)
	allow(11)
	c.Credit(1 << 40)
	allow(messages.MaxWindow) // no client is allowed more
	c.Credit(messages.MaxWindow)
	c.Credit(messages.MaxWindow)
	c.Credit(messages.MaxWindow)
	in, _ := c.Moved()
	r.readData(c, messages.MaxWindow)
	if now, _ := c.Moved(); now-in > 3*messages.MaxWindow {
		t.Errorf("%d bytes were read", now-in)
	}
	c.Abort(messages.CloseShutdown)
}

// A client widens its window by giving more than it has read: so much is on its
// way then, while the first window could not be.
func TestCreditWidensTheWindow(t *testing.T) {
	r := startRig(t, rigOptions{credit: true})
	c := r.open()
	go func() { _, _ = c.outside.Write(make([]byte, 2*messages.MaxWindow)) }()
	for _, more := range []int{messages.MaxWindow / 2, messages.MaxWindow/2 - messages.Window} {
		c.Credit(more) // the client has read nothing yet
	}
	r.readData(c, messages.MaxWindow)
	<-time.After(2 * creditLook)
	if in, _ := c.Moved(); in != messages.MaxWindow {
		t.Errorf("%d bytes were read from the peer, %d were allowed", in, messages.MaxWindow)
	}
	c.Abort(messages.CloseShutdown)
}

// Its end comes after its bytes, and what the client still sends is delivered
// until the client has closed too.
func TestHalfClosedConnectionDeliversOn(t *testing.T) {
	r := startRig(t, rigOptions{})
	c := r.open()
	r.passesOn(c)
	if _, err := c.outside.Write(testkit.Pattern(200 << 10)); err != nil {
		t.Fatal(err)
	}
	_ = c.outside.CloseWrite()
	r.readData(c, 200<<10)
	if m := r.clientReads(); m.kind != "tcp_close" || m.id != c.ID() || m.fields["reason"] != "eof" {
		t.Fatalf("the client is told %+v", m)
	}
	if m := testkit.Hears[*messages.OutsideEnded](c.ear); m.Reason != messages.CloseEOF {
		t.Errorf("the conn is told %s", m.Reason)
	}
	r.clientSends(websocket.BinaryMessage, dataMessage(c.ID(), testkit.Pattern(100<<10)))
	testkit.Eventually(t, "it is on its way", func() bool { _, received := r.mux.Moved(); return received > 100<<10 })
	testkit.Hears[*messages.Flushed](c.ear)
	testkit.Eventually(t, "it is written", func() bool { _, out := c.Moved(); return out == 100<<10 })
	c.EndWrite()
	if got, err := io.ReadAll(c.outside); err != nil || !bytes.Equal(got, testkit.Pattern(100<<10)) {
		t.Errorf("the peer reads %d bytes, %v", len(got), err)
	}
	r.wantStreamClosed(c, "")
}

// What waits for an outside peer counts against the tunnel beyond its share, and
// no longer than it waits.
func TestSharesAndTheTunnelsBudget(t *testing.T) {
	r := startWith(t, func(s *Settings) { s.Buffer = 3 << 20 })
	a, b := r.open(), r.open()
	check := func(when string, beyond, all int64, full bool) {
		t.Helper()
		if held, memory := r.mux.buffer.Held(), r.settings.Memory.Held(); held != beyond || memory != all || r.mux.Full() != full {
			t.Errorf("%s: %d bytes are held beyond the shares, %d in all, and it is full: %t", when, held, memory, r.mux.Full())
		}
	}
	a.holds(messages.ConnShare)
	b.holds(messages.ConnShare)
	check("both within their shares", 0, 2<<20, false)
	if n := a.holds(1 << 20); n != messages.ConnShare+1<<20 {
		t.Errorf("%d bytes wait", n)
	}
	check("one beyond", 1<<20, 3<<20, false)
	b.holds(2 << 20)
	check("all used up", 3<<20, 5<<20, true)
	b.Abort(messages.CloseSlow)
	check("the one that had most is closed", 1<<20, 2<<20, false)
	go func() { _, _ = io.Copy(io.Discard, a.outside) }()
	a.Write(make([]byte, 2<<20))
	testkit.Eventually(t, "it is written", func() bool { waiting, _ := a.Waiting(); return waiting == 0 })
	check("all is written", 0, 0, false)
	a.Abort(messages.CloseShutdown)
}

// What is booked and then not written counts no longer, wherever it is dropped.
func TestDroppedBytesAreGivenBack(t *testing.T) {
	r := startRig(t, rigOptions{})
	c := r.open()
	_ = c.outside.SetReadBuffer(4096)
	const size = 16 << 20 // more than the kernels hold: the peer reads nothing
	c.holds(size)
	c.Write(make([]byte, size))
	c.EndWrite()
	before := r.mux.buffer.Held()
	for range 8 {
		c.holds(1 << 20)
		c.Write(make([]byte, 1<<20)) // too late
		c.holds(1 << 20)
		c.Drop(make([]byte, 1<<20))
	}
	if held := r.mux.buffer.Held(); held == 0 || held > before {
		t.Errorf("%d bytes are held, were %d", held, before)
	}
	c.Abort(messages.CloseSlow)
	c.Drop(make([]byte, 1<<20))
	if waiting, _ := c.Waiting(); waiting != 0 || r.mux.buffer.Held() != 0 {
		t.Errorf("%d bytes wait at the end", waiting)
	}
}

// A client that does not read stops the reading of the outside peers, each at
// the same small number of frames, and no further.
func TestSlowClientStopsTheOutsidePeers(t *testing.T) {
	r := startRig(t, rigOptions{})
	const peers = 4
	var conns []*outsideConn
	for range peers {
		conns = append(conns, r.open())
	}
	for _, c := range conns {
		go func() {
			for {
				if _, err := c.outside.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}()
	}
	for _, c := range conns {
		testkit.Eventually(t, "the peer is not read any more", func() bool { return c.framesWaiting() == cap(c.queue.Room()) && len(c.queue.Room()) == 0 })
	}
	var before int64
	for _, c := range conns {
		in, _ := c.Moved()
		before += in
	}
	r.mux.Control([]byte(`{"type":"mark"}`))
	for r.clientReads().kind != "mark" { // until then comes what the kernels held
	}
	turn := make(map[string]int)
	for range 1500 { // the client reads on: all of them go on, in turns
		m := r.clientReads()
		turn[m.id]++
	}
	for _, c := range conns {
		if n := turn[c.ID()]; n < 1500/peers/15 {
			t.Errorf("of 1500 frames %d are of one of %d", n, peers)
		}
		c.Abort(messages.CloseShutdown)
	}
	if before == 0 {
		t.Error("nothing was read")
	}
}

// The announcement, the bytes and the end of a connection that is over at once
// come in this order.
func TestShortConnectionsComeInOrder(t *testing.T) {
	r := startRig(t, rigOptions{})
	for range 30 {
		outside := r.dial()
		if _, err := outside.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		outside.Close()
		s := testkit.Hears[*messages.Accepted](r.handler).Stream.(*Stream)
		ear := testkit.NewEar(t, r.system)
		s.Own(ear.PID)
		s.Open()
		for _, want := range []string{"tcp_open", "data", "tcp_close"} {
			if m := r.clientReads(); m.kind != want || m.id != s.ID() || want == "data" && string(m.data) != "hello" {
				t.Fatalf("the client reads %+v, want %s", m, want)
			}
		}
		testkit.Hears[*messages.OutsideEnded](ear)
		s.EndWrite()
		testkit.Hears[*messages.StreamClosed](ear)
	}
}

// Everything at once, in any order: each stream ends once, and nothing is left.
func TestStreamsEndOnceWhateverHappens(t *testing.T) {
	r := startRig(t, rigOptions{credit: true})
	go func() { // the client reads whatever comes
		for {
			if _, err := r.tryRead(); err != nil {
				return
			}
		}
	}()
	for i := range 60 {
		c := r.accept()
		var all sync.WaitGroup
		acts := []func(){
			c.Open,
			func() { c.holds(2 << 20); c.Write(make([]byte, 2<<20)) },
			func() { c.Credit(1000) },
			func() { _, _ = c.outside.Write(make([]byte, 100_000)) },
			func() { c.outside.Close() },
			c.EndRead,
			c.EndWrite,
			func() { c.Abort(messages.CloseSlow) },
			func() { c.Abort(messages.CloseRestart) },
		}
		if i%2 == 0 {
			acts[0]()
			acts = acts[1:]
		}
		for j, act := range acts {
			if i%3 == 0 && j%2 == 0 {
				act()
				continue
			}
			all.Go(act)
		}
		all.Wait()
		c.Abort(messages.CloseShutdown)
		if i%2 == 0 {
			for closed := false; !closed; {
				_, closed = testkit.Hears[any](c.ear).(*messages.StreamClosed)
			}
		}
		testkit.Eventually(t, "what it held is given back", func() bool { return r.mux.buffer.Held() == 0 })
	}
}
