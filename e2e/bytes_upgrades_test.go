package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// upgradeService takes any upgrade to a token, and then sends back what came once
// the other side has ended. A request without one gets its head back.
func upgradeService(t *testing.T, token string) string {
	t.Helper()
	return rawService(t, func(conn *net.TCPConn, head string) {
		if !strings.Contains(head, "\r\nUpgrade: "+token+"\r\n") {
			_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(head), head)
			return
		}
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", token)
		all, err := io.ReadAll(conn)
		if err == nil {
			_, _ = conn.Write(all)
		}
	})
}

// An upgrade that doesn't pass leaves a request like any other.
func TestBytesUpgradesThatDoNotPass(t *testing.T) {
	t.Parallel()
	r := newBytesRigTo(t, upgradeService(t, "never"), "")
	for name, lines := range map[string][]string{
		"h2c":                {"GET / HTTP/1.1", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"},
		"HTTP/2.0":           {"GET / HTTP/1.1", "Connection: Upgrade", "Upgrade: HTTP/2.0"},
		"TLS/1.0":            {"GET / HTTP/1.1", "Connection: Upgrade", "Upgrade: TLS/1.0"},
		"two in a line":      {"GET / HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket, h2c"},
		"two lines":          {"GET / HTTP/1.1", "Connection: Upgrade", "Upgrade: websocket", "Upgrade: other"},
		"HTTP/1.0":           {"GET / HTTP/1.0", "Connection: Upgrade", "Upgrade: websocket"},
		"without Connection": {"GET / HTTP/1.1", "Upgrade: websocket"},
		"no token":           {"GET / HTTP/1.1", "Connection: Upgrade", "Upgrade: a b"},
	} {
		t.Run(name, func(t *testing.T) {
			wire := r.wire(t)
			wire.say(t, append(lines, "Host: "+r.c.host)...)
			reply := wire.hear(t, "GET")
			if reply.status != 200 {
				t.Fatalf("the answer is %d %q", reply.status, reply.body)
			}
			head := strings.ToLower(reply.body)
			if strings.Contains(head, "upgrade") || strings.Contains(head, "http2-settings") {
				t.Errorf("the service gets %q", reply.body)
			}
		})
	}
}

// 101 is an answer to an upgrade alone, and with its token.
func TestBytesUpgradesNotAsked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ asked, answered string }{
		"not asked":    {"", "Connection: Upgrade\r\nUpgrade: websocket\r\n"},
		"another":      {"websocket", "Connection: Upgrade\r\nUpgrade: other\r\n"},
		"two":          {"websocket", "Connection: Upgrade\r\nUpgrade: websocket, other\r\n"},
		"none":         {"websocket", "Connection: Upgrade\r\n"},
		"no upgrade":   {"websocket", "Upgrade-Insecure: x\r\n"},
		"asked for h2": {"h2c", "Connection: Upgrade\r\nUpgrade: h2c\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newBytesRigTo(t, saysAndEnds(t, "HTTP/1.1 101 Switching Protocols\r\n"+c.answered+"\r\nsmuggled bytes", false), "")
			lines := []string{"GET / HTTP/1.1", "Host: " + r.c.host}
			if c.asked != "" {
				lines = append(lines, "Connection: Upgrade", "Upgrade: "+c.asked)
			}
			wire := r.wire(t)
			wire.say(t, lines...)
			if reply := wire.hear(t, "GET"); reply.status != 502 || strings.Contains(reply.body, "smuggled") {
				t.Errorf("the answer is %d %q", reply.status, reply.body)
			}
		})
	}
}

// A service that says no to an upgrade is heard, and its connection serves on.
func TestBytesUpgradeRefused(t *testing.T) {
	t.Parallel()
	r := newBytesRig(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Upgrade", "websocket")
		http.Error(w, "not today", http.StatusUpgradeRequired)
	}))
	wire := r.wire(t)
	for range 3 {
		wire.say(t, "GET / HTTP/1.1", "Host: "+r.c.host, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Version: 13")
		if reply := wire.hear(t, "GET"); reply.status != 426 || reply.body != "not today\n" {
			t.Fatalf("the answer is %d %q", reply.status, reply.body)
		}
	}
}

// What follows 101 in the same packet belongs to the new protocol, either way.
func TestBytesUpgradeFirstBytes(t *testing.T) {
	t.Parallel()
	service := rawService(t, func(conn *net.TCPConn, _ string) {
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: Own-Protocol\r\n\r\nfirst")
		line, _ := bufio.NewReader(conn).ReadString('\n')
		_, _ = io.WriteString(conn, " then "+line)
	})
	r := newBytesRigTo(t, service, "")
	wire := r.wire(t)
	if _, err := io.WriteString(wire, "GET / HTTP/1.1\r\nHost: "+r.c.host+"\r\nConnection: keep-alive, Upgrade\r\nUpgrade: own-protocol\r\n\r\nat once\n"); err != nil {
		t.Fatal(err)
	}
	if response, err := http.ReadResponse(wire.in, nil); err != nil || response.StatusCode != 101 {
		t.Fatalf("%v, %v", response, err)
	}
	if rest, err := io.ReadAll(wire.in); string(rest) != "first then at once\n" || err != nil {
		t.Errorf("then comes %q, %v", rest, err)
	}
}
