package tunnel

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/gorilla/websocket"

	"wsproxy/actors"
	"wsproxy/messages"
)

// A tunnelEar stands in for an actor: it keeps what it is told, however much.
type tunnelEar struct {
	t    testing.TB
	pid  *actor.PID
	mu   sync.Mutex
	told []any
	came chan struct{}
}

func newTunnelEar(t testing.TB, system *actor.ActorSystem) *tunnelEar {
	e := &tunnelEar{t: t, came: make(chan struct{}, 1)}
	pid, fresh := system.ProcessRegistry.Add(e, fmt.Sprint("ear-", probes.Add(1)))
	if !fresh {
		t.Fatal("the ear's name is taken")
	}
	e.pid = pid
	return e
}

func (e *tunnelEar) SendUserMessage(_ *actor.PID, message any) {
	_, m, _ := actor.UnwrapEnvelope(message)
	e.mu.Lock()
	e.told = append(e.told, m)
	e.mu.Unlock()
	signal(e.came)
}
func (e *tunnelEar) SendSystemMessage(*actor.PID, any) {}
func (e *tunnelEar) Stop(*actor.PID)                   {}

// take returns what the ear was told since the last time.
func (e *tunnelEar) take() []any {
	e.mu.Lock()
	defer e.mu.Unlock()
	told := e.told
	e.told = nil
	return told
}

func (e *tunnelEar) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.told)
}

// hears waits for the next message, which must be a T.
func hears[T any](e *tunnelEar) T {
	e.t.Helper()
	late := time.After(patience)
	for {
		e.mu.Lock()
		if len(e.told) > 0 {
			m := e.told[0]
			e.told = e.told[1:]
			e.mu.Unlock()
			want, ok := m.(T)
			if !ok {
				e.t.Fatalf("the actor is told %T %+v, want %T", m, m, want)
			}
			return want
		}
		e.mu.Unlock()
		select {
		case <-e.came:
		case <-late:
			var want T
			e.t.Fatalf("the actor is not told %T", want)
		}
	}
}

// A tunnelRig is a link with real sockets, and the test in the part of its
// actors, of its client and of the outside peers.
type tunnelRig struct {
	t       testing.TB
	system  *actor.ActorSystem
	tools   *Settings
	link    *Mux
	tunnel  *tunnelEar
	handler *tunnelEar
	peer    *net.TCPConn    // the client's end
	client  *websocket.Conn // the client, on peer
	closed  bool            // LinkClosed was heard
}

// newTunnelRig returns a link that has its client and is not started. At the
// end of the test it is closed, and must have given back what it had taken.
func newTunnelRig(t testing.TB, d dialect, credit bool, change func(*Settings)) *tunnelRig {
	t.Helper()
	r := newBareTunnelRig(t, d, credit, change)
	near, far := tcpPair(t)
	client, err := newSocket(far)
	if err != nil {
		t.Fatal(err)
	}
	r.peer, r.client = near, gorillaClient(t, near)
	if !r.link.attach(client) {
		t.Fatal("the link does not want its client")
	}
	t.Cleanup(r.close)
	return r
}

// newBareTunnelRig returns a link without a client.
func newBareTunnelRig(t testing.TB, d dialect, credit bool, change func(*Settings)) *tunnelRig {
	t.Helper()
	system := actors.NewSystem(slog.New(slog.DiscardHandler))
	t.Cleanup(system.Shutdown)
	keepalive := NewKeepalive(time.Hour)
	t.Cleanup(keepalive.Close)
	tools := &Settings{
		root: system.Root, keepalive: keepalive, total: NewBudget(nil, 256<<20), buffer: 32 << 20,
		maxMessage: 21 << 20, stall: 3 * time.Second, timeout: time.Hour, bind: netip.MustParseAddr("127.0.0.1"), log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(tools)
	}
	r := &tunnelRig{t: t, system: system, tools: tools, link: New(tools, d, credit), tunnel: newTunnelEar(t, system), handler: newTunnelEar(t, system)}
	r.link.Own(r.tunnel.pid)
	return r
}

// startedTunnelRig returns a link that has sent its first message, which the
// client has read, that reads the client, and listens for raw connections.
func startedTunnelRig(t testing.TB, credit bool, change func(*Settings)) *tunnelRig {
	t.Helper()
	r := newTunnelRig(t, dialectText, credit, change)
	r.link.Listen(0)
	if m := hears[*messages.PortOpened](r.tunnel); m.Err != nil {
		t.Fatal(m.Err)
	}
	r.link.Start(r.handler.pid, messages.EncodeReady(messages.Ready{TunnelURL: "u"}))
	if m := r.clientReads(); m.kind != "tunnel_ready" {
		t.Fatalf("the first message is %+v", m)
	}
	eventually(t, "the reader waits for the client", r.link.client.reading.Load)
	return r
}

