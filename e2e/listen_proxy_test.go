package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// A proxy that passes TCP names the client in a header: on the HTTP listener, and on raw
// ports. The server's own health check sends one, too.
func TestProxyProtocol(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "PROXY_PROTOCOL=on", "TUNNEL_PROXY_PROTOCOL=on", "TRUSTED_PROXIES=127.0.0.1/32", allowLoopback())

	dial := func(header string) *net.TCPConn {
		t.Helper()
		conn, err := net.Dial("tcp4", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(patience))
		_, _ = io.WriteString(conn, header)
		return conn.(*net.TCPConn)
	}
	dialer := websocket.Dialer{HandshakeTimeout: patience, NetDialContext: func(context.Context, string, string) (net.Conn, error) {
		return dial("PROXY TCP4 203.0.113.9 127.0.0.1 12345 8080\r\n"), nil
	}}
	relay, _, err := dialer.Dial(relayURL(s, echoServer(t)), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	if err := relay.WriteMessage(websocket.BinaryMessage, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, got, err := relay.ReadMessage(); err != nil || string(got) != "hello" {
		t.Errorf("the relay brings %q, %v", got, err)
	}
	if source := s.waitLog(t, `"relay started"`)["source"]; source != "203.0.113.9" {
		t.Errorf("the relay is of %v", source)
	}

	from := func(text string) *http.Response {
		t.Helper()
		answer, _ := http.ReadResponse(bufio.NewReader(dial(text)), nil)
		return answer
	}
	const health = "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	if answer := from("\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00" + health); answer == nil || answer.StatusCode != http.StatusOK {
		t.Errorf("a proxy's own request: %v", answer)
	}
	if answer := from(health); answer != nil {
		t.Errorf("without a header: %v", answer)
	}
	_, port, _ := net.SplitHostPort(s.addr)
	if code, _, stderr := runCommand(t, []string{"BIND=127.0.0.1", "PORT=" + port, "PROXY_PROTOCOL=on", "TRUSTED_PROXIES=127.0.0.1/32"}, "healthcheck"); code != 0 {
		t.Errorf("healthcheck: %d, %s", code, stderr)
	}

	control, _, err := dialer.Dial(s.ws("/tunnel"), nil)
	if err != nil {
		t.Fatal(err)
	}
	tunnel := tunnelOn(t, control, tunnelScript{})
	raw, err := net.Dial("tcp4", fmt.Sprintf("127.0.0.1:%d", tunnel.port))
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	_, _ = io.WriteString(raw, "PROXY TCP4 198.51.100.7 127.0.0.1 4321 22\r\nhello")
	inside := tunnel.next(t)
	got := make([]byte, 5)
	if _, err := io.ReadFull(inside, got); err != nil || string(got) != "hello" || !strings.HasPrefix(inside.remote, "198.51.100.7:") {
		t.Errorf("the raw connection is of %s and says %q, %v", inside.remote, got, err)
	}
}
