package netpolicy

import (
	"errors"
	"net/netip"
	"testing"
)

func TestErrorTexts(t *testing.T) {
	ap := netip.MustParseAddrPort("[64:ff9b::a00:1]:22")
	ten := netip.MustParsePrefix("10.0.0.0/8")
	for _, tt := range []struct {
		err  error
		want string
	}{
		{&BlockedError{Addr: ap, Reason: ReasonRange, Range: ten}, "target [64:ff9b::a00:1]:22 is blocked: it is within 10.0.0.0/8"},
		{&BlockedError{Addr: ap, Reason: ReasonEmbedded, Range: ten, Inner: netip.MustParseAddr("10.0.0.1")}, "target [64:ff9b::a00:1]:22 is blocked: it embeds 10.0.0.1, which is within 10.0.0.0/8"},
		{&BlockedError{Addr: ap, Reason: ReasonIPv6}, "target [64:ff9b::a00:1]:22 is blocked: of IPv6 only 2000::/3 is allowed"},
		{&BlockedError{Addr: ap, Reason: ReasonOwnPort}, "target [64:ff9b::a00:1]:22 is blocked: the proxy itself listens there"},
		{&BlockedError{Addr: netip.AddrPortFrom(netip.Addr{}, 23), Reason: ReasonPort}, "target port 23 is blocked: it is not in ALLOWED_PORTS"},
		// A zone is whatever a resolver says, so it stays out of the log.
		{&BlockedError{Addr: netip.AddrPortFrom(netip.MustParseAddr("fe80::1").WithZone("a\nb"), 22), Reason: ReasonZone}, "target fe80::1 is blocked: an address with a zone is local to one link"},
		{&BlockedError{Reason: ReasonInvalid}, "target is blocked: it has no valid address"},
		{&UnresolvedError{Host: "a.example"}, "name a.example does not resolve: it has no address"},
		{&UnresolvedError{Host: "a.example", Err: errors.New("no such host")}, "name a.example does not resolve: no such host"},
		{&MalformedError{Field: "host", Problem: "is missing"}, "host is missing"},
	} {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}