func (r *tunnelRig) close() {
	r.link.Finish(messages.ReasonClientGone)
	r.wantClosed()
	if held := r.tools.total.held.Load(); held != 0 {
		r.t.Errorf("%d bytes of the memory of all tunnels are held after the link's end", held)
	}
	if held := r.link.buffer.held.Load(); held != 0 {
		r.t.Errorf("%d bytes of the tunnel's buffer are held after the link's end", held)
	}
}

// wantClosed waits until the link is closed, and returns what it was told
// before.
func (r *tunnelRig) wantClosed() (before []any) {
	r.t.Helper()
	for !r.closed {
		switch m := hears[any](r.tunnel).(type) {
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
func (r *tunnelRig) handles(see func(any)) (stop func()) {
	enough, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			for _, m := range r.handler.take() {
				see(m)
				r.settle(m)
			}
			select {
			case <-r.handler.came:
			case <-enough:
				return
			}
		}
	}()
	stop = sync.OnceFunc(func() { close(enough); <-ended })
	r.t.Cleanup(stop)
	return stop
}

func (r *tunnelRig) settle(message any) {
	switch m := message.(type) {
	case *messages.FromClient:
		if _, answer := m.Message.(*messages.Response); answer {
			r.link.Dropped(m.Size)
		}
		r.link.Handled(m.Size)
	case *messages.Data:
		r.link.Handled(len(m.Data))
	case *messages.Garbage:
		r.link.Handled(0)
	}
}

// A tunnelMessage is what a client reads.
type tunnelMessage struct {
	kind   string // "data", or the type
	id     string
	data   []byte         // of data
	fields map[string]any // of the others
}

func (r *tunnelRig) clientReads() tunnelMessage {
	r.t.Helper()
	m, err := r.tryRead()
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

func (r *tunnelRig) tryRead() (m tunnelMessage, err error) {
	_, b, err := r.client.ReadMessage()
	if err != nil {
		return m, err
	}
	if b[0] != '{' {
		n := binary.BigEndian.Uint32(b)
		return tunnelMessage{kind: "data", id: string(b[4 : 4+n]), data: b[4+n:]}, nil
	}
	if err := json.Unmarshal(b, &m.fields); err != nil {
		return m, err
	}
	m.kind, _ = m.fields["type"].(string)
	m.id, _ = m.fields["connId"].(string)
	return m, nil
}

func (r *tunnelRig) clientSends(kind int, p []byte) {
	r.t.Helper()
	if err := r.client.WriteMessage(kind, p); err != nil {
		r.t.Fatal(err)
	}
}

func tunnelData(id string, p []byte) []byte {
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(id))), id...), p...)
}

// A tunnelConn is a raw connection: its stream, the ear in the place of its
// conn actor, and the outside peer's end.
type tunnelConn struct {
	*stream
	ear     *tunnelEar
	outside *net.TCPConn
}

// accept lets an outside peer come in, and has its stream owned but not open.
func (r *tunnelRig) accept() *tunnelConn {
	r.t.Helper()
	outside := r.dial()
	s := hears[*messages.Accepted](r.handler).Stream.(*stream)
	if s.RemoteAddr() != outside.LocalAddr().String() {
		r.t.Fatalf("the peer is said to be %s, and is %s", s.RemoteAddr(), outside.LocalAddr())
	}
	c := &tunnelConn{stream: s, ear: newTunnelEar(r.t, r.system), outside: outside}
	r.t.Cleanup(func() { s.Abort(messages.CloseShutdown) })
	s.Own(c.ear.pid)
	return c
}

func (r *tunnelRig) dial() *net.TCPConn {
	r.t.Helper()
	outside, err := net.DialTCP("tcp4", nil, r.link.listener.Load().Addr().(*net.TCPAddr))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { outside.Close() })
	_ = outside.SetDeadline(time.Now().Add(2 * patience))
	return outside
}

// open is accept, and then the client knows of it.
func (r *tunnelRig) open() *tunnelConn {
	r.t.Helper()
	c := r.accept()
	c.Open()
	m := r.clientReads()
	if m.kind != "tcp_open" || m.id != c.ID() || m.fields["remoteAddr"] != c.RemoteAddr() {
		r.t.Fatalf("the client is told %+v", m)
	}
	return c
}
