package e2e

import (
	"net"
	"net/netip"
	"strings"
	"testing"
)

// Every way to spell a forbidden target that netpolicy knows of is fired at
// the server, byte for byte as it stands in the list; every name leads to
// loopback. None may reach the canary.
func TestForbiddenSpellings(t *testing.T) {
	t.Parallel()
	newNameServer(t, func(string) []netip.Addr { return addresses("127.0.0.1", "::1") })
	port, visits := newCanary(t)
	s := start(t, "MAX_CONNS_PER_IP=0")
	refused := ask(t, s, "GET", relayPathTo("127.0.0.1", port), handshake...).body
	for spelling, want := range forbiddenSpellings(t) {
		r := ask(t, s, "GET", "/relay?host="+strings.ReplaceAll(spelling, " ", "%20")+"&port="+port, handshake...)
		if r.status != want {
			t.Errorf("%q: status %d (%s), want %d", spelling, r.status, strings.TrimSpace(r.body), want)
		}
		oneSentence(t, r)
		if r.status == 403 && r.body != refused {
			t.Errorf("%q: %q is another answer than %q", spelling, r.body, refused)
		}
	}
	// The same for the far side behind Cloudflare Access.
	for spelling := range forbiddenSpellings(t) {
		r := ask(t, s, "GET", "/relay?cf_id=i&cf_secret=s&cf_domain="+strings.ReplaceAll(spelling, " ", "%20"), handshake...)
		if r.status != 400 && r.status != 403 {
			t.Errorf("cf_domain %q: status %d, want 400 or 403", spelling, r.status)
		}
	}
	if n := visits.Load(); n != 0 {
		t.Errorf("the canary had %d visitors", n)
	}
	// The canary does sing when it is allowed to.
	loose := start(t, allowLoopback())
	if code, _ := closing(t, open(t, loose, relayPathTo("canary.example", port))); code != 1000 {
		t.Errorf("close code %d, want 1000", code)
	}
	if n := visits.Load(); n != 1 {
		t.Errorf("the canary had %d visitors, want 1: the test proves nothing", n)
	}
}

// With loopback open, no spelling leads to the server's own listener.
func TestForbiddenSpellingsOfTheServerItself(t *testing.T) {
	t.Parallel()
	newNameServer(t, func(string) []netip.Addr { return addresses("127.0.0.1") })
	s := start(t, "ALLOWED_TARGETS=0.0.0.0/32,127.0.0.0/8,::/96", "MAX_CONNS_PER_IP=0")
	_, port, _ := net.SplitHostPort(s.addr)
	for spelling, want := range forbiddenSpellings(t) {
		r := ask(t, s, "GET", "/relay?host="+strings.ReplaceAll(spelling, " ", "%20")+"&port="+port, handshake...)
		if r.status != want {
			t.Errorf("%q: status %d (%s), want %d", spelling, r.status, strings.TrimSpace(r.body), want)
		}
	}
}
