package e2e

import (
	"net/netip"
	"testing"
	"time"
)

// The time of a refusal doesn't tell a name that leads inside, which is known at
// once, from one that nobody knows, for which a resolver asks again and again:
// it is never shorter than all of that takes.
func TestNoOracleByTime(t *testing.T) {
	t.Parallel()
	newNameServer(t, func(name string) []netip.Addr {
		if name == "private.example" {
			return addresses("10.1.2.3")
		}
		return nil
	})
	s := start(t)
	for _, name := range []string{"private.example", "missing.example"} {
		begun := time.Now()
		r := ask(t, s, "GET", relayPathTo(name, "22"), handshake...)
		if took := time.Since(begun); r.status != 403 || took < 500*time.Millisecond {
			t.Errorf("%s: status %d after %v", name, r.status, took)
		}
	}
	begun := time.Now()
	if r := ask(t, s, "GET", relayPathTo("10.1.2.3", "22"), handshake...); r.status != 403 || time.Since(begun) >= 500*time.Millisecond {
		t.Errorf("an address, which needs no look-up: status %d after %v", r.status, time.Since(begun))
	}
}
