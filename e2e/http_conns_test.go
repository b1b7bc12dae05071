package e2e

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// What strangers may take of the HTTP listener.

// startLow is tunnelServer for a process that has few descriptors.
func startLow(t *testing.T, descriptors int, env ...string) *server {
	t.Helper()
	script := filepath.Join(t.TempDir(), "wsproxy")
	text := fmt.Sprintf("#!/bin/sh\nulimit -n %d && exec '%s'\n", descriptors, binaryPath)
	if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	first := tunnelPorts(t, 8)
	s := launchBinary(t, script, append([]string{
		"TUNNEL_DOMAIN=" + tunnelDomain, "TUNNEL_BIND=127.0.0.1", "MAX_CONNS_PER_IP=0", allowLoopback(),
		fmt.Sprintf("TUNNEL_PORT_MIN=%d", first), fmt.Sprintf("TUNNEL_PORT_MAX=%d", first+7),
	}, env...)...)
	s.addr, _ = s.waitLog(t, `"msg":"listening"`)["address"].(string)
	return s
}

// idler opens keep-alive connections from an address of this host, and keeps
// them until the test ends, whether or not the server does.
func idler(t *testing.T, s *server, from string, n int, asks bool) {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: patience}
	for range n {
		conn, err := dialer.Dial("tcp4", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		if !asks {
			continue
		}
		_ = conn.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		if n, err := conn.Read(make([]byte, 4096)); n == 0 || err != nil {
			t.Fatalf("a connection that is the newest is not answered: %v", err)
		}
	}
}

// Whoever leaves connections idle takes nothing from others: neither one address
// nor fifty, and not when there are few descriptors.
func TestIdleConnectionsGiveWay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name                      string
		descriptors, addresses, n int
		asks                      bool
	}{
		{"one address", 512, 1, 1000, true},
		{"one address that asks nothing", 256, 1, 1000, false},
		{"fifty addresses", 256, 50, 20, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := startLow(t, c.descriptors)
			relay, _, err := dialWS(t, relayURL(s, echoServer(t)), nil)
			if err != nil {
				t.Fatal(err)
			}
			tunnel := tunnelOpen(t, s, tunnelScript{})
			outside, inside := tunnelPair(t, tunnel)
			goOn := func() {
				t.Helper()
				if r := ask(t, s, "GET", "/health"); r.status != 200 {
					t.Errorf("/health: %d", r.status)
				}
				_ = relay.SetReadDeadline(time.Now().Add(patience))
				if err := relay.WriteMessage(websocket.BinaryMessage, []byte("echo")); err != nil {
					t.Fatal(err)
				}
				if _, data, err := relay.ReadMessage(); err != nil || string(data) != "echo" {
					t.Fatalf("the relay: %q, %v", data, err)
				}
				if _, err := outside.Write([]byte("raw")); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(inside, make([]byte, 3)); err != nil {
					t.Fatalf("the raw connection: %v", err)
				}
			}
			goOn()
			for i := range c.addresses {
				idler(t, s, fmt.Sprintf("127.0.1.%d", 1+i), c.n, c.asks)
			}
			goOn()
			tunnelPair(t, tunnel)
			if ws, _, err := dialWS(t, relayURL(s, echoServer(t)), nil); err != nil {
				t.Errorf("another relay: %v", err)
			} else {
				goodbye(t, ws)
			}
			if lines := s.logLines("Accept error"); len(lines) > 0 {
				t.Errorf("the descriptors were used up: %v", lines[0])
			}
		})
	}
}

// A peer that keeps its connections busy has no more than its bound; others go on.
func TestBusyConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "MAX_HTTP_CONNS_PER_IP=3")
	c, held := tunnelHeld(t, s, "")
	from := func(address string) net.Conn {
		t.Helper()
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: patience}
		conn, err := dialer.Dial("tcp4", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(patience))
		return conn
	}
	for i := range 3 {
		if _, err := io.WriteString(from("127.0.1.1"), "GET / HTTP/1.1\r\nHost: "+c.host+"\r\n\r\n"); err != nil {
			t.Fatal(i, err)
		}
		tunnelTake(t, held) // it is under way, and never answered
	}
	eventually(t, patience, "a fourth connection is closed", func() bool {
		conn := from("127.0.1.1")
		_, _ = io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		n, _ := conn.Read(make([]byte, 1))
		return n == 0
	})
	conn := from("127.0.1.2")
	_, _ = io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
	if n, err := conn.Read(make([]byte, 4096)); n == 0 {
		t.Errorf("another peer: %v", err)
	}
}
