package e2e

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// While the server drains, existing tunnels go on. At the time-out pending
// requests get 503, clients 1001, raw connections a reset.
func TestTunnelDrain(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "SHUTDOWN_TIMEOUT=3s", "MAX_TUNNEL_HTTP_PER_IP=200")
	var tunnels []*tunnelClient
	for _, query := range []string{"", "flow=credit"} {
		tunnels = append(tunnels, tunnelOpen(t, s, tunnelScript{query: query, http: func(c *tunnelClient, m tunnelMessage) {
			if !strings.HasPrefix(m.Path, "/pending") {
				c.answer(m, 200, m.Path)
			}
		}}))
	}
	client := tunnelHTTP(t)
	s.signal(syscall.SIGTERM)
	eventually(t, patience, "draining", func() bool { return tunnelGet(t, client, s, "", "/health").status == 503 })
	var waiting []tunnelWaiting
	var read []<-chan error
	for _, c := range tunnels {
		if reply := tunnelGet(t, client, s, c.host, "/x"); reply.body != "/x" {
			t.Errorf("while draining a tunnel answers %+v", reply)
		}
		outside, inside := tunnelPair(t, c)
		go tunnelEcho(c, inside)
		if _, err := tunnelPing(outside); err != nil {
			t.Errorf("while draining: %v", err)
		}
		ended := make(chan error, 1)
		go func() {
			_, err := outside.Read(make([]byte, 1))
			ended <- err
		}()
		read = append(read, ended)
		for range 20 {
			waiting = append(waiting, tunnelStart(t, client, s, c.host, "/pending", nil, nil))
			waiting = append(waiting, tunnelStart(t, client, s, c.host, "/pending", nil, []byte("body")))
		}
	}
	half := tunnelWireTo(t, s) // a request whose body is still coming
	half.say(t, "POST /pending HTTP/1.1", "Host: "+tunnels[0].host, "Content-Length: 10")
	for _, w := range waiting {
		if reply := w.get(t); reply.status != 503 || reply.header.Get("Retry-After") == "" {
			t.Errorf("a pending request got %d, %v", reply.status, reply.header)
		}
	}
	if reply := half.hear(t, "POST"); reply.status != 503 {
		t.Errorf("half a request got %d", reply.status)
	}
	for _, c := range tunnels {
		if code := c.waitEnd(t); code != websocket.CloseGoingAway {
			t.Errorf("the client gets %d: %v", code, c.err)
		}
	}
	for _, ended := range read {
		if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("a raw connection ends with %v", err)
		}
	}
	if code := s.wait(patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// An answer that came just before the last tunnel ended is passed on whole.
func TestTunnelDrainLastAnswer(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "SHUTDOWN_TIMEOUT=1m") // a busy machine takes seconds for the answer
	body := strings.Repeat("x", 8<<20)
	c := tunnelOpen(t, s, tunnelScript{http: func(c *tunnelClient, m tunnelMessage) {
		s.signal(syscall.SIGTERM)
		c.answer(m, 200, body)
		_ = c.write(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
	}})
	wire := tunnelWireTo(t, s)
	wire.say(t, "GET / HTTP/1.1", "Host: "+c.host)
	c.waitEnd(t)
	if reply := wire.hear(t, "GET"); reply.status != 200 || reply.body != body {
		t.Errorf("the answer is %d, %d bytes", reply.status, len(reply.body))
	}
	if code := s.wait(patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// Nothing holds the end up: neither a client that doesn't read, nor peers that
// don't.
func TestTunnelDrainStuck(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "SHUTDOWN_TIMEOUT=500ms")
	c := tunnelOpen(t, s, tunnelScript{})
	for range 3 {
		_, inside := tunnelPairBuffer(t, c, 4096)
		go tunnelFlood(inside)
	}
	gate := make(chan struct{})
	unread := tunnelOpen(t, s, tunnelScript{read: func(*tunnelClient, int) bool {
		<-gate
		return false
	}})
	t.Cleanup(func() { close(gate) })
	for range 3 {
		outside := tunnelDial(t, unread.port)
		go func() { _, _ = io.CopyN(struct{ io.Writer }{outside}, tunnelNoise(1), 16<<20) }()
	}
	big := bytes.Repeat([]byte("b"), 1<<20)
	for range 8 {
		tunnelStart(t, tunnelHTTP(t), s, unread.host, "/", nil, big)
	}
	s.signal(syscall.SIGTERM)
	began := time.Now()
	if code := s.wait(patience); code != 0 || elapsed(began) > 15*time.Second {
		t.Errorf("exit code %d after %v", code, time.Since(began))
	}
}

// atOnce is how long the end may take that is to come at once: less than any
// time that the server waits for anything at its end.
const atOnce = 900 * time.Millisecond

// A second signal ends it at once, whatever is under way: before the time of the
// drain is up, and after that.
func TestTunnelDrainTwice(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]string{"while draining": "SHUTDOWN_TIMEOUT=60s", "at the end": "SHUTDOWN_TIMEOUT=10ms"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tunnelServer(t, env)
			c, held := tunnelHeld(t, s, "")
			if name == "at the end" { // which a client that doesn't read holds up
				gate := make(chan struct{})
				tunnelOpen(t, s, tunnelScript{read: func(*tunnelClient, int) bool {
					<-gate
					return false
				}})
				t.Cleanup(func() { close(gate) })
			}
			tunnelPair(t, c)
			tunnelWireTo(t, s) // asks for nothing
			tunnelStart(t, tunnelHTTP(t), s, c.host, "/pending", nil, nil)
			tunnelTake(t, held)
			tunnelWireTo(t, s).say(t, "POST /pending HTTP/1.1", "Host: "+c.host, "Content-Length: 10")
			s.signal(syscall.SIGINT)
			s.waitLog(t, "draining")
			if name == "at the end" {
				c.waitEnd(t)
			}
			began := time.Now()
			s.signal(syscall.SIGTERM)
			if code := s.wait(patience / 2); code != 0 || elapsed(began) > atOnce {
				t.Errorf("exit code %d after %v", code, time.Since(began))
			}
			c.waitEnd(t)
		})
	}
}

