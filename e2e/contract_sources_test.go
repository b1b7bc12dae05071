package e2e

import (
	"net"
	"net/netip"
	"testing"
)

// Section 6: whom a request is counted for, as the limits and the log show it.

// askFrom is ask from an address of this machine's own. The kernel routes all
// of 127.0.0.0/8 to it.
func askFrom(t *testing.T, s *server, local, method, target string, lines ...string) reply {
	t.Helper()
	dialer := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(local), 0)), Timeout: patience}
	conn, err := dialer.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	r, err := exchange(conn, method, target, lines...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestSources(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback(), "TRUSTED_PROXIES=127.0.0.1/32,10.0.0.0/8,2001:db8:ffff::/48", "MAX_CONNS_PER_IP=0")
	const forwarded, real = "X-Forwarded-For: ", "X-Real-IP: "
	for _, c := range []struct {
		name, peer string
		lines      []string
		want       string
	}{
		{"no header", "127.0.0.1", nil, "127.0.0.1"},
		{"one address", "127.0.0.1", []string{forwarded + "198.51.100.7"}, "198.51.100.7"},
		{"what stands left is forged", "127.0.0.1", []string{forwarded + "8.8.8.8, 198.51.100.7"}, "198.51.100.7"},
		{"trusted ones are passed over", "127.0.0.1", []string{forwarded + "8.8.8.8, 198.51.100.7, 10.1.2.3,10.9.9.9"}, "198.51.100.7"},
		{"two lines are one list", "127.0.0.1", []string{forwarded + "8.8.8.8", forwarded + "198.51.100.7"}, "198.51.100.7"},
		{"two lines, the last all trusted", "127.0.0.1", []string{forwarded + "8.8.8.8, 198.51.100.7", forwarded + "10.0.0.1"}, "198.51.100.7"},
		{"X-Real-IP alone", "127.0.0.1", []string{real + "198.51.100.8"}, "198.51.100.8"},
		{"X-Real-IP beside a list", "127.0.0.1", []string{real + "198.51.100.8", forwarded + "198.51.100.7"}, "198.51.100.7"},
		{"X-Real-IP beside a list of trusted ones", "127.0.0.1", []string{real + "198.51.100.8", forwarded + "10.0.0.1"}, "198.51.100.8"},
		{"all trusted", "127.0.0.1", []string{forwarded + "10.0.0.2, 10.0.0.1"}, "127.0.0.1"},
		{"IPv6", "127.0.0.1", []string{forwarded + "2001:db8:1:2:3:4:5:6"}, "2001:db8:1:2:3:4:5:6"},
		{"IPv6 behind a trusted one", "127.0.0.1", []string{forwarded + "2001:db8:1::1, 2001:db8:ffff::1"}, "2001:db8:1::1"},
		{"IPv4-mapped is IPv4", "127.0.0.1", []string{forwarded + "::ffff:198.51.100.7"}, "198.51.100.7"},
		{"IPv4-mapped is trusted as IPv4", "127.0.0.1", []string{forwarded + "198.51.100.7, ::ffff:10.0.0.1"}, "198.51.100.7"},
		{"rubbish", "127.0.0.1", []string{forwarded + "unknown"}, "127.0.0.1"},
		{"rubbish right of an address", "127.0.0.1", []string{forwarded + "8.8.8.8, x"}, "127.0.0.1"},
		{"another peer is not trusted", "127.0.0.2", []string{forwarded + "198.51.100.7", real + "198.51.100.8"}, "127.0.0.2"},
		{"Forwarded is not looked at", "127.0.0.1", []string{"Forwarded: for=198.51.100.7"}, "127.0.0.1"},
	} {
		target := sinkServer(t) // until all have ended, so that its port tells the lines apart
		t.Run(c.name, func(t *testing.T) {
			if r := askFrom(t, s, c.peer, "GET", relayPath(target), upgrading(c.lines...)...); r.status != 101 {
				t.Fatalf("status %d (%s)", r.status, r.body)
			}
			for _, what := range []string{"relay started", "relay ended"} {
				eventually(t, patience, what, func() bool { return len(s.sessionLines(what, target)) > 0 })
				if got := s.sessionLines(what, target)[0]["source"]; got != c.want {
					t.Errorf("%s: the source is %v, want %s", what, got, c.want)
				}
			}
		})
	}
}

// sessionLines are the lines of one kind about sessions with a target.
func (s *server) sessionLines(what string, target net.Addr) []map[string]any {
	var found []map[string]any
	for _, line := range s.logLines(`"msg":"` + what + `"`) {
		if line["target"] == target.String() {
			found = append(found, line)
		}
	}
	return found
}

// What counts as one client, with one connection for each.
func TestSourcesAsTheLimitsSeeThem(t *testing.T) {
	t.Parallel()
	target := relayPath(sinkServer(t))
	const forwarded = "X-Forwarded-For: "
	t.Run("behind a trusted proxy", func(t *testing.T) {
		s := start(t, allowLoopback(), "TRUSTED_PROXIES=127.0.0.1/32", "MAX_CONNS_PER_IP=1")
		for _, c := range []struct{ holder, same, other string }{
			{"198.51.100.7", "198.51.100.7", "198.51.100.8"},
			{"198.51.100.20", "::ffff:198.51.100.20", "::ffff:198.51.100.21"},
			{"198.51.100.30", "203.0.113.1, 198.51.100.30", "198.51.100.30, 203.0.113.1"},
			{"2001:db8:a:b::1", "2001:db8:a:b:ffff:ffff:ffff:ffff", "2001:db8:a:c::1"},
			{"2001:db8:1:1:1::", "2001:db8:1:1:2::", "2001:db8:1:2:1::"},
		} {
			t.Run(c.holder, func(t *testing.T) {
				held := open(t, s, target, forwarded+c.holder)
				if r := ask(t, s, "GET", target, upgrading(forwarded+c.same)...); r.status != 429 {
					t.Errorf("%s: status %d, want 429", c.same, r.status)
				}
				if r := ask(t, s, "GET", target, upgrading(forwarded+c.other)...); r.status != 101 {
					t.Errorf("%s: status %d, want 101", c.other, r.status)
				}
				goodbye(t, held)
			})
		}
	})
	t.Run("without one", func(t *testing.T) {
		s := start(t, allowLoopback(), "MAX_CONNS_PER_IP=1")
		held := open(t, s, target)
		for _, line := range []string{forwarded + "198.51.100.7", "X-Real-IP: 198.51.100.7", forwarded + "127.0.0.2"} {
			if r := ask(t, s, "GET", target, upgrading(line)...); r.status != 429 {
				t.Errorf("%s: status %d, want 429", line, r.status)
			}
		}
		if r := askFrom(t, s, "127.0.0.2", "GET", target, handshake...); r.status != 101 {
			t.Errorf("another peer: status %d, want 101", r.status)
		}
		goodbye(t, held)
	})
}
