package e2e

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// tunnelStalled is a server whose tunnels hold little and wait for nobody long.
func tunnelStalled(t *testing.T, env ...string) *server {
	t.Helper()
	return tunnelServer(t, append([]string{"TUNNEL_BUFFER=2MiB", "TUNNEL_STALL_TIMEOUT=1s"}, env...)...)
}

// tunnelFlood sends without end, until the connection or the tunnel is closed.
func tunnelFlood(conn *tunnelRawConn) {
	block := make([]byte, 32<<10)
	for {
		if _, err := conn.Write(block); err != nil {
			return
		}
	}
}

// Without credit, a peer that has stalled is closed after the stall time-out.
// Everything else in its tunnel waits that long at most, and other tunnels
// don't notice.
func TestTunnelStalledPeer(t *testing.T) {
	t.Parallel()
	s := tunnelStalled(t)
	c, other := tunnelOpen(t, s, tunnelScript{}), tunnelOpen(t, s, tunnelScript{raw: tunnelEcho})
	echoed, echo := tunnelPair(t, c)
	go tunnelEcho(c, echo)
	client := tunnelHTTP(t)
	probe, otherProbe := tunnelProbing(t, client, s, c.host), tunnelProbing(t, client, s, other.host)
	elsewhere := tunnelDial(t, other.port)

	for _, half := range []bool{false, true} {
		outside, inside := tunnelPairBuffer(t, c, 4096)
		count := 1
		if half { // the client knows that nothing more comes
			outside.CloseWrite()
			if reason := inside.reason(t); reason != "eof" {
				t.Fatal(reason)
			}
			count = 2
		}
		began := time.Now()
		go tunnelFlood(inside)
		if reasons := inside.allReasons(t, count); reasons[count-1] != "slow" {
			t.Errorf("half closed %v: tcp_close %q", half, reasons)
		}
		if took := time.Since(began); took < time.Second || took > 10*time.Second {
			t.Errorf("half closed %v: closed after %v", half, took)
		}
		if _, err := io.Copy(io.Discard, outside); err == nil {
			t.Errorf("half closed %v: the outside connection ends in an orderly way", half)
		}
		if _, err := tunnelPing(echoed); err != nil {
			t.Errorf("another connection: %v", err)
		}
	}
	for range 20 {
		began := time.Now()
		if _, err := tunnelPing(elsewhere); err != nil || elapsed(began) > time.Second {
			t.Errorf("another tunnel: %v, %v", time.Since(began), err)
		}
	}
	if count, worst := probe.stop(); count == 0 || worst > 6*time.Second {
		t.Errorf("of %d probes the slowest took %v", count, worst)
	}
	if count, worst := otherProbe.stop(); count < 10 || worst > time.Second {
		t.Errorf("of %d probes of another tunnel the slowest took %v", count, worst)
	}
}

// A peer that is slow but takes something is never closed, and loses nothing.
func TestTunnelSlowPeer(t *testing.T) {
	t.Parallel()
	s := tunnelStalled(t)
	c := tunnelOpen(t, s, tunnelScript{})
	outside, inside := tunnelPairBuffer(t, c, 32<<10)
	const size = 12 << 20
	go func() {
		_, _ = io.CopyN(struct{ io.Writer }{inside}, tunnelNoise(4), size)
		_ = inside.Close()
	}()
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	got, n, err := tunnelSum(tunnelReader(func(p []byte) (int, error) {
		<-pace.C
		return outside.Read(p)
	}))
	want, _, _ := tunnelSum(io.LimitReader(tunnelNoise(4), size))
	if n != size || err != nil || got != want {
		t.Errorf("%d of %d bytes arrive, %v, tcp_close %q", n, size, err, inside.reasons)
	}
}

// A tunnelReader is a function that reads.
type tunnelReader func(p []byte) (int, error)

func (r tunnelReader) Read(p []byte) (int, error) { return r(p) }

// What the client has sent and then closed can hold its tunnel up as well, and
// is given up as well.
func TestTunnelStalledAfterClose(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "TUNNEL_STALL_TIMEOUT=500ms")
	c := tunnelOpen(t, s, tunnelScript{})
	echoed, echo := tunnelPair(t, c)
	go tunnelEcho(c, echo)
	// The first one has the most waiting, and the second one fills the rest.
	first, inside := tunnelPairBuffer(t, c, 4096)
	if _, err := io.CopyN(struct{ io.Writer }{inside}, tunnelNoise(1), 28<<20); err != nil {
		t.Fatal(err)
	}
	_ = inside.Close()
	_, inside = tunnelPairBuffer(t, c, 4096)
	go tunnelFlood(inside)
	if reason := inside.reason(t); reason != "slow" {
		t.Errorf("tcp_close %q", reason)
	}
	if _, err := io.Copy(io.Discard, first); err == nil {
		t.Error("the first connection ends in an orderly way")
	}
	if _, err := tunnelPing(echoed); err != nil {
		t.Errorf("another connection: %v", err)
	}
}

// Several stalled peers are closed one after another.
func TestTunnelManyStalledPeers(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "TUNNEL_BUFFER=2MiB", "TUNNEL_STALL_TIMEOUT=300ms")
	c := tunnelOpen(t, s, tunnelScript{})
	var insides []*tunnelRawConn
	for range 5 {
		_, inside := tunnelPairBuffer(t, c, 4096)
		insides = append(insides, inside)
		go tunnelFlood(inside)
	}
	for i, inside := range insides {
		if reason := inside.reason(t); reason != "slow" {
			t.Errorf("connection %d: tcp_close %q", i, reason)
		}
	}
	if reply := tunnelGet(t, tunnelHTTP(t), s, c.host, "/x"); reply.body != "/x" {
		t.Errorf("the tunnel answers %+v", reply)
	}
}

// A client that does not read its WebSocket holds its outside peers up, and
// nothing else; when it reads on, nothing is lost.
func TestTunnelClientReadsLater(t *testing.T) {
	t.Parallel()
	s := tunnelStalled(t)
	for _, query := range []string{"", "flow=credit"} {
		gate := make(chan struct{})
		open := sync.OnceFunc(func() { close(gate) })
		c := tunnelOpen(t, s, tunnelScript{query: query, read: func(*tunnelClient, int) bool {
			<-gate
			return true
		}})
		t.Cleanup(open)
		const conns, size = 4, 8 << 20
		var outsides []net.Conn
		wrote := make(chan error, conns)
		for i := range uint64(conns) {
			outside := tunnelDial(t, c.port)
			outsides = append(outsides, outside)
			go func() {
				_, err := io.CopyN(struct{ io.Writer }{outside}, tunnelNoise(i), size)
				outside.CloseWrite()
				wrote <- err
			}()
		}
		other := tunnelOpen(t, s, tunnelScript{})
		if reply := tunnelGet(t, tunnelHTTP(t), s, other.host, "/x"); reply.body != "/x" {
			t.Errorf("another tunnel answers %+v", reply)
		}
		open()
		sums := map[string]uint64{}
		for i := range uint64(conns) {
			sum, _, _ := tunnelSum(io.LimitReader(tunnelNoise(i), size))
			sums[fmt.Sprintf("%x", sum)] = i
		}
		for range conns {
			inside := c.next(t)
			sum, n, err := tunnelSum(inside)
			if _, known := sums[fmt.Sprintf("%x", sum)]; !known || n != size || err != nil {
				t.Errorf("%q: %d of %d bytes, %v, right: %v", query, n, size, err, known)
			}
			_ = inside.Close()
		}
		for range outsides {
			if err := <-wrote; err != nil {
				t.Error(err)
			}
		}
	}
}
