package netpolicy

import (
	"net/netip"
	"strings"
	"testing"
)

func TestSourceAddress(t *testing.T) {
	s := NewSources(prefixes(t, "10.0.0.0/8, 2001:db8:1::/48, fe80::/10"))
	for _, tt := range []struct {
		name, peer, forwarded, realIP, want string // lines of forwarded are apart by |
	}{
		{"direct", "203.0.113.5", "", "", "203.0.113.5"},
		{"direct, mapped", "::ffff:203.0.113.5", "", "", "203.0.113.5"},
		{"direct, with a forged list", "203.0.113.5", "192.0.2.1", "192.0.2.2", "203.0.113.5"},
		{"direct, forged to be a proxy", "203.0.113.5", "10.0.0.1", "10.0.0.1", "203.0.113.5"},
		{"behind a proxy", "10.0.0.1", "192.0.2.1", "", "192.0.2.1"},
		{"behind a proxy, mapped", "::ffff:10.0.0.1", "::ffff:192.0.2.1", "", "192.0.2.1"},
		{"behind a proxy over IPv6", "2001:db8:1::1", "2001:db8:2::1", "", "2001:db8:2::1"},
		{"behind a proxy on the link", "fe80::1%eth0", "192.0.2.1", "", "192.0.2.1"},
		{"the right-most counts", "10.0.0.1", "192.0.2.1, 192.0.2.2", "", "192.0.2.2"},
		{"two proxies", "10.0.0.1", "192.0.2.1, 10.0.0.2", "", "192.0.2.1"},
		{"three proxies, one forgery", "10.0.0.1", "198.51.100.1, 192.0.2.1, 10.0.0.3, 10.0.0.2", "", "192.0.2.1"},
		{"lines are one list", "10.0.0.1", "198.51.100.1, 192.0.2.1|10.0.0.3|10.0.0.2", "", "192.0.2.1"},
		{"the last line counts", "10.0.0.1", "198.51.100.1|192.0.2.1", "", "192.0.2.1"},
		{"the list before the real IP", "10.0.0.1", "192.0.2.1", "198.51.100.1", "192.0.2.1"},
		{"the real IP alone", "10.0.0.1", "", "192.0.2.1", "192.0.2.1"},
		{"the real IP, all of the list being trusted", "10.0.0.1", "10.0.0.3, 10.0.0.2", "192.0.2.1", "192.0.2.1"},
		{"neither", "10.0.0.1", "", "", "10.0.0.1"},
		{"all trusted", "10.0.0.1", "10.0.0.3, 10.0.0.2", "", "10.0.0.1"},
		{"the real IP is rubbish", "10.0.0.1", "", "unknown", "10.0.0.1"},
		{"the real IP is trusted", "10.0.0.1", "", "10.0.0.9", "10.0.0.9"},
		{"a port", "10.0.0.1", "192.0.2.1:55", "", "192.0.2.1"},
		{"brackets", "10.0.0.1", "[2001:db8:2::1]", "", "2001:db8:2::1"},
		{"brackets and a port", "10.0.0.1", "[2001:db8:2::1]:55", "", "2001:db8:2::1"},
		{"brackets, mapped, a port", "10.0.0.1", "[::ffff:192.0.2.1]:55", "", "192.0.2.1"},
		{"a trusted one with a port", "10.0.0.1", "192.0.2.1:1, 10.0.0.2:2", "", "192.0.2.1"},
		{"a zone", "10.0.0.1", "2001:db8:2::1%eth0", "", "2001:db8:2::1"},
		{"blanks", "10.0.0.1", " \t192.0.2.1\t , 10.0.0.2 ", "", "192.0.2.1"},
		{"empty entries are none", "10.0.0.1", "192.0.2.1, , ,| ", "", "192.0.2.1"},
		{"nothing but empty entries", "10.0.0.1", ", ,", "192.0.2.1", "192.0.2.1"},
		{"rubbish left of the answer", "10.0.0.1", "<script>, 192.0.2.1", "", "192.0.2.1"},
		{"rubbish hides a forgery", "10.0.0.1", "198.51.100.1, unknown", "", "10.0.0.1"},
		{"rubbish behind a second proxy", "10.0.0.1", "198.51.100.1, unknown, 10.0.0.2", "", "10.0.0.1"},
		{"rubbish doesn't lead to the real IP", "10.0.0.1", "unknown", "198.51.100.1", "10.0.0.1"},
		{"octal is rubbish", "10.0.0.1", "0300.0.2.1", "", "10.0.0.1"},
		{"a name is rubbish", "10.0.0.1", "localhost", "", "10.0.0.1"},
		{"a bad port is rubbish", "10.0.0.1", "192.0.2.1:99999", "", "10.0.0.1"},
		{"brackets around IPv4 are rubbish", "10.0.0.1", "[192.0.2.1]", "", "10.0.0.1"},
	} {
		var lines []string
		if tt.forwarded != "" {
			lines = strings.Split(tt.forwarded, "|")
		}
		got := s.Address(netip.MustParseAddr(tt.peer), lines, tt.realIP)
		if got != netip.MustParseAddr(tt.want) {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
	var nobody Sources
	if got := nobody.Address(netip.MustParseAddr("10.0.0.1"), []string{"192.0.2.1"}, "192.0.2.1"); got != netip.MustParseAddr("10.0.0.1") {
		t.Errorf("with nobody trusted: got %s", got)
	}
}

// A long list from a client costs little: it is read only as far as needed.
func TestSourceAddressDoesNotAllocate(t *testing.T) {
	s := NewSources(prefixes(t, "10.0.0.0/8"))
	peer := netip.MustParseAddr("10.0.0.1")
	lines := []string{strings.Repeat("rubbish,", 10_000) + "192.0.2.1, 10.0.0.2"}
	if n := testing.AllocsPerRun(100, func() { s.Address(peer, lines, "") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestCountKey(t *testing.T) {
	for in, want := range map[string]string{
		"192.0.2.1":            "192.0.2.1/32",
		"::ffff:192.0.2.1":     "192.0.2.1/32",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
		"2001:db8:1:2:ffff::":  "2001:db8:1:2::/64",
		"2001:db8:1:3::1":      "2001:db8:1:3::/64",
		"fe80::1%eth0":         "fe80::/64",
		"::1":                  "::/64",
	} {
		if got := CountKey(netip.MustParseAddr(in)); got != netip.MustParsePrefix(want) {
			t.Errorf("CountKey(%s) = %s, want %s", in, got, want)
		}
	}
	if got := CountKey(netip.Addr{}); got != (netip.Prefix{}) {
		t.Errorf("no address: %s", got)
	}
}
