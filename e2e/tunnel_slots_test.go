package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// from is the header by which a trusted proxy names a source address.
func from(address string) http.Header { return http.Header{"X-Forwarded-For": {address}} }

// One address has half of a tunnel's slots; its other requests wait, and those of
// others go on.
func TestTunnelHalfOfTheSlots(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "MAX_TUNNEL_HTTP=5", "TRUSTED_PROXIES=127.0.0.1")
	c, held := tunnelHeld(t, s, "")
	client := tunnelHTTP(t)
	var first []tunnelMessage
	var waiting []tunnelWaiting
	for i := range 4 {
		body := []byte(nil)
		if i%2 == 1 {
			body = []byte("body")
		}
		waiting = append(waiting, tunnelStart(t, client, s, c.host, fmt.Sprint("/one/", i), from("203.0.113.1"), body))
		if i < 3 {
			first = append(first, tunnelTake(t, held))
		}
	}
	other := tunnelStart(t, client, s, c.host, "/two", from("203.0.113.2"), nil)
	if m := tunnelTake(t, held); m.Path != "/two" {
		t.Fatalf("%s goes before the other address", m.Path)
	} else {
		c.answer(m, 200, "two")
	}
	if reply := other.get(t); reply.body != "two" {
		t.Errorf("the other gets %+v", reply)
	}
	c.answer(first[0], 200, "")
	m := tunnelTake(t, held) // has waited
	if m.Path != "/one/3" || m.Body != "body" {
		t.Errorf("then comes %+v", m)
	}
	for _, m := range append(first[1:], m) {
		c.answer(m, 200, "")
	}
	for i, w := range waiting {
		if reply := w.get(t); reply.status != 200 {
			t.Errorf("request %d: %d", i, reply.status)
		}
	}
}

// Bodies that never come hold no slot of a tunnel, from however many addresses:
// they are 408 after 15 s.
func TestTunnelBodiesThatNeverCome(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "MAX_TUNNEL_HTTP=4", "TRUSTED_PROXIES=127.0.0.1")
	c, _ := tunnelSeen(t, s, "")
	began := time.Now()
	var wires []*tunnelWire
	for i := range 3 {
		for range 4 {
			wire := tunnelWireTo(t, s)
			wire.say(t, "POST / HTTP/1.1", "Host: "+c.host, fmt.Sprint("X-Forwarded-For: 203.0.113.", i+1), "Content-Length: 10", "Expect: 100-continue")
			if line, _ := wire.in.ReadString('\n'); !strings.Contains(line, "100") {
				t.Fatalf("before the body comes %q", line)
			}
			_, _ = wire.in.ReadString('\n')
			_, _ = io.WriteString(wire, "ab")
			wires = append(wires, wire)
		}
	}
	client := tunnelHTTP(t)
	for i := range 20 {
		reply, err := tunnelAsk(client, s, "GET", c.host, "/", from(fmt.Sprint("198.51.100.", i%2)), nil)
		if err != nil || reply.status != 200 {
			t.Errorf("another's request: %v, %v", reply, err)
		}
	}
	for _, wire := range wires {
		_ = wire.SetDeadline(time.Now().Add(20*time.Second + patience))
		if reply := wire.hear(t, "POST"); reply.status != 408 {
			t.Errorf("a body that never comes: %d", reply.status)
		}
	}
	if took := time.Since(began); took < 15*time.Second || took > 20*time.Second+patience {
		t.Errorf("the bodies were given up after %v", took)
	}
}

