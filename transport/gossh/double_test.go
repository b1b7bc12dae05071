package gossh

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"
	"github.com/gorilla/websocket"

	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/tunnelrig"
	"wsproxy/messages/refused"
	"wsproxy/netpolicy"
	"wsproxy/transport/forward"
	"wsproxy/transport/tunnel"
)

type deafMeter struct{}

func (deafMeter) Refused(refused.Refusal) {}

// newHouse is a house whose tunnels' clients are gossh-wasm.
func newHouse(t testing.TB) *tunnelrig.House {
	t.Helper()
	return tunnelrig.NewHouse(t, tunnelrig.HouseSettings{
		Dialect: func(m *tunnel.Mux) tunnel.Dialect { return New(m, false) },
		Total:   64 << 20, Timeout: testkit.Patience,
		Forward: func(h *tunnelrig.House) func(http.ResponseWriter, *http.Request, string) {
			return forward.NewGateway(forward.Settings{
				Root: h.System.Root, Limits: h.Limits, Handler: h.Handler, Exists: h.Exists, Sources: netpolicy.NewSources(nil),
				HTTPTimeout: testkit.Patience, MaxBody: 1 << 20, Refused: deafMeter{}, Log: slog.New(slog.DiscardHandler),
			}).Forward
		},
	})
}

// A double does with streams what gossh-wasm does: it says nothing when a
// service ends, takes no notice of tcp_close, and lets a stream go when a write
// to its service fails.
type double struct {
	t       testing.TB
	service string // host:port
	ws      *websocket.Conn
	host    string
	sending sync.Mutex
	running sync.WaitGroup

	mu     sync.Mutex
	conns  map[string]net.Conn // under mu: by connId
	opened int                 // under mu
}

// newDouble opens a tunnel to a service.
func newDouble(t testing.TB, h *tunnelrig.House, service string) *double {
	t.Helper()
	d := &double{t: t, service: service, conns: map[string]net.Conn{}}
	d.ws, d.host = h.Open(t)
	d.running.Go(d.run)
	t.Cleanup(func() {
		d.ws.Close()
		d.running.Wait()
	})
	return d
}

// slots returns how many are taken, and how many streams there were.
func (d *double) slots() (taken, opened int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.conns), d.opened
}

func (d *double) wantFreeSlots() {
	d.t.Helper()
	testkit.Eventually(d.t, "all slots are free", func() bool { taken, _ := d.slots(); return taken == 0 })
}

func (d *double) send(p []byte) {
	d.sending.Lock()
	defer d.sending.Unlock()
	for len(p) > 0 {
		n := min(len(p), cutAt)
		_ = d.ws.WriteMessage(websocket.BinaryMessage, p[:n]) // who reads hears of it
		p = p[n:]
	}
}

func (d *double) run() {
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, conn := range d.conns {
			conn.Close()
		}
	}()
	for {
		_, b, err := d.ws.ReadMessage()
		if err != nil {
			return
		}
		m, err := tunnelrig.Parse(b)
		if err != nil {
			d.t.Error(err)
			return
		}
		switch m.Type {
		case "http_request":
			d.send([]byte(`{"type":"http_response","id":"` + m.ID + `","status":400}`))
		case "tcp_open":
			d.open(m.ConnID)
		case "data":
			d.mu.Lock()
			conn := d.conns[m.ConnID]
			d.mu.Unlock()
			if conn == nil {
				continue
			}
			if _, err := conn.Write(m.Data); err != nil {
				d.letGo(m.ConnID)
			}
		}
	}
}

func (d *double) open(id string) {
	conn, err := net.Dial("tcp4", d.service)
	if err != nil {
		d.send([]byte(`{"type":"tcp_close","connId":"` + id + `"}`))
		return
	}
	d.mu.Lock()
	d.conns[id] = conn
	d.opened++
	d.mu.Unlock()
	d.running.Go(func() {
		buf := make([]byte, 32<<10)
		for {
			n, err := conn.Read(buf)
			if n > 0 {
				d.send(tunnelrig.Data(id, buf[:n]))
			}
			if err != nil {
				return
			}
		}
	})
}

func (d *double) letGo(id string) {
	d.mu.Lock()
	d.conns[id].Close()
	delete(d.conns, id)
	d.mu.Unlock()
	d.send([]byte(`{"type":"tcp_close","connId":"` + id + `"}`))
}

// visit opens a WebSocket to the service.
func (d *double) visit(h *tunnelrig.House) *websocket.Conn {
	d.t.Helper()
	dialer := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return net.Dial("tcp4", h.Address) }}
	ws, _, err := dialer.Dial("ws://"+d.host+"/", nil)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { ws.Close() })
	_ = ws.SetReadDeadline(time.Now().Add(testkit.Patience))
	return ws
}

// ask sends a request to the service. Its body comes to be closed.
func (d *double) ask(h *tunnelrig.House, method string, header http.Header, body io.Reader) (*http.Response, error) {
	r, err := http.NewRequestWithContext(d.t.Context(), method, "http://"+h.Address+"/", body)
	if err != nil {
		d.t.Fatal(err)
	}
	r.Host = d.host
	if header != nil {
		r.Header = header
	}
	transport := &http.Transport{DisableKeepAlives: true}
	return transport.RoundTrip(r)
}

// gateway answers requests with what a rig's client says of them. The test is
// the handler, too.
func (r *rig) gateway() *httptest.Server {
	g := forward.NewGateway(forward.Settings{
		Root: r.System.Root, Limits: r.Tunnel.PID,
		Handler: func(string, bool) *actor.PID { return r.Handler.PID }, Exists: func(*actor.PID) bool { return true },
		Sources:     netpolicy.NewSources(nil),
		HTTPTimeout: testkit.Patience, MaxBody: 1 << 20, Refused: deafMeter{}, Log: slog.New(slog.DiscardHandler),
	})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		g.Forward(w, request, "0123456789abcdef")
	}))
	r.T.Cleanup(func() {
		server.CloseClientConnections() // of a test that has failed
		server.Close()
	})
	return server
}
