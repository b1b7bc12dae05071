package e2e

import (
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// tunnelPings makes a script whose client counts the pings that come, and
// answers them or not.
func tunnelPings(answer bool) (script tunnelScript, pings *atomic.Int32) {
	pings = new(atomic.Int32)
	script.read = func(c *tunnelClient, n int) bool {
		if n > 0 {
			return true
		}
		pong := c.ws.PingHandler()
		c.ws.SetPingHandler(func(text string) error { // here, by the goroutine that reads
			pings.Add(1)
			if answer {
				return pong(text)
			}
			return nil
		})
		return true
	}
	return script, pings
}

// A client that never says anything loses its tunnel, subdomain and port after
// two and a half intervals; one that answers pings does not.
func TestTunnelSilentClient(t *testing.T) {
	t.Parallel()
	const interval = time.Second
	s := tunnelServer(t, pingEvery(interval))
	talking, answered := tunnelPings(true)
	silent, ignored := tunnelPings(false)
	alive := tunnelOpen(t, s, talking)
	began := time.Now()
	c := tunnelOpen(t, s, silent)
	outside, _ := tunnelPair(t, c)
	waiting := make(chan error, 1)
	go func() {
		_, err := outside.Read(make([]byte, 1))
		waiting <- err
	}()

	c.waitEnd(t)
	if took := time.Since(began); took < 2*interval || took > 8*interval {
		t.Errorf("given up after %v, want 2.5 intervals of %v", took, interval)
	}
	if n := ignored.Load(); n < 2 || n > 3 {
		t.Errorf("%d pings came in 2.5 intervals", n)
	}
	if err := <-waiting; err == nil {
		t.Error("its raw connection goes on")
	}
	if reason := s.waitTunnelEnd(t, c)["reason"]; reason != "client_silent" {
		t.Errorf("reason %q", reason)
	}
	if reply := tunnelGet(t, tunnelHTTP(t), s, c.host, "/"); reply.status != 404 {
		t.Errorf("its subdomain answers %d", reply.status)
	}
	if conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port))); err == nil {
		conn.Close()
		t.Error("its port is still listened on")
	}

	// Twice as long as the silent one had.
	eventually(t, patience, "five pings", func() bool { return answered.Load() >= 5 })
	if reply := tunnelGet(t, tunnelHTTP(t), s, alive.host, "/x"); reply.body != "/x" {
		t.Errorf("the one that answers pings serves %+v", reply)
	}
}

// A client that the proxy doesn't read, because a peer has stalled and the
// tunnel's buffer is used up, is not silent: it may be stuck in a write, and not
// even able to answer a ping. When the peer reads on, nothing was lost.
func TestTunnelStuckClientIsNotSilent(t *testing.T) {
	t.Parallel()
	const interval = time.Second
	s := tunnelServer(t, pingEvery(interval), "TUNNEL_BUFFER=2MiB", "TUNNEL_STALL_TIMEOUT=60s")
	c := tunnelOpen(t, s, tunnelScript{})
	outside, inside := tunnelPairBuffer(t, c, 64<<10)
	const size = 32 << 20
	sent := &counter{Writer: inside}
	go func() {
		_, _ = io.CopyBuffer(sent, io.LimitReader(tunnelNoise(7), size), make([]byte, tunnelPayload))
		_ = inside.Close()
	}()
	if n := sent.stuck(t); n == size {
		t.Fatal("the client is not stuck")
	}
	select {
	case <-c.ended:
		t.Fatalf("the tunnel ended: %v", c.err)
	case <-time.After(4 * interval):
	}
	if n := sent.stuck(t); n == size {
		t.Error("the client was read all the time: the test proves nothing")
	}
	got, n, err := tunnelSum(outside)
	if want, _, _ := tunnelSum(io.LimitReader(tunnelNoise(7), size)); n != size || err != nil || got != want {
		t.Errorf("%d bytes of %d arrive, %v", n, size, err)
	}
	if reply := tunnelGet(t, tunnelHTTP(t), s, c.host, "/x"); reply.body != "/x" {
		t.Errorf("then the tunnel answers %+v", reply)
	}
}
