package tunnelrig

import (
	"context"

	"wsproxy/actors/ledger"
	"wsproxy/actors/limits"
	"wsproxy/actors/ports"

	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/gorilla/websocket"

	"wsproxy/actors"
	"wsproxy/actors/supervise"
	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/budget"
	"wsproxy/transport/outside"
	"wsproxy/transport/tunnel"
	"wsproxy/transport/wsock"
)

// A House is a server with tunnels and all their actors, but without the edge:
// everybody may open a tunnel, and none has a raw port.
type House struct {
	Address string // at which it listens
	Memory  *budget.Pool
	System  *actor.ActorSystem
	Limits  *actor.PID
}

// HouseSettings are those of a [House].
type HouseSettings struct {
	Dialect func(*tunnel.Mux) tunnel.Dialect
	Bytes   bool          // tunnels have flow=credit and http=bytes
	Total   int64         // bytes of memory of all tunnels
	Timeout time.Duration // TUNNEL_HTTP_TIMEOUT
	// Forward returns what answers the requests to a tunnel's host.
	Forward func(*House) func(w http.ResponseWriter, r *http.Request, subdomain string)
}

const domain = ".t.example"

type deafMeter struct{}

func (deafMeter) TunnelStarted()                               {}
func (deafMeter) TunnelEnded(messages.Reason, time.Duration)   {}
func (deafMeter) RawStarted()                                  {}
func (deafMeter) RawEnded(messages.CloseReason, time.Duration) {}
func (deafMeter) HandlerRestarted()                            {}

// NewHouse returns a House that lives until the test's end.
func NewHouse(t testing.TB, s HouseSettings) *House {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	h := &House{System: supervise.NewSystem(log), Memory: budget.NewPool(s.Total)}
	t.Cleanup(h.System.Shutdown)
	spawned := func(pid *actor.PID, err error) *actor.PID {
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}
	h.Limits = spawned(limits.Spawn(h.System, limits.NewBook(ledger.Bounds{}), nil, log))
	tunnels := spawned(actors.SpawnTunnels(h.System, actors.Tunnels{
		Limits: h.Limits, Ports: spawned(ports.Spawn(h.System, 1, 1, nil, log)), PublicURL: "http://*" + domain,
		PortTries: 0, MaxHTTP: 100, MaxConns: 200, StallTimeout: 50 * time.Millisecond, Memory: h.Memory, Meter: deafMeter{}, Log: log,
	}))
	set := settings(t, h.System, h.Memory, s.Timeout)
	set.Buffer, set.MaxMessage, set.StallTimeout = s.Total, 3<<20, 50*time.Millisecond
	forward := s.Forward(h)
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.Address = listener.Addr().String()
	server := &http.Server{ConnContext: knowsConn, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if subdomain, ours := strings.CutSuffix(r.Host, domain); ours {
			forward(w, r, subdomain)
			return
		}
		h.register(t, w, r, tunnels, tunnel.New(set, s.Dialect, tunnel.Options{Credit: s.Bytes, User: "anyone"}), s.Bytes)
	})}
	served := make(chan error, 1)
	go func() { served <- server.Serve(outsideListener{listener}) }()
	t.Cleanup(func() {
		server.Close()
		testkit.Receive(t, served)
	})
	return h
}

// An outsideListener makes connections of which requests know, as the edge does.
type outsideListener struct{ net.Listener }

func (l outsideListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := new(outside.Conn)
	c.Init(conn.(*net.TCPConn))
	return c, nil
}

func knowsConn(ctx context.Context, c net.Conn) context.Context {
	return outside.WithConn(ctx, c.(*outside.Conn))
}

func (h *House) register(t testing.TB, w http.ResponseWriter, r *http.Request, tunnels *actor.PID, mux *tunnel.Mux, bytes bool) {
	answer := make(chan messages.Admission, 1)
	h.System.Root.Send(tunnels, &messages.OpenTunnel{
		Source: netip.MustParseAddr("127.0.0.1"), Count: netip.MustParsePrefix("127.0.0.1/32"), Upgrade: true, Mux: mux, Answer: answer,
		Credit: bytes, Bytes: bytes,
	})
	admission := testkit.Receive(t, answer)
	ws, err := (&websocket.Upgrader{ReadBufferSize: 1}).Upgrade(w, r, nil)
	if err != nil {
		t.Error(err)
		return
	}
	conn, err := wsock.NewConn(ws.NetConn().(*outside.Conn).TCPConn)
	if err != nil {
		t.Error(err)
		return
	}
	if mux.Attach(conn) {
		h.System.Root.Send(admission.Session, &messages.Upgraded{})
	}
}

// Handler is where a subdomain's requests go.
func (h *House) Handler(subdomain string, bytes bool) *actor.PID {
	return actors.HandlerPID(h.System, subdomain, bytes)
}

// Exists reports whether there is such a handler.
func (h *House) Exists(handler *actor.PID) bool {
	_, exists := h.System.ProcessRegistry.Get(handler)
	return exists
}

// Open opens a tunnel, and returns its client and its host.
func (h *House) Open(t testing.TB) (client *websocket.Conn, host string) {
	t.Helper()
	return Open(t, h.Address, "")
}

// Open opens a tunnel of the server at an address, with a query, and returns its client and
// its host.
func Open(t testing.TB, address, query string) (client *websocket.Conn, host string) {
	t.Helper()
	ws, _, err := websocket.DefaultDialer.Dial("ws://"+address+"/tunnel?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	var ready struct{ TunnelURL string }
	if err := ws.ReadJSON(&ready); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(ready.TunnelURL)
	if err != nil {
		t.Fatal(err)
	}
	return ws, u.Host
}
