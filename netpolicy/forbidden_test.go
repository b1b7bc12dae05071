package netpolicy

import (
	"bufio"
	"context"
	"errors"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// forbiddenTarget is one line of testdata/forbidden_targets.txt.
type forbiddenTarget struct {
	spelling string // decoded
	status   int    // 400 or 403
	comment  string
}

func forbiddenTargets(t testing.TB) []forbiddenTarget {
	t.Helper()
	f, err := os.Open("testdata/forbidden_targets.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var list []forbiddenTarget
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		if line == "" || line == "#" || strings.HasPrefix(line, "# ") {
			continue
		}
		columns := strings.Split(line, "\t")
		if len(columns) != 3 {
			t.Fatalf("line %q has %d columns, not 3", line, len(columns))
		}
		spelling, err := url.QueryUnescape(columns[0])
		if err != nil {
			t.Fatalf("line %q: %v", line, err)
		}
		status, err := strconv.Atoi(columns[1])
		if err != nil || status != 400 && status != 403 {
			t.Fatalf("line %q: status %q", line, columns[1])
		}
		list = append(list, forbiddenTarget{spelling, status, columns[2]})
	}
	if len(list) < 80 {
		t.Fatalf("only %d spellings were read", len(list))
	}
	return list
}

// reach goes the whole way that a request goes, and returns the status of a
// refusal; 0 if there was none.
func reach(t *testing.T, p *Policy, host string, port uint16) int {
	t.Helper()
	target, err := ParseTarget(host, strconv.Itoa(int(port)))
	if err != nil {
		if _, ok := errors.AsType[*MalformedError](err); !ok {
			t.Errorf("%q: %T is no MalformedError", host, err)
		}
		return 400
	}
	addrs, err := p.Resolve(context.Background(), target)
	if err != nil {
		if _, ok := errors.AsType[*BlockedError](err); !ok {
			t.Errorf("%q: %T (%v) is no BlockedError", host, err, err)
		}
		return 403
	}
	if conn, err := p.Dial(context.Background(), addrs); err == nil {
		conn.Close()
	}
	return 0
}

func TestForbiddenTargets(t *testing.T) {
	c := newCanary(t)
	p := New(Options{DefaultBlock: true, Resolver: answering("127.0.0.1")})
	for _, f := range forbiddenTargets(t) {
		if got := reach(t, p, f.spelling, c.port); got != f.status {
			t.Errorf("%q (%s): status %d, want %d", f.spelling, f.comment, got, f.status)
		}
	}
	if n := c.visitors(t); n != 0 {
		t.Errorf("the canary had %d visitors", n)
	}
}

// Allowing one private network must not open a detour to another, nor to the
// proxy's own listener.
func TestForbiddenTargetsStayForbidden(t *testing.T) {
	c := newCanary(t)
	p := New(Options{
		DefaultBlock: true,
		Allowed:      prefixes(t, "203.0.113.0/24, 2000::/3, 64:ff9b::/96, 64:ff9b:1::/48, ::/96"),
		OwnPort:      func(port uint16) bool { return port == c.port },
		Resolver:     answering("127.0.0.1"),
	})
	allowed := []string{"2001:db8::1", "3fff::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:1::1"}
	for _, f := range forbiddenTargets(t) {
		if a, err := netip.ParseAddr(f.spelling); err == nil && slices.Contains(allowed, a.String()) {
			continue
		}
		if got := reach(t, p, f.spelling, c.port); got == 0 {
			t.Errorf("%q (%s) was let through", f.spelling, f.comment)
		}
	}
	if n := c.visitors(t); n != 0 {
		t.Errorf("the canary had %d visitors", n)
	}
}

// With nothing blocked, whatever leads to loopback is still not the proxy's own
// listener.
func TestOwnListenerIsForbiddenWithNothingBlocked(t *testing.T) {
	c := newCanary(t)
	p := New(Options{
		Allowed:  prefixes(t, "0.0.0.0/0, ::/0"),
		OwnPort:  func(port uint16) bool { return port == c.port },
		Resolver: answering("127.0.0.1"),
	})
	for _, host := range []string{"127.0.0.1", "127.9.9.9", "0.0.0.0", "::", "::1", "::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::127.0.0.1", "2002:7f00:1::", "localhost", "LOCALHOST.", "a.example"} {
		if got := reach(t, p, host, c.port); got != 403 {
			t.Errorf("%q: status %d, want 403", host, got)
		}
	}
	if n := c.visitors(t); n != 0 {
		t.Errorf("the canary had %d visitors", n)
	}
}
