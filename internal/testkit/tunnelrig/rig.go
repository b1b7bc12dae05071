package tunnelrig

import (
	"encoding/binary"
	"encoding/json"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/gorilla/websocket"

	"wsproxy/actors/supervise"
	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/budget"
	"wsproxy/transport/tunnel"
	"wsproxy/transport/wsock"
)

// A Rig is a Mux that has started, and the test in the part of its actors and
// of its client.
type Rig struct {
	T       testing.TB
	System  *actor.ActorSystem
	Mux     *tunnel.Mux
	Tunnel  *testkit.Ear
	Handler *testkit.Ear
	Client  *websocket.Conn
	memory  *budget.Pool
}

// New returns a Rig whose client has read tunnel_ready. At the end of the test
// it is closed, and must have given back what it had taken.
func New(t testing.TB, dialect func(*tunnel.Mux) tunnel.Dialect) *Rig {
	t.Helper()
	system := supervise.NewSystem(slog.New(slog.DiscardHandler))
	t.Cleanup(system.Shutdown)
	r := &Rig{
		T: t, System: system, memory: budget.NewPool(256 << 20),
		Tunnel: testkit.NewEar(t, system), Handler: testkit.NewEar(t, system),
	}
	r.Mux = tunnel.New(settings(t, system, r.memory, time.Hour), dialect, tunnel.Options{User: "anyone"})
	r.Mux.Own(r.Tunnel.PID)
	near, far := testkit.TCPPair(t)
	client, err := wsock.NewConn(far)
	if err != nil {
		t.Fatal(err)
	}
	r.Client = testkit.GorillaClient(t, near)
	if !r.Mux.Attach(client) {
		t.Fatal("the Mux does not want its client")
	}
	t.Cleanup(r.close)
	r.Mux.Prepare(r.Handler.PID, messages.EncodeReady(messages.Ready{TunnelURL: "u"}))
	r.Mux.Start()
	if m := r.Reads(); m.Type != "tunnel_ready" {
		t.Fatalf("the first message is %+v", m)
	}
	return r
}

func settings(t testing.TB, system *actor.ActorSystem, memory *budget.Pool, timeout time.Duration) *tunnel.Settings {
	t.Helper()
	keepalive := wsock.NewKeepalive(time.Hour)
	t.Cleanup(keepalive.Close)
	return &tunnel.Settings{
		Host: wsock.NewHost(system.Root, keepalive, slog.New(slog.DiscardHandler)), Memory: memory, Buffer: 32 << 20,
		MaxMessage: 1 << 20, StallTimeout: 3 * time.Second, HTTPTimeout: timeout, Bind: netip.MustParseAddr("127.0.0.1"),
	}
}

func (r *Rig) close() {
	r.Mux.Finish(messages.ReasonClientGone)
	for {
		if _, closed := testkit.Hears[any](r.Tunnel).(*messages.MuxClosed); closed {
			break
		}
	}
	if held := r.memory.Held(); held != 0 {
		r.T.Errorf("%d bytes of the memory of all tunnels are held after the Mux's end", held)
	}
}

// A Message is what a client reads: the payload of a data frame, or the fields
// of a control message.
type Message struct {
	Type       string // "data" for a data frame
	ID         string // of the request
	ConnID     string
	Path       string
	Method     string
	Headers    map[string]string
	Body       string
	Reason     string
	RemoteAddr string
	Data       []byte `json:"-"`
}

// Reads returns the next message that the client gets.
func (r *Rig) Reads() Message {
	r.T.Helper()
	_, b, err := r.Client.ReadMessage()
	if err != nil {
		r.T.Fatal(err)
	}
	m, err := Parse(b)
	if err != nil {
		r.T.Fatal(err)
	}
	return m
}

// Parse reads a message of the server's.
func Parse(b []byte) (m Message, err error) {
	if b[0] == '{' {
		err = json.Unmarshal(b, &m)
		return m, err
	}
	n := binary.BigEndian.Uint32(b)
	return Message{Type: "data", ConnID: string(b[4 : 4+n]), Data: b[4+n:]}, nil
}

// Sends sends a binary message as the client.
func (r *Rig) Sends(p []byte) {
	r.T.Helper()
	if err := r.Client.WriteMessage(websocket.BinaryMessage, p); err != nil {
		r.T.Fatal(err)
	}
}

// Data makes a data frame.
func Data(id string, p []byte) []byte {
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(len(id))), id...), p...)
}

// Peer is what clients are told of the outside peer of a stream.
const Peer = "127.0.0.1:0"

// A Stream is a stream with an ear in the place of its conn actor.
type Stream struct {
	*tunnel.Stream
	Ear *testkit.Ear
}

// Takes takes the next stream that comes in, of which the client then knows.
func (r *Rig) Takes() *Stream {
	r.T.Helper()
	s := testkit.Hears[*messages.Accepted](r.Handler).Stream.(*tunnel.Stream)
	c := &Stream{Stream: s, Ear: testkit.NewEar(r.T, r.System)}
	r.T.Cleanup(func() { s.Abort(messages.CloseShutdown) })
	s.Own(c.Ear.PID)
	s.Open()
	if m := r.Reads(); m.Type != "tcp_open" || m.ConnID != s.ID() || m.RemoteAddr != Peer {
		r.T.Fatalf("the client is told %+v", m)
	}
	return c
}

// Dials opens a stream whose outer end is the test's.
func (r *Rig) Dials() (*Stream, *tunnel.Pipe) {
	r.T.Helper()
	pipe, err := r.Mux.OpenPipe(Peer, "", testkit.Patience)
	if err != nil {
		r.T.Fatal(err)
	}
	return r.Takes(), pipe
}

// Gives lets a stream have bytes of the client's.
func (c *Stream) Gives(data string) {
	c.Hold([]byte(data))
	c.Write([]byte(data))
}
