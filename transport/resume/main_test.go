package resume

import (
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"wsproxy/actors/supervise"
	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/buffers"
	"wsproxy/messages"
	"wsproxy/transport/budget"
	"wsproxy/transport/wsock"
	"wsproxy/transport/wsock/replay"
	"wsproxy/transport/wsock/rest"
)

func TestMain(m *testing.M) {
	rest.After = 5 * time.Millisecond // all tests may meet sessions at rest
	wsock.TrackBuffers(pooled.Made)
	testkit.VerifyMain(m)
}

// pooled knows which of the buffers that the tests use are alive.
var pooled buffers.BufferCount

// First bytes of frames that a client sends.
const (
	frameText  = 0x81
	frameBin   = 0x82
	framePart  = 0x02
	frameLast  = 0x80
	frameClose = 0x88
)

// A sink is what the client's bytes come to.
type sink struct {
	mu      sync.Mutex
	got     []byte
	ended   int
	stuck   bool          // Try takes nothing
	let     chan struct{} // Take waits for one, if it is not nil
	panics  bool
	leaving int
}

func (s *sink) Try(data []byte, _, _ bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stuck {
		return 0
	}
	s.got = append(s.got, data...)
	return len(data)
}

func (s *sink) Take(data []byte, _, _ bool) {
	s.mu.Lock()
	let, panics := s.let, s.panics
	s.mu.Unlock()
	if panics {
		panic("injected")
	}
	if let != nil {
		<-let
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got = append(s.got, data...)
}

func (s *sink) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended++
}

func (s *sink) Leaving() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving++
}

func (s *sink) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.got)
}

// A rig is a session, and the test in the part of its owner and of its clients.
type rig struct {
	*testkit.Ear
	t       *testing.T
	session *Session
	sink    *sink
	shares  *budget.Shares
	number  uint32
	closed  chan messages.Reason
}

func newRig(t *testing.T, unit replay.Unit) *rig {
	t.Helper()
	return newRigWith(t, unit, 1<<20, 16<<20)
}

func newRigWith(t *testing.T, unit replay.Unit, buffer, total int64) *rig {
	t.Helper()
	system := supervise.NewSystem(slog.New(slog.DiscardHandler))
	t.Cleanup(system.Shutdown)
	keepalive := wsock.NewKeepalive(time.Hour)
	t.Cleanup(keepalive.Close)
	r := &rig{
		Ear: testkit.NewEar(t, system), t: t, session: new(Session), sink: new(sink),
		shares: budget.NewShares(total), closed: make(chan messages.Reason, 1),
	}
	r.session.Init(&Settings{
		Host:    wsock.NewHost(system.Root, keepalive, slog.New(slog.DiscardHandler)),
		Timeout: time.Hour, Buffer: buffer, Shares: r.shares,
	}, Options{Unit: unit, Opcode: wsock.OpText, User: "ann", Sink: r.sink})
	r.session.Own(r.PID)
	t.Cleanup(func() {
		r.finish(messages.ReasonInternal)
		r.session.Cut()
		testkit.Receive(t, r.closed)
		testkit.Eventually(t, "all memory came back", func() bool { return r.shares.Held() == 0 })
	})
	return r
}

func (r *rig) finish(reason messages.Reason) {
	r.session.Finish(reason, func(reason messages.Reason) { r.closed <- reason })
}

// A client is one WebSocket of the session, from the other side.
type client struct {
	*net.TCPConn
	t        *testing.T
	conn     *wsock.Conn // the server's end
	far      *net.TCPConn
	unit     replay.Unit
	sent     uint64 // position
	received uint64
}

func (r *rig) newClient() *client {
	r.t.Helper()
	near, far := testkit.TCPPair(r.t)
	conn, err := wsock.NewConn(far)
	if err != nil {
		r.t.Fatal(err)
	}
	return &client{TCPConn: near, t: r.t, conn: conn, far: far, unit: r.session.unit}
}

// begin gives the session its first WebSocket.
func (r *rig) begin() *client {
	r.t.Helper()
	c := r.newClient()
	if !r.session.Attach(c.conn) {
		r.t.Fatal("the session does not want its client")
	}
	r.session.Announce("token")
	c.wantText(fmt.Sprintf(`{"type":"session","resume":"token","timeout":3600,"limit":%d}`, c.unit.FirstLimit()))
	c.ack(0, c.unit.FirstLimit())
	return c
}

