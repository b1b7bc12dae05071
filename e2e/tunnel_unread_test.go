package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// tunnelPlain makes the tests' server one that was built without the race
// detector, whose shadow memory would hide what the server itself takes.
func tunnelPlain(t *testing.T, env ...string) *server {
	t.Helper()
	path, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	first := tunnelPorts(t, 2)
	s := launchBinary(t, path, append([]string{
		"TUNNEL_DOMAIN=" + tunnelDomain, "TUNNEL_BIND=127.0.0.1", "MAX_CONNS_PER_IP=0",
		fmt.Sprintf("TUNNEL_PORT_MIN=%d", first), fmt.Sprintf("TUNNEL_PORT_MAX=%d", first+1),
	}, env...)...)
	s.addr, _ = s.waitLog(t, `"msg":"listening"`)["address"].(string)
	return s
}

// Requests for a client that doesn't read, whose outside clients have long
// gone, take no memory: neither their bodies nor their headers.
func TestTunnelRequestsNobodyWaitsFor(t *testing.T) {
	t.Parallel()
	// Of which requests have three quarters of a quarter: enough for one message that
	// is being written, and for another with its body.
	const total, most = 64 << 20, 100 << 20
	s := tunnelPlain(t, "TUNNEL_BUFFER_TOTAL=64MiB", "TUNNEL_BUFFER=32MiB", "TUNNEL_HTTP_TIMEOUT=400ms")
	release := make(chan struct{})
	c := tunnelOpen(t, s, tunnelScript{read: func(*tunnelClient, int) bool { <-release; return true }})
	t.Cleanup(func() { close(release) })
	body := bytes.Repeat([]byte("b"), 3<<20)
	seen := map[string]int{}
	for i := range 32 {
		wire := tunnelWireTo(t, s)
		lines := []string{"POST / HTTP/1.1", "Host: " + c.host, fmt.Sprintf("Content-Length: %d", len(body))}
		post := i%4 < 3
		if !post {
			lines = []string{"GET / HTTP/1.1", "Host: " + c.host, "X-Long: " + strings.Repeat(`"`, 60<<10)}
		}
		wire.say(t, lines...)
		if post {
			_, _ = wire.Write(body)
		}
		seen[fmt.Sprint(post, wire.hear(t, "POST").status)]++
		wire.Close()
		if held := s.resident(t); held > most {
			t.Fatalf("after %d requests %d MiB are resident, with %d MiB for all bodies", i+1, held>>20, total>>20)
		}
	}
	if seen["true 504"] < 16 || seen["false 504"] < 4 { // bodies may come too late on a busy machine
		t.Errorf("the answers are %v", seen)
	}
	if reply := tunnelGet(t, tunnelHTTP(t), s, tunnelOpen(t, s, tunnelScript{}).host, "/x"); reply.body != "/x" {
		t.Errorf("another tunnel answers %+v", reply)
	}
}

// Outside clients that take no answers from one tunnel do not hold up another:
// neither its raw connections, nor its small answers.
func TestTunnelAnswersNobodyReadsHoldUpNoOtherTunnel(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "TUNNEL_BUFFER_TOTAL=16MiB", "TUNNEL_BUFFER=16MiB", "TUNNEL_STALL_TIMEOUT=60s", "MAX_TUNNEL_HTTP_PER_IP=1000")
	big := strings.Repeat("x", 9<<20)
	a := tunnelOpen(t, s, tunnelScript{http: func(c *tunnelClient, m tunnelMessage) { c.answer(m, 200, big) }})
	client := tunnelHTTP(t)
	for _, query := range []string{"flow=credit", ""} {
		b := tunnelOpen(t, s, tunnelScript{query: query})
		outside, inside := tunnelPair(t, b)
		body := strings.Repeat("y", 2<<20)
		eventually(t, 2*patience, "all memory is held", func() bool {
			wire := tunnelWireTo(t, s)
			_ = wire.SetReadBuffer(4096)
			wire.say(t, "GET / HTTP/1.1", "Host: "+a.host)
			reply, err := tunnelAsk(client, s, "POST", b.host, "/b", nil, strings.NewReader(body))
			return err == nil && reply.status == 503
		})
		began := time.Now()
		for i := range 100 {
			word := fmt.Sprintf("%08d", i)
			got := make([]byte, len(word))
			if _, err := io.WriteString(inside, word); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(outside, got); err != nil || string(got) != word {
				t.Fatalf("%q comes out: %v", got, err)
			}
			if reply := tunnelGet(t, client, s, b.host, "/"+word); reply.body != "/"+word {
				t.Fatalf("the tunnel answers %+v", reply)
			}
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("100 words took %v", took)
		}
		b.bye(t)
	}
}

// An answer without a body gets as long as one with a body, and so does one of
// the proxy's own: who takes none keeps neither a slot of the tunnel nor, in the
// end, a connection.
func TestTunnelAnswersWithoutABodyNobodyReads(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "TUNNEL_HTTP_TIMEOUT=1s", "MAX_TUNNEL_HTTP=1", "TRUSTED_PROXIES=127.0.0.1")
	other := http.Header{"X-Forwarded-For": {"203.0.113.5"}} // who has no more of the slots than the first
	long := strings.Repeat("x", 8<<10-1)
	var asked atomic.Int32
	c := tunnelOpen(t, s, tunnelScript{http: func(c *tunnelClient, m tunnelMessage) {
		asked.Add(1)
		_ = c.send(tunnelJSON{"type": "http_response", "id": m.ID, "status": 204, "headers": tunnelJSON{"X-Long": []string{long, long, long, long}}})
	}})
	client := tunnelHTTP(t)
	enough := make(chan struct{})
	stop := sync.OnceFunc(func() { close(enough) })
	t.Cleanup(stop)
	go func() { // each connection is cut after a while
		requests := []byte(strings.Repeat("GET / HTTP/1.1\r\nHost: "+c.host+"\r\n\r\n", 100))
		for {
			select {
			case <-enough:
				return
			default:
			}
			conn, err := net.Dial("tcp4", s.addr)
			if err != nil {
				return
			}
			_ = conn.(*net.TCPConn).SetReadBuffer(4096)
			for err == nil {
				_, err = conn.Write(requests)
			}
			conn.Close()
		}
	}()
	ask := func(want int) func() bool {
		return func() bool {
			reply, err := tunnelAsk(client, s, "HEAD", c.host, "/", other, nil)
			return err == nil && reply.status == want
		}
	}
	eventually(t, patience, "its answers are not taken", func() bool {
		before := asked.Load()
		for range 20 {
			if !ask(503)() {
				return false
			}
		}
		return asked.Load() == before
	})
	stop()
	eventually(t, patience, "the slot is free again", ask(204))
}
