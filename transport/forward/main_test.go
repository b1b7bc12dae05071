package forward

import (
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/buffers"
	"wsproxy/internal/testkit/tunnelrig"
	"wsproxy/messages"
	"wsproxy/messages/refused"
	"wsproxy/netpolicy"
	"wsproxy/transport/budget"
	"wsproxy/transport/tunnel"
	"wsproxy/transport/wsock"
)

// pooled knows all buffers of the tests.
var pooled buffers.BufferCount

func TestMain(m *testing.M) {
	wsock.TrackBuffers(pooled.Made)
	testkit.VerifyMain(m)
}

type meter struct {
	mu      sync.Mutex
	refused []messages.Reason
	last    refused.Refusal
}

func (m *meter) Refused(no refused.Refusal) {
	m.mu.Lock()
	defer m.mu.Unlock()
	reason := no.Reason
	if no.Endpoint != refused.HTTP || !refused.IsKnown(no.Endpoint, reason) {
		reason += ", which the table has not"
	}
	m.refused, m.last = append(m.refused, reason), no
}

// newGateway is as much of a gateway as works without actors. It trusts
// 10.0.0.0/8.
func newGateway(credentials bool) *Gateway {
	return NewGateway(Settings{
		Sources: netpolicy.NewSources([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}), ForwardCredentials: credentials,
		HTTPTimeout: testkit.Patience, MaxBody: 1 << 20, Refused: &meter{}, Log: slog.New(slog.DiscardHandler),
	})
}

// newHouse is a house with a gateway.
func newHouse(t testing.TB, total int64, timeout time.Duration) *tunnelrig.House {
	t.Helper()
	return tunnelrig.NewHouse(t, tunnelrig.HouseSettings{
		Dialect: func(*tunnel.Mux) tunnel.Dialect { return tunnel.Text }, Total: total, Timeout: timeout,
		Forward: func(h *tunnelrig.House) func(http.ResponseWriter, *http.Request, string) {
			g := newGateway(false)
			g.settings.Root, g.settings.Limits, g.settings.Handler, g.settings.Exists, g.settings.HTTPTimeout = h.System.Root, h.Limits, h.Handler, h.Exists, timeout
			return g.Forward
		},
	})
}

// reserve takes n bytes of a budget.
func reserve(memory *budget.Budget, n int64) budget.Reservation {
	r := memory.Reserved(0)
	r.Keep(n)
	return r
}

func list(pairs ...string) (f []messages.Field) {
	for pair := range slices.Chunk(pairs, 2) {
		f = append(f, messages.Field{Name: pair[0], Value: pair[1]})
	}
	return f
}

func connect(t *testing.T, server *httptest.Server) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp4", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * testkit.Patience))
	return conn.(*net.TCPConn)
}