// A connection on which nothing was asked doesn't hold the end up.
func TestTunnelDrainIdleConnection(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	c := tunnelOpen(t, s, tunnelScript{})
	idle := tunnelWireTo(t, s)
	tunnelGet(t, tunnelHTTP(t), s, c.host, "/") // by then the server has the other one, too
	s.signal(syscall.SIGTERM)
	s.waitLog(t, "draining")
	began := time.Now()
	c.bye(t)
	if code := s.wait(patience); code != 0 || elapsed(began) > atOnce {
		t.Errorf("exit code %d after %v", code, time.Since(began))
	}
	if _, err := idle.in.ReadByte(); err == nil {
		t.Error("the connection is open still")
	}
}

// An answer that is being written when the last session ends has the 5 s of the
// end to reach who asked.
func TestTunnelDrainSlowReader(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	body := strings.Repeat("x", 6<<20) // more than kernels hold for it, 4 MiB and the buffer below
	c := tunnelOpen(t, s, tunnelScript{http: func(c *tunnelClient, m tunnelMessage) { c.answer(m, 200, body) }})
	wire := tunnelWireTo(t, s)
	_ = wire.SetReadBuffer(128 << 10)
	wire.say(t, "GET / HTTP/1.1", "Host: "+c.host)
	if _, err := wire.in.Peek(1); err != nil {
		t.Fatal(err)
	}
	s.signal(syscall.SIGTERM)
	s.waitLog(t, "draining")
	c.bye(t)
	// Longer than an end without anybody takes. Behind a window that was full BBR is slow to
	// find its pace again, so that the rest takes up to 2 s on a busy machine, of the 3.5 left.
	<-time.After(1500 * time.Millisecond)
	if reply := wire.hear(t, "GET"); reply.status != 200 || len(reply.body) != len(body) {
		t.Errorf("the answer is %d, %d bytes", reply.status, len(reply.body))
	}
	if code := s.wait(patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
