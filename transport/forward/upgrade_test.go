package forward

import (
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"
	"weak"

	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/tunnelrig"
	"wsproxy/messages"
	"wsproxy/transport/service"
	"wsproxy/transport/tunnel"
)

// What a request has become keeps nothing of the request, whose header may have
// 64 KiB: it may last for days, and that would count nowhere.
func TestUpgradedKeepsNoRequest(t *testing.T) {
	t.Parallel()
	r := tunnelrig.New(t, func(*tunnel.Mux) tunnel.Dialect { return tunnel.Text })
	pipe, err := r.Mux.OpenPipe("192.0.2.1:5", messages.ProtocolHTTP, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	stream := testkit.Hears[*messages.Accepted](r.Handler).Stream
	stream.Own(testkit.NewEar(t, r.System).PID)
	stream.Open()
	g := newGateway(false)
	g.settings.Root, g.settings.HTTPTimeout = r.System.Root, time.Minute
	request := httptest.NewRequest("GET", "/", nil)
	request.Header.Set("X-Long", strings.Repeat("x", 60_000))
	x := &exchange{gateway: g, w: httptest.NewRecorder(), r: request, handler: r.Handler.PID, id: "1"}
	outside, conn := testkit.TCPPair(t)
	const head = "HTTP/1.1 101 Switching Protocols\r\n\r\n"
	lease, _ := service.NewPool(service.Settings{Open: func(string) (service.Conn, error) { return service.Plain{Pipe: pipe}, nil }}).Open("")
	rt := &roundTrip{x: x, conn: lease}
	kept := weak.Make(rt)
	rt.connect(conn, []byte(head), nil)
	rt = nil
	if runtime.GC(); kept.Value() != nil {
		t.Error("the round trip is kept")
	}
	if x.r != nil || x.w != (http.ResponseWriter)(nil) {
		t.Error("the request is kept")
	}
	if got, err := io.ReadAll(io.LimitReader(outside, int64(len(head)))); string(got) != head || err != nil {
		t.Errorf("outside hears %q, %v", got, err)
	}
	if m := testkit.Hears[*messages.RequestUpgraded](r.Handler); m.Stream != stream {
		t.Error("the handler is told of another stream")
	}
	x.Revoke()
	testkit.Hears[*messages.RequestEnded](r.Handler)
}
