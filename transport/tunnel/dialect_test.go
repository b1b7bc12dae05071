package tunnel

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/wsock"
)

// A fakeDialect asks for everything that a dialect may ask for.
type fakeDialect struct {
	coalesced int
	pause     time.Duration

	mu       sync.Mutex
	ready    map[string]chan struct{} // by connId
	requests []string                 // ids that were sent
	received []string                 // connIds of data
	answered []string                 // responses that were its own affair
	paused   []int                    // payloads after which it was asked for a pause
	ended    []string                 // streams
}

func (d *fakeDialect) ControlOpcode() byte    { return wsock.OpBinary }
func (d *fakeDialect) MaxCoalesced() int      { return d.coalesced }
func (d *fakeDialect) TakesInline(n int) bool { return n < 100 }

// Reassemble joins a message that ends with a plus to the next one.
func (d *fakeDialect) Reassemble(next Pieces) Pieces {
	return func(data []byte, text, end bool) {
		if end && bytes.HasSuffix(data, []byte("+")) {
			data, end = data[:len(data)-1], false
		}
		next(data, text, end)
	}
}

// note does something under mu.
func (d *fakeDialect) note(what func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	what()
}

func (d *fakeDialect) RequestSent(id string) { d.note(func() { d.requests = append(d.requests, id) }) }

// Answered takes responses to what is its own.
func (d *fakeDialect) Answered(id string) bool {
	own := strings.HasPrefix(id, "own-")
	if own {
		d.note(func() { d.answered = append(d.answered, id) })
	}
	return own
}

func (d *fakeDialect) DataReceived(connID string) {
	d.note(func() { d.received = append(d.received, connID) })
}

func (d *fakeDialect) Announce(s *Stream) Announcement {
	ready := make(chan struct{})
	d.note(func() { d.ready[s.ID()] = ready })
	return Announcement{
		Message: []byte(`{"type":"special","connId":"` + s.ID() + `"}`),
		Ready:   ready,
		Pause: func(n int) (pause time.Duration) {
			d.note(func() { d.paused, pause = append(d.paused, n), d.pause })
			return pause
		},
		Ended: func() { d.note(func() { d.ended = append(d.ended, s.ID()) }) },
	}
}

// lets has the bytes of a stream go.
func (d *fakeDialect) lets(c *outsideConn) { d.note(func() { close(d.ready[c.ID()]) }) }

func startFake(t *testing.T, credit bool) (*rig, *fakeDialect) {
	d := &fakeDialect{ready: map[string]chan struct{}{}}
	return startRig(t, rigOptions{dialect: d, credit: credit}), d
}

// special is open, and then the client is told what the dialect says of it.
func (r *rig) special() *outsideConn {
	r.t.Helper()
	c := r.open()
	if m := r.clientReads(); m.kind != "special" || m.id != c.ID() {
		r.t.Fatalf("behind tcp_open comes %+v", m)
	}
	return c
}

// Until the client can take a stream's bytes they are held, no more than one
// buffer of them; other streams and messages go on.
func TestDialectHoldsAStreamsBytes(t *testing.T) {
	for _, credit := range []bool{false, true} {
		r, d := startFake(t, credit)
		c, other := r.special(), r.special()
		d.lets(other)
		const size = 200_000 // below a window
		if _, err := c.outside.Write(testkit.Pattern(size)); err != nil {
			t.Fatal(err)
		}
		if _, err := other.outside.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if m := r.clientReads(); m.id != other.ID() || string(m.data) != "hello" {
			t.Fatalf("the client reads %+v", m)
		}
		r.mux.Control([]byte(`{"type":"mark"}`))
		if m := r.clientReads(); m.kind != "mark" {
			t.Errorf("the client reads %+v", m)
		}
		if in, _ := c.Moved(); in != 0 {
			t.Errorf("%d bytes were let go", in)
		}
		d.lets(c)
		if got := r.readData(c, size); !bytes.Equal(got, testkit.Pattern(size)) {
			t.Error("the client does not read what was sent")
		}
	}
}

// A stream whose bytes are held ends like any other, and holds no buffer then:
// by its abort, and by the client, which wants none of them.
func TestStreamEndsWhileItsBytesAreHeld(t *testing.T) {
	before := pooled.Held()
	r, d := startFake(t, false)
	for _, end := range []struct {
		why messages.CloseReason
		by  func(c *outsideConn)
	}{
		{messages.CloseSlow, func(c *outsideConn) { c.Abort(messages.CloseSlow) }},
		{"", func(c *outsideConn) { c.EndRead(); c.outside.Close(); c.EndWrite() }},
	} {
		c := r.special()
		if _, err := c.outside.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "it is held", func() bool { return pooled.Held() > before })
		end.by(c)
		if end.why != "" {
			if m := r.clientReads(); m.kind != "tcp_close" || m.fields["reason"] != string(end.why) {
				t.Errorf("the client is told %+v", m)
			}
		}
		r.wantStreamClosed(c, end.why)
		d.note(func() {
			if len(d.ended) == 0 || d.ended[len(d.ended)-1] != c.ID() {
				t.Errorf("the dialect hears of %q", d.ended)
			}
		})
		testkit.Eventually(t, "its buffer is given back", func() bool { return pooled.Held() <= before })
	}
}