// When all slots are taken the address that has most gives one to an address that
// has fewer: a request that waits is 503, an answer that is taken slowly is cut.
func TestTunnelMostGiveWay(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "MAX_TUNNEL_HTTP=4", "TRUSTED_PROXIES=127.0.0.1")
	c, held := tunnelHeld(t, s, "")
	client := tunnelHTTP(t)
	one := tunnelStart(t, client, s, c.host, "/one", from("203.0.113.1"), nil)
	first := tunnelTake(t, held)
	// The newest of that address: its answer is more than the kernel holds.
	slow := tunnelWireTo(t, s)
	_ = slow.SetReadBuffer(4 << 10)
	slow.say(t, "GET /slow HTTP/1.1", "Host: "+c.host, "X-Forwarded-For: 203.0.113.1")
	c.answer(tunnelTake(t, held), 200, strings.Repeat("a", 9<<20))
	if line, err := slow.in.ReadString('\n'); !strings.Contains(line, "200") {
		t.Fatalf("the answer begins with %q, %v", line, err)
	}
	two := []tunnelWaiting{}
	for range 2 {
		two = append(two, tunnelStart(t, client, s, c.host, "/two", from("203.0.113.2"), nil))
		tunnelTake(t, held)
	}
	// Both have two: the newest of all is one of the second.
	three := tunnelStart(t, client, s, c.host, "/three", from("203.0.113.3"), nil)
	m := tunnelTake(t, held)
	if reply := two[1].get(t); m.Path != "/three" || reply.status != 503 || reply.header.Get("Retry-After") == "" {
		t.Errorf("%s comes, and who has most gets %+v", m.Path, reply)
	}
	four := tunnelStart(t, client, s, c.host, "/four", from("203.0.113.4"), nil)
	n := tunnelTake(t, held)
	if rest, err := io.Copy(io.Discard, slow.in); err == nil || rest >= 9<<20 {
		t.Errorf("the slow answer looks whole: %d bytes, %v", rest, err)
	}
	reply, err := tunnelAsk(client, s, "GET", c.host, "/five", from("203.0.113.5"), nil)
	if err != nil || reply.status != 503 {
		t.Errorf("when all have one the next gets %+v, %v", reply, err)
	}
	for _, m := range []tunnelMessage{first, m, n} {
		c.answer(m, 200, m.Path)
	}
	for _, w := range []tunnelWaiting{one, three, four} {
		if reply := w.get(t); reply.status != 200 {
			t.Errorf("one that gave no way: %+v", reply)
		}
	}
}

// tunnelDialFrom connects to a raw port from a loopback address, and reports
// whether the connection is let in: a refused one ends at once.
func tunnelDialFrom(t *testing.T, c *tunnelClient, address string) (*net.TCPConn, bool) {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: patience}
	conn, err := dialer.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", c.port))
	if err != nil {
		return nil, false // reset before this end knew that it was open
	}
	t.Cleanup(func() { conn.Close() })
	ended := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		ended <- err
	}()
	select {
	case <-c.conns:
		return conn.(*net.TCPConn), true
	case <-ended:
		return nil, false
	case <-time.After(patience):
		t.Fatal("a connection is neither let in nor ended")
		return nil, false
	}
}

// One address does not use a raw port up, nor all there may be by several tunnels.
func TestTunnelRawConnectionsOfOneAddress(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "MAX_TUNNEL_TCP_PER_IP=3", "MAX_TUNNEL_TCP_CONNS_GLOBAL=16")
	a, b, c := tunnelOpen(t, s, tunnelScript{}), tunnelOpen(t, s, tunnelScript{}), tunnelOpen(t, s, tunnelScript{})
	for i := range 110 {
		if _, in := tunnelDialFrom(t, a, "127.0.0.1"); in != (i < 3) {
			t.Fatalf("number %d is let in: %t", i, in)
		}
	}
	if _, in := tunnelDialFrom(t, a, "127.0.0.2"); !in {
		t.Error("another address is not let in")
	}
	if _, in := tunnelDialFrom(t, a, "127.0.0.3"); in {
		t.Error("a tunnel has more than a quarter of all")
	}
	for i := range 4 {
		if _, in := tunnelDialFrom(t, b, fmt.Sprint("127.0.0.", i+1)); !in {
			t.Error("another tunnel has none")
		}
	}
	if _, in := tunnelDialFrom(t, c, "127.0.0.9"); in {
		t.Error("a user has more than half of all")
	}
}

func TestTunnelIdleRawConnectionIsReset(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "TUNNEL_TCP_IDLE_TIMEOUT=1s")
	c := tunnelOpen(t, s, tunnelScript{})
	busy, echo := tunnelPair(t, c)
	go tunnelEcho(c, echo)
	began := time.Now()
	idle, inside := tunnelPair(t, c)
	ended := make(chan error, 1)
	go func() {
		_, err := idle.Read(make([]byte, 1))
		ended <- err
	}()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for waits := true; waits; {
		select {
		case err := <-ended:
			if took := time.Since(began); err == nil || err == io.EOF || took < time.Second {
				t.Errorf("it ends after %v with %v", took, err)
			}
			waits = false
		case <-tick.C:
			if _, err := tunnelPing(busy); err != nil || time.Since(began) > patience {
				t.Fatalf("the busy one after %v: %v", time.Since(began), err)
			}
		}
	}
	if reason := inside.reason(t); reason != "reset" {
		t.Errorf("the client is told %q", reason)
	}
	if _, err := tunnelPing(busy); err != nil {
		t.Errorf("the busy one: %v", err)
	}
	eventually(t, patience, "it is logged", func() bool {
		lines := s.logLines(`"raw connection ended"`)
		return len(lines) == 1 && bytes.Contains([]byte(fmt.Sprint(lines[0])), []byte("idle"))
	})
}
