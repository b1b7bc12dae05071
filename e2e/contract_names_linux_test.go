package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// What becomes of targets that are names (sections 2 and 7).

// There is one answer for a name that is blocked and for one that doesn't
// resolve, so that the proxy is no DNS oracle for the network it stands in.
func TestNoOracle(t *testing.T) {
	t.Parallel()
	names := newNameServer(t, func(name string) []netip.Addr {
		switch name {
		case "private.example":
			return addresses("10.1.2.3")
		case "loopback.example":
			return addresses("127.0.0.1", "::1")
		case "empty.example":
			return []netip.Addr{}
		}
		return nil
	})
	s := start(t)
	var first reply
	for i, host := range []string{"10.1.2.3", "127.0.0.1", "::1", "private.example", "loopback.example", "localhost", "empty.example", "missing.example"} {
		r := ask(t, s, "GET", relayPathTo(host, "22"), handshake...)
		r.header.Del("Date")
		if i == 0 {
			first = r
			oneSentence(t, r)
		}
		if r.status != 403 || r.body != first.body || fmt.Sprint(r.header) != fmt.Sprint(first.header) {
			t.Errorf("%s: status %d %q %v, want what 10.1.2.3 gets: %d %q %v", host, r.status, r.body, r.header, first.status, first.body, first.header)
		}
	}
	for _, name := range []string{"private.example", "missing.example"} {
		if n := names.times(name); n != 1 {
			t.Errorf("%s was asked for %d times, want once", name, n)
		}
	}
	t.Run("a port that is not allowed", func(t *testing.T) {
		r := ask(t, start(t, "ALLOWED_PORTS=80"), "GET", relayPathTo("127.0.0.1", "22"), handshake...)
		if r.status != 403 || r.body != first.body {
			t.Errorf("status %d %q, want %d %q", r.status, r.body, first.status, first.body)
		}
	})
}

// One blocked address blocks a name, wherever in the answer it stands.
func TestOneBlockedAddressBlocksAName(t *testing.T) {
	t.Parallel()
	answers := map[string][]netip.Addr{
		"good.example":   addresses("127.0.0.1"),
		"bad.example":    addresses("127.0.0.2"),
		"first.example":  addresses("127.0.0.2", "127.0.0.1"),
		"last.example":   addresses("127.0.0.1", "127.0.0.2"),
		"family.example": addresses("127.0.0.1", "::1"),
		"mapped.example": addresses("127.0.0.1", "::ffff:127.0.0.2"),
	}
	newNameServer(t, func(name string) []netip.Addr { return answers[name] })
	s := start(t, "ALLOWED_TARGETS=127.0.0.1/32")
	port := portOf(echoServer(t))
	for name := range answers {
		want := 403
		if name == "good.example" {
			want = 101
		}
		if r := ask(t, s, "GET", relayPathTo(name, port), handshake...); r.status != want {
			t.Errorf("%s: status %d, want %d", name, r.status, want)
		}
	}
}

// A name is resolved once, and the dial goes to an address that was judged: an
// answer that changes leads nowhere.
func TestRebinding(t *testing.T) {
	t.Parallel()
	var visits atomic.Int32
	canary := target(t, func(*net.TCPConn) { visits.Add(1) })
	port := portOf(canary)
	var asked atomic.Int32
	names := newNameServer(t, func(string) []netip.Addr {
		// The first two queries are for both families.
		if asked.Add(1) <= 2 {
			return addresses("127.0.0.3")
		}
		return addresses("127.0.0.1")
	})
	s := start(t, "ALLOWED_TARGETS=127.0.0.3/32")
	ws := open(t, s, relayPathTo("rebind.example", port))
	if code, text := closing(t, ws); code != 1011 || text != "cannot reach target" {
		t.Errorf("close %d %q; want 1011, for nobody listens at 127.0.0.3", code, text)
	}
	if n := names.times("rebind.example"); n != 1 {
		t.Errorf("the name was asked for %d times, want once", n)
	}
	if r := ask(t, s, "GET", relayPathTo("rebind.example", port), handshake...); r.status != 403 {
		t.Errorf("with the new answer: status %d, want 403", r.status)
	}
	if n := visits.Load(); n != 0 {
		t.Errorf("the blocked target had %d visitors", n)
	}
}