// takeUp goes on where before was.
func (r *rig) takeUp(before *client) *client {
	r.t.Helper()
	c := r.newClient()
	c.sent, c.received = before.sent, before.received
	r.number++
	if reason := r.session.TakeUp(c.conn, r.number, c.received); reason != "" {
		r.t.Fatal("the session was not taken up: ", reason)
	}
	return c
}

// resumed reads the first message of a WebSocket that takes the session up, and the
// acknowledgement behind it, and returns up to where the session has all.
func (c *client) resumed() (position uint64) {
	c.t.Helper()
	m := c.wantKind(messages.KindResumed)
	c.wantKind(messages.KindAck)
	return m.Position
}

func (c *client) write(b []byte) {
	c.t.Helper()
	if _, err := c.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) say(text string) { c.t.Helper(); c.write(testkit.Frame(frameText, []byte(text))) }

func (c *client) ack(position, limit uint64) {
	c.t.Helper()
	c.say(string(messages.AppendAck(nil, c.unit.Name(), position, limit)))
}

// message makes the payload of a binary message.
func (c *client) message(data string) []byte {
	if c.sent++; c.unit == replay.Bytes {
		c.sent += uint64(len(data)) - 1
	}
	return binary.BigEndian.AppendUint64([]byte(data), c.sent)
}

func (c *client) send(data string) {
	c.t.Helper()
	c.write(testkit.Frame(frameBin, c.message(data)))
}

func (c *client) close(code int) {
	c.t.Helper()
	c.write(testkit.Frame(frameClose, testkit.ClosePayload(code, "")))
}

func (c *client) read() (first byte, payload []byte) {
	c.t.Helper()
	first, payload, err := testkit.ReadFrame(c)
	if err != nil {
		c.t.Fatal(err)
	}
	return first, payload
}

func (c *client) wantText(want string) {
	c.t.Helper()
	if first, payload := c.read(); first != frameText || string(payload) != want {
		c.t.Fatalf("%#x %q came, want %s", first, payload, want)
	}
}

func (c *client) wantKind(kind messages.ResumeKind) messages.ResumeMessage {
	c.t.Helper()
	first, payload := c.read()
	m, err := messages.DecodeResume(payload, c.unit.Name())
	if first != frameText || err != nil || m.Kind != kind {
		c.t.Fatalf("%#x %q came, which is not of kind %d: %v", first, payload, kind, err)
	}
	return m
}

// want reads data, in whatever messages it comes, and what is said meanwhile.
func (c *client) want(data string) {
	c.t.Helper()
	for got := ""; got != data; {
		first, payload := c.read()
		if first == frameText {
			continue
		}
		if first != frameBin || len(payload) < replay.TrailerSize {
			c.t.Fatalf("%#x %q came behind %q", first, payload, got)
		}
		at := len(payload) - replay.TrailerSize
		got += string(payload[:at])
		if c.received++; c.unit == replay.Bytes {
			c.received += uint64(at) - 1
		}
		if position := binary.BigEndian.Uint64(payload[at:]); position != c.received || len(got) > len(data) {
			c.t.Fatalf("%q came, want %q; at %d, want %d", got, data, position, c.received)
		}
	}
}

// wantClose reads to the close frame, and beyond it to the end.
func (c *client) wantClose(code int) {
	c.t.Helper()
	for {
		first, payload, err := testkit.ReadFrame(c)
		if err != nil {
			c.t.Fatalf("no close frame: %v", err)
		}
		if first != frameClose {
			continue
		}
		if got := int(binary.BigEndian.Uint16(payload)); got != code {
			c.t.Fatalf("close code %d, want %d", got, code)
		}
		if _, _, err := testkit.ReadFrame(c); err == nil {
			c.t.Fatal("a frame came behind the close frame")
		}
		return
	}
}

// lost has the owner hear that a WebSocket was lost.
func (r *rig) lost(number uint32) {
	r.t.Helper()
	m := testkit.Hears[*messages.WebSocketEnded](r.Ear)
	if !m.Lost || m.Number != number {
		r.t.Fatalf("the owner hears %+v", m)
	}
	r.Take() // maybe more than once
}

func (r *rig) keep(data string) {
	r.t.Helper()
	if !r.session.Send(replay.Message{Payload: []byte(data)}) {
		r.t.Fatal("the session closes")
	}
}
