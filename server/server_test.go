package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"wsproxy/config"
	"wsproxy/page"
)

// What an operator may not have meant is said at start, once, and without the
// values of variables that may be anything.
func TestWarningsAtStart(t *testing.T) {
	for name, test := range map[string]struct {
		env  []string
		want []string // what WARN lines hold, beside the one about authentication
	}{
		"nothing odd":     {nil, nil},
		"a list":          {[]string{"BLOCKED_TARGETS=8.8.8.0/24"}, nil},
		"nothing blocked": {[]string{"BLOCKED_TARGETS=none"}, []string{"BLOCKED_TARGETS is none"}},
		"no page":         {[]string{"WEB_TERMINAL=on"}, []string{"this build is without its page"}[:withoutPage()]},
		"a slip":          {[]string{"MAX_CONN_PER_IP=s3cret"}, []string{`"variable":"MAX_CONN_PER_IP","looks_like":"MAX_CONNS_PER_IP"`}},
	} {
		c, err := config.Load(append(test.env, "PORT=0", "BIND=127.0.0.1"))
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		s, err := start(c, "test", slog.New(slog.NewJSONHandler(&out, nil)))
		if err != nil {
			t.Fatal(err)
		}
		s.close(t.Context())
		var warnings []string
		for line := range strings.Lines(out.String()) {
			if strings.Contains(line, `"level":"WARN"`) && !strings.Contains(line, "authentication is off") {
				warnings = append(warnings, line)
			}
		}
		if !slices.EqualFunc(warnings, test.want, strings.Contains) {
			t.Errorf("%s: warnings are %q, want %q", name, warnings, test.want)
		}
		if strings.Contains(out.String(), "s3cret") {
			t.Errorf("%s: a value is logged:\n%s", name, &out)
		}
	}
}

// withoutPage is 1 if this test is built without the page, as it is by default.
func withoutPage() int {
	if page.Exists() {
		return 0
	}
	return 1
}

// With 0 for no limit a tunnel takes more of everything than any default lets
// in, and more than none, which 0 meant to those who compare.
func TestZeroIsNoLimit(t *testing.T) {
	const many = 150 // beyond 50 of an address, 100 of a tunnel
	s, address := startForRestarts(t, freePorts(t, 1), 1, "MAX_CONNS_PER_IP=0", "MAX_CONNS_PER_USER=0",
		"MAX_TUNNEL_HTTP_PER_IP=0", "MAX_TUNNEL_HTTP=0", "MAX_TUNNEL_TCP_CONNS=0", "MAX_TUNNEL_TCP_CONNS_GLOBAL=0", "MAX_TUNNEL_TCP_PER_IP=0")
	t.Cleanup(func() { s.close(t.Context()) })
	c := openRestartTunnel(t, address)
	var conns []net.Conn
	var statuses []<-chan int
	for range many {
		conn, status := c.busy() // each waits until the client has heard of both
		conns, statuses = append(conns, conn), append(statuses, status)
	}
	c.fail()
	for i, conn := range conns {
		if got := await(t, "the answer", statuses[i]); got != http.StatusBadGateway {
			t.Fatalf("request %d is answered %d, want 502", i, got)
		}
		c.wantReset(conn)
	}
}

// A bound that is set holds.
func TestBoundsOfATunnelHold(t *testing.T) {
	s, address := startForRestarts(t, freePorts(t, 1), 1, "MAX_TUNNEL_HTTP=1", "MAX_TUNNEL_TCP_CONNS=1")
	t.Cleanup(func() { s.close(t.Context()) })
	c := openRestartTunnel(t, address)
	first, _ := c.busy()
	defer first.Close() // kept until then: what is collected is closed, and would give way
	// Of one slot an address has one: the next one waits for it, in vain.
	if status, _, err := c.get("/again"); status != http.StatusTooManyRequests {
		t.Errorf("the second request is answered %d, %v; want 429", status, err)
	}
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", c.port))
	if errors.Is(err, syscall.ECONNRESET) {
		return // before Dial has seen that it was connected
	}
	if err != nil {
		t.Fatal(err)
	}
	c.wantReset(conn)
}

// What one may have of what all share, by the defaults and without limits.
func TestPartsOfWhatAllShare(t *testing.T) {
	for _, c := range []struct{ bound, tunnel, user int }{{1000, 250, 500}, {10, 3, 5}, {1, 1, 1}, {0, 0, 0}} {
		if tunnel, user := part(c.bound, rawTunnelParts), part(c.bound, rawUserParts); tunnel != c.tunnel || user != c.user {
			t.Errorf("of %d raw connections a tunnel has %d, a user %d", c.bound, tunnel, user)
		}
	}
	for _, c := range []struct{ tunnel, address, want int }{
		{100, 50, 50}, {100, 30, 30}, {60, 50, 30}, {1, 50, 1}, {3, 50, 2}, {0, 50, 50}, {100, 0, 50}, {0, 0, 0},
	} {
		if got := httpPerAddress(config.Config{MaxTunnelHTTP: c.tunnel, MaxTunnelHTTPPerIP: c.address}); got != c.want {
			t.Errorf("of %d requests, %d for an address over all, an address has %d in a tunnel", c.tunnel, c.address, got)
		}
	}
}