// Upper case and a final dot are the same name; it is logged as it was parsed.
func TestNamesAreNormalised(t *testing.T) {
	t.Parallel()
	newNameServer(t, func(name string) []netip.Addr { return addresses("127.0.0.1") })
	s := start(t, allowLoopback())
	port := portOf(echoServer(t))
	goodbye(t, open(t, s, relayPathTo("Target.EXAMPLE.", port)))
	if line := s.waitLog(t, "relay started"); line["target"] != "target.example:"+port {
		t.Errorf("the target is logged as %v", line["target"])
	}
	if r := ask(t, s, "GET", accessPath("Service.EXAMPLE.", "id", "secret")); r.status != 426 {
		t.Errorf("a service's name with a dot behind it: status %d, want 426", r.status)
	}
}

// An address has at most as many look-ups under way as it may have sessions.
func TestLookupsAreBounded(t *testing.T) {
	t.Parallel()
	const bound = 3
	release := make(chan struct{})
	names := newNameServer(t, func(name string) []netip.Addr {
		if strings.HasPrefix(name, "slow") {
			<-release
		}
		return addresses("127.0.0.1")
	})
	s := start(t, allowLoopback(), fmt.Sprint("MAX_CONNS_PER_IP=", bound), "TRUSTED_PROXIES=127.0.0.1/32", "DIAL_TIMEOUT=25s")
	t.Cleanup(sync.OnceFunc(func() {
		select {
		case <-release:
		default:
			close(release)
		}
	}))
	port := portOf(echoServer(t))
	const busy, other = "X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 198.51.100.2"

	statuses := make(chan int, 20)
	var asking sync.WaitGroup
	for i := range 20 {
		asking.Go(func() {
			r, err := request(s.addr, "GET", relayPathTo(fmt.Sprintf("slow%d.example", i), port), upgrading(busy)...)
			if err != nil {
				t.Error(err)
			}
			statuses <- r.status
		})
	}
	for range 20 - bound {
		if status := <-statuses; status != 429 {
			t.Errorf("beyond the bound: status %d, want 429", status)
		}
	}
	eventually(t, patience, "the look-ups are under way", func() bool { return len(names.asked()) == bound })
	// Neither another address nor what needs no look-up is held up.
	if r := ask(t, s, "GET", relayPathTo("quick.example", port), upgrading(other)...); r.status != 101 {
		t.Errorf("another address: status %d, want 101", r.status)
	}
	if r := ask(t, s, "GET", relayPathTo("127.0.0.1", port), upgrading(busy)...); r.status != 101 {
		t.Errorf("an address literal: status %d, want 101", r.status)
	}
	if got := names.asked(); len(got) != bound+1 {
		t.Errorf("the names asked for are %v, want %d slow ones", got, bound)
	}
	close(release)
	for range bound {
		// The sessions compete with the literal's for three slots.
		if status := <-statuses; status != 101 && status != 429 {
			t.Errorf("within the bound: status %d", status)
		}
	}
	asking.Wait()
	for i := range 2 * bound { // all look-ups have come back
		goodbye(t, openSoon(t, s, relayPathTo(fmt.Sprintf("later%d.example", i), port), busy))
	}
}

// A name server that doesn't answer costs DIAL_TIMEOUT, and is no oracle.
func TestMuteNameServer(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	newNameServer(t, func(string) []netip.Addr {
		<-ended
		return nil
	})
	t.Cleanup(func() { close(ended) })
	s := start(t, "DIAL_TIMEOUT=300ms")
	r := ask(t, s, "GET", relayPathTo("mute.example", "22"), handshake...)
	if want := ask(t, s, "GET", relayPathTo("127.0.0.1", "22"), handshake...); r.status != 403 || r.body != want.body {
		t.Errorf("status %d %q, want 403 %q", r.status, r.body, want.body)
	}
}
