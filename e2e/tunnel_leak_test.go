package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// tunnelMetric returns a figure of the server's metrics.
func tunnelMetric(t *testing.T, client *http.Client, address, name string) (value float64) {
	t.Helper()
	response, err := client.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			if _, err := fmt.Sscan(rest, &value); err != nil {
				t.Fatal(err)
			}
			return value
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}

// A thousand tunnels that end in every way leave nothing.
func TestTunnelLeaks(t *testing.T) {
	t.Parallel()
	first := tunnelPorts(t, 3)
	s := tunnelServer(t, "METRICS_ADDR=127.0.0.1:0", "TUNNEL_MAX_BODY=64KiB",
		fmt.Sprintf("TUNNEL_PORT_MIN=%d", first), fmt.Sprintf("TUNNEL_PORT_MAX=%d", first+2))
	metrics, _ := s.waitLog(t, `"msg":"metrics are served"`)["address"].(string)
	client := tunnelHTTP(t)
	descriptors := func() int {
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.pid))
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	goroutines := func() int { return int(tunnelMetric(t, client, metrics, "go_goroutines")) }

	ends := []func(c *tunnelClient){
		func(c *tunnelClient) { c.bye(t) },
		func(c *tunnelClient) { c.ws.Close() }, // without a close frame
		func(c *tunnelClient) { // a reset
			_ = c.ws.NetConn().(*net.TCPConn).SetLinger(0)
			c.ws.Close()
		},
		func(c *tunnelClient) { _ = c.ws.NetConn().(*net.TCPConn).CloseWrite() },
		func(c *tunnelClient) { _, _ = c.ws.NetConn().Write([]byte{0xff, 0x81, 0, 0, 0, 0, 'x'}) },   // no frame
		func(c *tunnelClient) { _ = c.write(websocket.BinaryMessage, make([]byte, 2*64<<10+2<<20)) }, // too large
		func(c *tunnelClient) { // without an answer to what waits
			tunnelStart(t, client, s, c.host, "/", nil, nil)
			tunnelStart(t, client, s, c.host, "/", nil, []byte("x"))
			c.ws.Close()
		},
		func(c *tunnelClient) { // with data that waits
			if c.port != 0 {
				_, inside := tunnelPair(t, c)
				_, _ = inside.Write(make([]byte, tunnelWindow))
			}
			c.ws.Close()
		},
		func(c *tunnelClient) { // with connections in every state
			for i := 0; i < 3 && c.port != 0; i++ {
				outside, inside := tunnelPair(t, c)
				_, _ = io.WriteString(outside, "x")
				_, _ = io.WriteString(inside, "y")
				switch i {
				case 0:
					outside.CloseWrite()
				case 1:
					_ = inside.Close()
				}
			}
			c.bye(t)
		},
	}
	round := func(n int) {
		for i := range n {
			script := tunnelScript{query: []string{"", "flow=credit"}[i/len(ends)%2]}
			if i%len(ends) == 6 {
				script.http = func(*tunnelClient, tunnelMessage) {}
			}
			c := tunnelOpen(t, s, script)
			ends[i%len(ends)](c)
			c.waitEnd(t)
			if i%20 == 0 { // one that never becomes a WebSocket
				if status := tunnelStatus(t, s, "", "", false); status != 426 {
					t.Fatal(status)
				}
			}
		}
		eventually(t, patience, "no tunnel is left", func() bool {
			return tunnelMetric(t, client, metrics, "wsproxy_tunnels") == 0 && tunnelMetric(t, client, metrics, "wsproxy_raw_connections") == 0
		})
	}
	settled := func(what string, most int, now func() int) {
		t.Helper()
		n := 0
		defer func() {
			if n > most {
				t.Logf("%s: %d, were %d", what, n, most)
			}
		}()
		eventually(t, patience, what, func() bool {
			client.CloseIdleConnections()
			n = now()
			return n <= most
		})
	}
	g, fd := goroutines(), descriptors()
	round(1000)
	settled("goroutines", g+8, goroutines) // so many workers wait for the next mailbox at most
	settled("descriptors", fd+2, descriptors)
	ports := map[int]bool{}
	for range 3 {
		ports[tunnelOpen(t, s, tunnelScript{}).port] = true
	}
	if len(ports) != 3 || ports[0] {
		t.Errorf("the ports then are %v", ports)
	}
}
