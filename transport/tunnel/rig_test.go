package tunnel

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/gorilla/websocket"

	"wsproxy/actors/supervise"
	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/budget"
	"wsproxy/transport/wsock"
)

// A rig is a Mux with real sockets, and the test in the part of its actors, of
// its client and of the outside peers.
type rig struct {
	t        testing.TB
	system   *actor.ActorSystem
	settings *Settings
	mux      *Mux
	tunnel   *testkit.Ear
	handler  *testkit.Ear
	served   *net.TCPConn    // the server's end of the client's connection
	peer     *net.TCPConn    // the client's end
	client   *websocket.Conn // the client, on peer
	closed   bool            // MuxClosed was heard
}

// rigOptions are what is not the same in all tests. The zero value is the
// dialect Text, without credit.
type rigOptions struct {
	dialect   Dialect
	credit    bool
	keepalive time.Duration   // the ping interval; 0 = an hour
	change    func(*Settings) // nil = nothing
}

// newRig returns a Mux that has its client and is not started. At the end of
// the test it is closed, and must have given back what it had taken.
func newRig(t testing.TB, o rigOptions) *rig {
	t.Helper()
	r := newBareRig(t, o)
	near, far := testkit.TCPPair(t)
	client, err := wsock.NewConn(far)
	if err != nil {
		t.Fatal(err)
	}
	r.served, r.peer, r.client = far, near, testkit.GorillaClient(t, near)
	if !r.mux.Attach(client) {
		t.Fatal("the Mux does not want its client")
	}
	t.Cleanup(r.close)
	return r
}

// newBareRig returns a Mux without a client.
func newBareRig(t testing.TB, o rigOptions) *rig {
	t.Helper()
	system := supervise.NewSystem(slog.New(slog.DiscardHandler))
	t.Cleanup(system.Shutdown)
	if o.dialect == nil {
		o.dialect = Text
	}
	if o.keepalive == 0 {
		o.keepalive = time.Hour
	}
	keepalive := wsock.NewKeepalive(o.keepalive)
	t.Cleanup(keepalive.Close)
	settings := &Settings{
		Host:   wsock.NewHost(system.Root, keepalive, slog.New(slog.DiscardHandler)),
		Memory: budget.NewPool(rigPool), Buffer: 32 << 20, MaxMessage: 21 << 20,
		StallTimeout: 3 * time.Second, HTTPTimeout: time.Hour, Bind: netip.MustParseAddr("127.0.0.1"),
	}
	if o.change != nil {
		o.change(settings)
	}
	mux := New(settings, func(*Mux) Dialect { return o.dialect }, Options{Credit: o.credit, User: "anyone"})
	r := &rig{t: t, system: system, settings: settings, mux: mux, tunnel: testkit.NewEar(t, system), handler: testkit.NewEar(t, system)}
	mux.Own(r.tunnel.PID)
	return r
}

// rigPool is the memory of all tunnels, of which the rig's has rigFairPart while
// others hold all.
const (
	rigPool     = 256 << 20
	rigFairPart = 1 << 20
)

// othersHold has other tunnels, each of another user, hold so much, until the
// function that it returns is called.
func (r *rig) othersHold(n int64) (giveBack func()) {
	var others []*budget.Budget
	for i := range int64(rigPool/rigFairPart - 1) {
		b := r.settings.Memory.Open(fmt.Sprint("other ", i))
		b.Add(n/(rigPool/rigFairPart-1) + min(1, n%(rigPool/rigFairPart-1)/(i+1)))
		others = append(others, b)
	}
	return func() {
		for _, b := range others {
			b.Add(-b.Held())
		}
	}
}

// startRig returns a Mux that has sent its first message, which the client has
// read, that reads the client, and listens for raw connections.
func startRig(t testing.TB, o rigOptions) *rig {
	t.Helper()
	r := newRig(t, o)
	r.mux.Listen(0)
	if m := testkit.Hears[*messages.PortOpened](r.tunnel); m.Err != nil {
		t.Fatal(m.Err)
	}
	r.mux.Prepare(r.handler.PID, messages.EncodeReady(messages.Ready{TunnelURL: "u"}))
	r.mux.Start()
	if m := r.clientReads(); m.kind != "tunnel_ready" {
		t.Fatalf("the first message is %+v", m)
	}
	testkit.Eventually(t, "the reader waits for the client", r.mux.session.Conn().Reading)
	return r
}

// startWith is startRig with these settings.
func startWith(t testing.TB, change func(*Settings)) *rig {
	t.Helper()
	return startRig(t, rigOptions{change: change})
}

func (r *rig) close() {
	r.mux.Finish(messages.ReasonClientGone)
	r.wantClosed()
	if held := r.settings.Memory.Held(); held != 0 {
		r.t.Errorf("%d bytes of the memory of all tunnels are held after the Mux's end", held)
	}
	if held := r.mux.buffer.Held(); held != 0 {
		r.t.Errorf("%d bytes of the tunnel's buffer are held after the Mux's end", held)
	}
}

