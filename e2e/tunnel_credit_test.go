package e2e

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"
)

// tunnelProbe sends HTTP requests to a tunnel, one after another, until it is
// stopped. Stop returns how many there were and how long the slowest took (see elapsed), and
// complains of each that failed.
type tunnelProbe struct {
	quit  func()
	done  chan struct{}
	count int
	worst time.Duration
}

func tunnelProbing(t *testing.T, client *http.Client, s *server, host string) *tunnelProbe {
	quit := make(chan struct{})
	p := &tunnelProbe{quit: sync.OnceFunc(func() { close(quit) }), done: make(chan struct{})}
	t.Cleanup(func() { p.stop() })
	go func() {
		defer close(p.done)
		pace := time.NewTicker(20 * time.Millisecond)
		defer pace.Stop()
		for {
			select {
			case <-quit:
				return
			case <-pace.C:
			}
			began := time.Now()
			reply, err := tunnelAsk(client, s, "GET", host, "/probe", nil, nil)
			if err != nil || reply.status != 200 {
				t.Errorf("a probe gets %d, %v", reply.status, err)
				return
			}
			p.count++
			p.worst = max(p.worst, elapsed(began))
		}
	}()
	return p
}

func (p *tunnelProbe) stop() (count int, worst time.Duration) {
	p.quit()
	<-p.done
	return p.count, p.worst
}

// The proxy sends exactly a window without being given credit, and then exactly
// what it is given.
func TestTunnelCreditOut(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	c := tunnelOpen(t, s, tunnelScript{query: "flow=credit"})
	outside, inside := tunnelPair(t, c)
	go func() { _, _ = io.CopyN(struct{ io.Writer }{outside}, tunnelNoise(1), 1<<20) }()
	settled := func(want int) {
		t.Helper()
		eventually(t, patience, fmt.Sprintf("%d bytes", want), func() bool { return inside.arrived() >= want })
		// Whatever else is on its way comes before the answers to these.
		for range 20 {
			if reply := tunnelGet(t, tunnelHTTP(t), s, c.host, "/"); reply.status != 200 {
				t.Fatal(reply.status)
			}
		}
		if n := inside.arrived(); n != want {
			t.Fatalf("%d bytes came, not %d", n, want)
		}
	}
	grant := func(n int) {
		inside.mu.Lock()
		inside.out -= n
		inside.mu.Unlock()
		_ = c.send(tunnelJSON{"type": "tcp_credit", "connId": inside.id, "bytes": n})
	}
	settled(tunnelWindow)
	grant(1)
	settled(tunnelWindow + 1)
	grant(100_000)
	settled(tunnelWindow + 1 + 100_000)
	for _, bad := range []any{0, -5, "1", 1.5, nil} {
		_ = c.send(tunnelJSON{"type": "tcp_credit", "connId": inside.id, "bytes": bad})
	}
	_ = c.send(tunnelJSON{"type": "tcp_credit", "connId": "000000000000", "bytes": 5})
	settled(tunnelWindow + 1 + 100_000)
}

// What the outside peer takes comes back as credit, at the latest when it is
// half a window.
func TestTunnelCreditBack(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	c := tunnelOpen(t, s, tunnelScript{query: "flow=credit"})
	outside, inside := tunnelPair(t, c)
	total := 0
	for i := range 40 {
		n := []int{1000, 30_000, 7, 90_000}[i%4]
		if _, err := io.CopyN(struct{ io.Writer }{inside}, tunnelNoise(1), int64(n)); err != nil {
			t.Fatal(err)
		}
		total += n
		if _, err := io.CopyN(io.Discard, outside, int64(n)); err != nil {
			t.Fatal(err)
		}
		eventually(t, patience, "credit", func() bool {
			inside.mu.Lock()
			defer inside.mu.Unlock()
			return total-inside.credits < tunnelWindow/2
		})
	}
}

// A client that sends more than it may loses that connection, and only that.
func TestTunnelCreditOverrun(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	c := tunnelOpen(t, s, tunnelScript{query: "flow=credit"})
	other, echo := tunnelPair(t, c)
	go tunnelEcho(c, echo)
	for name, half := range map[string]bool{"open": false, "half closed": true} {
		outside, inside := tunnelPairBuffer(t, c, 4096)
		if half {
			outside.CloseWrite()
			if reason := inside.reason(t); reason != "eof" {
				t.Fatal(reason)
			}
		}
		inside.mu.Lock()
		inside.sent = 1 << 40 // it doesn't keep count
		inside.mu.Unlock()
		block := make([]byte, 64<<10)
		limited := func() bool {
			inside.mu.Lock()
			defer inside.mu.Unlock()
			return inside.broken()
		}
		for i := 0; i < 512 && !limited(); i++ {
			_ = inside.push(block)
		}
		count := 1
		if half {
			count = 2
		}
		if reasons := inside.allReasons(t, count); reasons[count-1] != "limit" {
			t.Errorf("%s: tcp_close %q", name, reasons)
		}
		if _, err := io.Copy(io.Discard, outside); err == nil {
			t.Errorf("%s: the outside connection ends in an orderly way", name)
		}
	}
	if _, err := tunnelPing(other); err != nil {
		t.Error(err)
	}
	if reply := tunnelGet(t, tunnelHTTP(t), s, c.host, "/x"); reply.body != "/x" {
		t.Errorf("the tunnel answers %+v", reply)
	}
}

// With credit, peers that don't read and a client that takes nothing for some
// connections delay neither other connections nor HTTP.
func TestTunnelCreditHarmsNobody(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "TUNNEL_STALL_TIMEOUT=100ms")
	c := tunnelOpen(t, s, tunnelScript{query: "flow=credit"})
	other, echo := tunnelPair(t, c)
	go tunnelEcho(c, echo)
	var stuck sync.WaitGroup
	var stalled []*tunnelRawConn
	for range 10 {
		outside, inside := tunnelPairBuffer(t, c, 4096)
		stalled = append(stalled, inside)
		stuck.Go(func() { _, _ = io.CopyN(struct{ io.Writer }{inside}, tunnelNoise(1), 64<<20) })  // nobody reads it
		stuck.Go(func() { _, _ = io.CopyN(struct{ io.Writer }{outside}, tunnelNoise(1), 64<<20) }) // nor this
	}
	probe := tunnelProbing(t, tunnelHTTP(t), s, c.host)
	eventually(t, patience, "all are stuck", func() bool {
		for _, inside := range stalled {
			if inside.arrived() < tunnelWindow {
				return false
			}
		}
		return true
	})
	var worst time.Duration
	for range 300 {
		began := time.Now()
		if _, err := tunnelPing(other); err != nil {
			t.Fatal(err)
		}
		worst = max(worst, elapsed(began))
	}
	count, slowest := probe.stop()
	if worst > 2*time.Second || slowest > 2*time.Second || count == 0 {
		t.Errorf("a ping took %v, one of %d probes %v", worst, count, slowest)
	}
	for _, inside := range stalled {
		inside.mu.Lock()
		if len(inside.reasons) > 0 {
			t.Errorf("a connection that harms nobody was closed: %q", inside.reasons)
		}
		inside.mu.Unlock()
	}
	c.ws.Close()
	<-c.ended
	stuck.Wait()
}
