package e2e

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// A doorway is another way to a server than bare TCP.
type doorway struct {
	dial   func(context.Context, string, string) (net.Conn, error)
	scheme string // ws or wss
	host   string // of URLs
	header http.Header
}

func (d doorway) open(t *testing.T, pathAndQuery string) *websocket.Conn {
	t.Helper()
	dialer := websocket.Dialer{HandshakeTimeout: patience, NetDialContext: d.dial, NetDialTLSContext: d.dial}
	ws, response, err := dialer.Dial(d.scheme+"://"+d.host+pathAndQuery, d.header)
	if err != nil {
		t.Fatalf("%s: %v, %v", pathAndQuery, err, response)
	}
	t.Cleanup(func() { ws.Close() })
	return ws
}

// client asks over the doorway.
func (d doorway) client(t *testing.T) *http.Client {
	transport := &http.Transport{DialContext: d.dial, DialTLSContext: d.dial}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}

// wantWhole has everything go through a doorway: bytes of a relay both ways, a tunnel's
// HTTP in both manners, and an orderly end. It returns the tunnel.
func (d doorway) wantWhole(t *testing.T, s *server) *tunnelClient {
	t.Helper()
	_, query, _ := strings.Cut(relayURL(s, echoServer(t)), "/relay")
	relay := d.open(t, "/relay"+query)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 64<<10) // 1 MiB
	go func() {
		for rest := sent; len(rest) > 0; rest = rest[min(len(rest), 50_000):] {
			_ = relay.WriteMessage(websocket.BinaryMessage, rest[:min(len(rest), 50_000)])
		}
	}()
	_ = relay.SetReadDeadline(time.Now().Add(patience))
	var got []byte
	for len(got) < len(sent) {
		_, p, err := relay.ReadMessage()
		if err != nil {
			t.Fatalf("after %d bytes: %v", len(got), err)
		}
		got = append(got, p...)
	}
	if !bytes.Equal(got, sent) {
		t.Error("the relay brings other bytes")
	}
	_ = relay.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(patience))
	if _, _, err := relay.ReadMessage(); !websocket.IsCloseError(err, 1000) {
		t.Errorf("the relay ends with %v", err)
	}

	headers := make(chan map[string]string, 1)
	tunnel := tunnelOn(t, d.open(t, "/tunnel"), tunnelScript{http: func(c *tunnelClient, m tunnelMessage) {
		select {
		case headers <- m.Headers:
		default:
		}
		c.answer(m, http.StatusOK, m.Path)
	}})
	request, _ := http.NewRequest(http.MethodPost, strings.Replace(d.scheme, "ws", "http", 1)+"://"+d.host+"/some/path", strings.NewReader(strings.Repeat("x", 100_000)))
	request.Host = tunnel.host
	answer, err := d.client(t).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(body), "/some/path") {
		t.Errorf("the tunnel answers %d %.100q, %v", answer.StatusCode, body, err)
	}
	if proto := (<-headers)["X-Forwarded-Proto"]; proto != request.URL.Scheme {
		t.Errorf("the service is told of %s", proto)
	}
	return tunnel
}