// The dialect is asked after each data frame, and the next one comes no sooner
// than it says; a stream that ends does not wait for that.
func TestDialectPausesAStream(t *testing.T) {
	const pause = 50 * time.Millisecond
	r, d := startFake(t, false)
	d.pause = pause
	c := r.special()
	d.lets(c)
	begun := time.Now()
	const size = 5 * wsock.BufferSize
	if _, err := c.outside.Write(testkit.Pattern(size)); err != nil {
		t.Fatal(err)
	}
	if got := r.readData(c, size); !bytes.Equal(got, testkit.Pattern(size)) {
		t.Error("the client does not read what was sent")
	}
	frames := 0
	testkit.Eventually(t, "the dialect was asked after the last frame, too", func() (all bool) {
		d.note(func() {
			asked := 0
			for _, n := range d.paused {
				asked += n
			}
			frames, all = len(d.paused), asked == size
		})
		return all
	})
	if took := time.Since(begun); frames < 5 || took < time.Duration(frames-1)*pause {
		t.Errorf("%d frames took %s", frames, took)
	}
	d.note(func() { d.pause = time.Hour })
	if _, err := c.outside.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	r.readData(c, 1)
	c.Abort(messages.CloseSlow)
	r.wantStreamClosed(c, messages.CloseSlow)
}

// What waits for the client of one stream goes out as one frame, up to the
// limit, and in order.
func TestDialectHasFramesCoalesced(t *testing.T) {
	d := &fakeDialect{ready: map[string]chan struct{}{}, coalesced: 40_000}
	r := startRig(t, rigOptions{dialect: d})
	c := r.special()
	d.lets(c)
	r.clientStopsReading()
	var sent []byte
	for i, n := range []int{100, 30_000} {
		piece := testkit.Pattern(n)
		sent = append(sent, piece...)
		if _, err := c.outside.Write(piece); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "it waits", func() bool {
			in, _ := c.Moved()
			return c.framesWaiting() > i && in == int64(len(sent))
		})
	}
	if m := r.clientReads(); m.kind != "mark" {
		t.Fatalf("the client is told %+v", m)
	}
	m := r.clientReads()
	if m.kind != "data" || m.id != c.ID() || !bytes.Equal(m.data, sent) {
		t.Errorf("the client reads a %s of %d bytes, %d were sent", m.kind, len(m.data), len(sent))
	}
}

// What the client has cut is joined before it is taken apart, and what the
// dialect has asked for itself goes no further.
func TestDialectSeesWhatTheClientSends(t *testing.T) {
	r, d := startFake(t, false)
	for _, message := range []string{`{"type":"tcp_cl+`, `ose","connId":"c"}`} {
		r.clientSends(websocket.BinaryMessage, []byte(message))
	}
	m := testkit.Hears[*messages.FromClient](r.handler)
	if m.Message.(*messages.Close).ConnID != "c" {
		t.Errorf("the handler is told %+v", m.Message)
	}
	r.settle(m)
	r.clientSends(websocket.BinaryMessage, dataMessage("c", []byte("he+")))
	r.clientSends(websocket.BinaryMessage, []byte("llo"))
	for _, want := range []string{"he", "llo"} {
		m := testkit.Hears[*messages.Data](r.handler)
		if m.ConnID != "c" || string(m.Data) != want {
			t.Errorf("of %s comes %q", m.ConnID, m.Data)
		}
		r.settle(m)
	}
	for _, id := range []string{"own-1", "other"} {
		r.clientSends(websocket.TextMessage, []byte(`{"type":"http_response","id":"`+id+`","body":"`+strings.Repeat("b", 1000)+`"}`))
	}
	m = testkit.Hears[*messages.FromClient](r.handler)
	if answer, ok := m.Message.(*messages.Response); !ok || answer.ID != "other" {
		t.Errorf("the handler is told %+v", m.Message)
	}
	r.settle(m)
	d.note(func() {
		if strings.Join(d.answered, " ") != "own-1" || strings.Join(d.received, " ") != "c" {
			t.Errorf("it took %q, and heard of data of %q", d.answered, d.received)
		}
	})
	if held := r.mux.memory.Held() + r.mux.inbound.Held(); held != 0 {
		t.Errorf("%d bytes are held", held)
	}
}

// The dialect knows of a request before the client does, and which of them the
// client takes.
func TestDialectKnowsOfRequests(t *testing.T) {
	r, d := startFake(t, false)
	if !r.mux.TakesInline(99) || r.mux.TakesInline(100) {
		t.Error("another dialect is asked")
	}
	r.client.SetReadLimit(1 << 20)
	if !r.mux.Request("i", []byte(`{"type":"http_request","id":"i"}`)) {
		t.Error("it is refused")
	}
	kind, b, err := r.client.ReadMessage()
	if err != nil || kind != websocket.BinaryMessage || !bytes.Contains(b, []byte(`"id":"i"`)) {
		t.Errorf("the client reads %q of type %d, %v", b, kind, err)
	}
	d.note(func() {
		if strings.Join(d.requests, " ") != "i" {
			t.Errorf("it hears of %q", d.requests)
		}
	})
}