// wantClosed waits until the Mux is closed, and returns what it was told
// before.
func (r *rig) wantClosed() (before []any) {
	r.t.Helper()
	for !r.closed {
		switch m := testkit.Hears[any](r.tunnel).(type) {
		case *messages.MuxClosed:
			r.closed = true
		default:
			before = append(before, m)
		}
	}
	return before
}

// handles does what a handler does with everything that comes, and passes it to
// see, until the test's end or the stop.
func (r *rig) handles(see func(any)) (stop func()) {
	enough, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			for _, m := range r.handler.Take() {
				see(m)
				r.settle(m)
			}
			select {
			case <-r.handler.Came:
			case <-enough:
				return
			}
		}
	}()
	stop = sync.OnceFunc(func() { close(enough); <-ended })
	r.t.Cleanup(stop)
	return stop
}

func (r *rig) settle(message any) {
	switch m := message.(type) {
	case *messages.FromClient:
		if _, answer := m.Message.(*messages.Response); answer {
			r.mux.Dropped(m.Size)
			r.mux.Handled(0)
		} else {
			r.mux.Handled(m.Size)
		}
	case *messages.Data:
		r.mux.Handled(len(m.Data))
	case *messages.Garbage:
		r.mux.Handled(0)
	}
}

// A clientMessage is what a client reads.
type clientMessage struct {
	kind   string // "data", or the type
	id     string
	data   []byte         // of data
	fields map[string]any // of the others
}

func (r *rig) clientReads() clientMessage {
	r.t.Helper()
	m, err := r.tryRead()
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

func (r *rig) tryRead() (m clientMessage, err error) {
	_, b, err := r.client.ReadMessage()
	if err != nil {
		return m, err
	}
	if b[0] != '{' {
		n := binary.BigEndian.Uint32(b)
		return clientMessage{kind: "data", id: string(b[4 : 4+n]), data: b[4+n:]}, nil
	}
	if err := json.Unmarshal(b, &m.fields); err != nil {
		return m, err
	}
	m.kind, _ = m.fields["type"].(string)
	m.id, _ = m.fields["connId"].(string)
	return m, nil
}

func (r *rig) clientSends(kind int, p []byte) {
	r.t.Helper()
	if err := r.client.WriteMessage(kind, p); err != nil {
		r.t.Fatal(err)
	}
}

func dataMessage(id string, p []byte) []byte {
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(id))), id...), p...)
}

// An outsideConn is a raw connection: its stream, the ear in the place of its
// conn actor, and the outside peer's end.
type outsideConn struct {
	*Stream
	ear     *testkit.Ear
	outside *net.TCPConn
}

// holds books n bytes that take up no more.
func (c *outsideConn) holds(n int) int64 { return c.Hold(make([]byte, n)) }

// framesWaiting returns how many frames wait for the client.
func (c *outsideConn) framesWaiting() int {
	n, _ := c.queue.Waiting()
	return n
}

// exactly returns text as bytes that take up no more.
func exactly(text string) []byte { return slices.Clip([]byte(text)) }

// accept lets an outside peer come in, and has its stream owned but not open.
func (r *rig) accept() *outsideConn {
	r.t.Helper()
	outside := r.dial()
	s := testkit.Hears[*messages.Accepted](r.handler).Stream.(*Stream)
	if s.RemoteAddr() != outside.LocalAddr().String() {
		r.t.Fatalf("the peer is said to be %s, and is %s", s.RemoteAddr(), outside.LocalAddr())
	}
	c := &outsideConn{Stream: s, ear: testkit.NewEar(r.t, r.system), outside: outside}
	r.t.Cleanup(func() { s.Abort(messages.CloseShutdown) })
	s.Own(c.ear.PID)
	return c
}

func (r *rig) dial() *net.TCPConn {
	r.t.Helper()
	outside, err := net.DialTCP("tcp4", nil, r.mux.listener.Load().Addr().(*net.TCPAddr))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { outside.Close() })
	_ = outside.SetDeadline(time.Now().Add(2 * testkit.Patience))
	return outside
}

// open is accept, and then the client knows of it.
func (r *rig) open() *outsideConn {
	r.t.Helper()
	c := r.accept()
	c.Open()
	m := r.clientReads()
	if m.kind != "tcp_open" || m.id != c.ID() || m.fields["remoteAddr"] != c.RemoteAddr() {
		r.t.Fatalf("the client is told %+v", m)
	}
	return c
}

// smallBuffers has the kernels hold little of what waits for the client.
func (r *rig) smallBuffers() {
	_ = r.peer.SetReadBuffer(16 << 10)
	_ = r.served.SetWriteBuffer(16 << 10)
}

// clientStopsReading has the writer wait for the client, until that has read a
// long message of type mark.
func (r *rig) clientStopsReading() {
	r.t.Helper()
	r.smallBuffers()
	r.mux.Control([]byte(`{"type":"mark","x":"` + strings.Repeat("x", 1<<20) + `"}`))
	testkit.Eventually(r.t, "the writer waits", func() bool { return r.mux.queue.Backlog() == 0 })
}

func isReset(err error) bool { return errors.Is(err, syscall.ECONNRESET) }
