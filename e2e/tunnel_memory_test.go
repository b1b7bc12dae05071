package e2e

import (
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// tunnelWantMemory waits until the server has given back all but so much of what
// it has taken since before.
func tunnelWantMemory(t *testing.T, s *server, before, most int64) {
	t.Helper()
	var growth int64
	defer func() { t.Logf("the server has grown by %d MiB", growth>>20) }()
	eventually(t, patience, "memory within its bound", func() bool {
		growth = s.resident(t) - before
		return growth < most
	})
}

// Outside peers that connect, send and reset, one after another, get no more
// memory of a client that does not read than there may be connections.
func TestTunnelMemoryOfResetConnections(t *testing.T) {
	t.Parallel()
	const peers, each = 8, 150
	s := tunnelServer(t, "MAX_TUNNEL_TCP_PER_IP=0", "METRICS_ADDR=127.0.0.1:0")
	gate := make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	c := tunnelOpen(t, s, tunnelScript{raw: tunnelEcho, read: func(*tunnelClient, int) bool { <-gate; return true }})
	t.Cleanup(open)
	round := func() {
		var all sync.WaitGroup
		for range peers {
			all.Go(func() {
				block := make([]byte, 30<<10) // one frame: behind two the reset would go unseen
				for range each {
					conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)))
					if err != nil { // those beyond the limit are reset at once
						continue
					}
					_, _ = conn.Write(block)
					_ = conn.(*net.TCPConn).SetLinger(0)
					conn.Close()
				}
			})
		}
		all.Wait()
		// They are accepted in order, and the client's slots are all taken: when one
		// more is refused, all were accepted or refused.
		last, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(c.port)), patience)
		if err != nil { // it was reset before this end knew that it was open
			return
		}
		defer last.Close()
		_ = last.SetDeadline(time.Now().Add(patience))
		if _, err := last.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("one more is not refused: %v", err)
		}
	}
	round() // what so many connections need anyway is no growth
	before := s.resident(t)
	round()
	round()
	tunnelWantMemory(t, s, before, 100<<20) // measured: 20 MiB, and 180 if all that were accepted left something

	open() // the client reads on, and there is room again
	eventually(t, patience, "all have ended", func() bool { return s.metric(t, "wsproxy_raw_connections") == 0 })
	if _, err := tunnelPing(tunnelDial(t, c.port)); err != nil {
		t.Error(err)
	}
}

// What waits for a peer takes up about as much memory as it has bytes, also if
// each came by itself.
func TestTunnelMemoryOfSmallFrames(t *testing.T) {
	t.Parallel()
	const frames = 700_000
	s := tunnelServer(t, "TUNNEL_STALL_TIMEOUT=1h")
	c := tunnelOpen(t, s, tunnelScript{})
	_, inside := tunnelPairBuffer(t, c, 4096)
	if _, err := inside.Write(make([]byte, 8<<20)); err != nil { // more than the kernels take
		t.Fatal(err)
	}
	settled := func() { // all before it has been handled
		if reply := tunnelGet(t, tunnelHTTP(t), s, c.host, "/x"); reply.body != "/x" {
			t.Fatalf("the tunnel answers %+v", reply)
		}
	}
	settled()
	before := s.resident(t)

	one := tunnelFrame(inside.id, []byte("x"))
	one = append([]byte{0x80 | websocket.BinaryMessage, 0x80 | byte(len(one)), 0, 0, 0, 0}, one...)
	many := []byte(strings.Repeat(string(one), 1000))
	_ = c.ws.NetConn().SetWriteDeadline(time.Now().Add(patience))
	for range frames / 1000 {
		if _, err := c.ws.NetConn().Write(many); err != nil {
			t.Fatal(err)
		}
	}
	settled()
	tunnelWantMemory(t, s, before, 24<<20) // measured: 5 MiB, and 35 or more if each frame were kept by itself
}
