package netpolicy

import (
	"net/http"
	"net/netip"
	"testing"
)

// A Unix socket's peer is believed if its kind is trusted, and is this machine otherwise.
func TestSourceOfUnixSockets(t *testing.T) {
	for _, c := range []struct {
		trusted   bool
		forwarded string
		want      string
	}{
		{true, "203.0.113.9", "203.0.113.9"},
		{true, "203.0.113.9, 10.0.0.1", "203.0.113.9"},
		{true, "", "127.0.0.1"},
		{true, "rubbish", "127.0.0.1"},
		{false, "203.0.113.9", "127.0.0.1"},
	} {
		s := NewSources([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}).WithUnix(c.trusted)
		r := &http.Request{RemoteAddr: "@", Header: http.Header{"X-Forwarded-For": {c.forwarded}}}
		if got := s.OfRequest(r); got.String() != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
	if NewSources([]netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}).Trusted(netip.Addr{}) {
		t.Error("who trusts all addresses trusts Unix sockets")
	}
}
