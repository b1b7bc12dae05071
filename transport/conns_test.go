package transport

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/netpolicy"
)

// A crowd is the connections of a test.
type crowd struct {
	*conns
	*refusals
	t *testing.T
}

func newCrowd(t *testing.T, perPeer, most int, trusted ...string) *crowd {
	meter := &refusals{}
	var prefixes []netip.Prefix
	for _, p := range trusted {
		prefixes = append(prefixes, netip.MustParsePrefix(p))
	}
	return &crowd{newConns(Config{MaxConnsPerPeer: perPeer, MaxConns: most, Sources: netpolicy.NewSources(prefixes), Refused: meter}), meter, t}
}

// come has a connection come from a peer. It is nil if there is no room.
func (c *crowd) come(peer string) *edgeConn {
	c.t.Helper()
	_, conn := testkit.TCPPair(c.t)
	e := new(edgeConn)
	e.Conn.Init(conn)
	e.Conn.Closed = func() { c.leave(e) }
	if !c.enter(e, netip.MustParseAddr(peer)) {
		return nil
	}
	return e
}

func isClosed(e *edgeConn) bool { return e.TCPConn.SetDeadline(time.Time{}) != nil }

// The connection of the peer, or of all, that has been idle longest gives way.
func TestIdleLongestGivesWay(t *testing.T) {
	c := newCrowd(t, 2, 4)
	other := c.come("192.0.2.9")
	first, second := c.come("192.0.2.1"), c.come("192.0.2.1")
	c.work(first)
	c.rest(first) // now second has been idle longest
	third := c.come("::ffff:192.0.2.1")
	if third == nil || !isClosed(second) || isClosed(first) || isClosed(other) {
		t.Fatal("of the peer's own the wrong one gave way")
	}
	c.work(third)
	if c.come("192.0.2.1") == nil || !isClosed(first) {
		t.Fatal("the idle one did not give way to the one that works")
	}
	c.come("192.0.2.2") // that is four
	if c.come("192.0.2.3") == nil || !isClosed(other) {
		t.Fatal("of all the wrong one gave way")
	}
	if got := strings.Join(c.take(), "|"); got != "http conn_idle|http conn_idle|http conn_idle" {
		t.Errorf("counted as %s", got)
	}
}

// If none is idle the new one is closed, the others never.
func TestBusyConnectionsStay(t *testing.T) {
	c := newCrowd(t, 2, 3)
	a, b := c.come("192.0.2.1"), c.come("192.0.2.1")
	c.work(a)
	c.work(b)
	if c.come("192.0.2.1") != nil {
		t.Error("a third one of the peer")
	}
	other := c.come("192.0.2.2")
	c.work(other)
	if c.come("192.0.2.3") != nil {
		t.Error("a fourth one in all")
	}
	if isClosed(a) || isClosed(b) || isClosed(other) {
		t.Error("one that works was closed")
	}
	if got := strings.Join(c.take(), "|"); got != "http conn_limit|http conn_limit" {
		t.Errorf("counted as %s", got)
	}
	c.leave(a)
	c.leave(a) // it may be told twice
	if c.come("192.0.2.1") == nil || c.all.count != 3 {
		t.Error("a place that came back is not there")
	}
}

// IPv6 peers count by their /64, and their /48 has four times the bound.
func TestNetworksAreBounded(t *testing.T) {
	c := newCrowd(t, 1, 0)
	first := c.come("2001:db8:0:1::1")
	if c.come("2001:db8:0:1::2") == nil || !isClosed(first) {
		t.Error("the /64 has more than its bound")
	}
	oldest := c.come("2001:db8:0:2::1")
	c.work(oldest)
	third := c.come("2001:db8:0:3::1")
	c.come("2001:db8:0:4::1")
	if len(c.take()) != 1 {
		t.Error("the /48 has less than its bound")
	}
	if c.come("2001:db8:0:5::1") == nil || c.come("2001:db8:0:6::1") == nil || isClosed(oldest) || !isClosed(third) {
		t.Error("of the /48 the wrong ones gave way")
	}
	if c.come("2001:db8:1::1") == nil || len(c.take()) != 2 {
		t.Error("another /48 is bounded by the first")
	}
}

// Trusted proxies count among all alone, and 0 is no limit.
func TestUnboundedPeers(t *testing.T) {
	c := newCrowd(t, 1, 20, "192.0.2.0/24")
	for range 20 {
		if e := c.come("192.0.2.1"); e == nil || isClosed(e) {
			t.Fatal("a trusted proxy has a bound")
		}
	}
	if len(c.take()) != 0 || c.come("192.0.2.2") == nil || len(c.take()) != 1 {
		t.Error("trusted proxies don't count among all")
	}
	c = newCrowd(t, 0, 0)
	for range 300 {
		c.come("198.51.100.1")
	}
	if len(c.take()) != 0 {
		t.Error("0 is a limit")
	}
}

// Whatever happens the counts are right, and nothing is left at the end.
func TestConnsAgainstNaive(t *testing.T) {
	const perPeer, most = 3, 9
	c := newCrowd(t, perPeer, most)
	random := rand.New(rand.NewPCG(1, 2))
	peers := []string{"192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8:0:1::1", "2001:db8:1::1"}
	var open []*edgeConn
	for range 2000 {
		switch i := random.IntN(max(len(open), 1)); random.IntN(4) {
		case 0, 1:
			e := &edgeConn{}
			e.Conn.TCPConn = &net.TCPConn{} // closing it fails, which nobody looks at
			if victim, ok := c.admit(e, netip.MustParseAddr(peers[random.IntN(len(peers))])); ok {
				if victim != nil {
					open = slices.DeleteFunc(open, func(o *edgeConn) bool { return o == victim })
				}
				open = append(open, e)
			}
		case 2:
			if len(open) > 0 {
				c.work(open[i])
			}
		case 3:
			if len(open) > 0 && random.IntN(2) == 0 {
				c.rest(open[i])
			} else if len(open) > 0 {
				c.leave(open[i])
				open = slices.Delete(open, i, i+1)
			}
		}
		idle, listed := 0, 0
		for _, e := range open {
			if e.place.idle.Load() {
				idle++
			}
		}
		for e := c.all.oldest; e != nil; e = e.place.links[ofAll].newer {
			listed++
		}
		if c.all.count != len(open) || c.all.count > most || idle != listed {
			t.Fatalf("%d connections counted as %d, %d idle ones as %d", len(open), c.all.count, idle, listed)
		}
	}
	for _, e := range open {
		c.leave(e)
	}
	if len(c.peers) != 0 || c.all != (connGroup{}) {
		t.Errorf("left are %v and %+v", c.peers, c.all)
	}
}

// Other bounds count for connections that come from then on.
func TestConnBoundsChange(t *testing.T) {
	c := newCrowd(t, 1, 0)
	first := c.come("192.0.2.1")
	c.work(first)
	if c.come("192.0.2.1") != nil {
		t.Fatal("there is room beyond the bound")
	}
	c.rebound(2, 3)
	second := c.come("192.0.2.1")
	if second == nil {
		t.Fatal("there is no room within the other bound")
	}
	c.work(second)
	c.rebound(1, 3)
	if isClosed(first) || isClosed(second) {
		t.Error("a lower bound has ended a connection")
	}
	if c.come("192.0.2.1") != nil {
		t.Error("there is room beyond the lower bound")
	}
	c.rebound(0, 0)
	for range 5 {
		if c.come("192.0.2.1") == nil {
			t.Fatal("there is no room without a bound")
		}
	}
}
