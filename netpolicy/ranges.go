package netpolicy

import (
	"net/netip"
	"slices"
)

// globalUnicast is all the IPv6 space that IANA has given out for global
// unicast so far (RFC 4291 section 2.4, IANA "IPv6 Address Space" registry).
var globalUnicast = netip.MustParsePrefix("2000::/3")

// defaultBlocked is blocked unless BLOCKED_TARGETS is "none", each range with
// its source.
// "Registry" is the IANA IPv4 or IPv6 Special-Purpose Address Registry
// (RFC 6890). Most of the IPv6 ranges lie outside 2000::/3 and are blocked
// by that rule already; they are here so that the log names the true reason.
var defaultBlocked = []netip.Prefix{
	// IPv4
	netip.MustParsePrefix("0.0.0.0/8"),          // "this network", RFC 791 section 3.2; Linux takes 0.0.0.0 for itself
	netip.MustParsePrefix("10.0.0.0/8"),         // private, RFC 1918
	netip.MustParsePrefix("100.64.0.0/10"),      // shared, carrier-grade NAT, RFC 6598; Alibaba's metadata too
	netip.MustParsePrefix("127.0.0.0/8"),        // loopback, RFC 1122 section 3.2.1.3
	netip.MustParsePrefix("168.63.129.16/32"),   // Azure's platform services, a public address that answers only inside
	netip.MustParsePrefix("169.254.0.0/16"),     // link-local, RFC 3927; cloud metadata at 169.254.169.254
	netip.MustParsePrefix("172.16.0.0/12"),      // private, RFC 1918
	netip.MustParsePrefix("192.0.0.0/24"),       // IETF protocol assignments, RFC 6890; Oracle's metadata too
	netip.MustParsePrefix("192.0.2.0/24"),       // documentation (TEST-NET-1), RFC 5737
	netip.MustParsePrefix("192.88.99.0/24"),     // 6to4 relay anycast, deprecated by RFC 7526
	netip.MustParsePrefix("192.168.0.0/16"),     // private, RFC 1918
	netip.MustParsePrefix("198.18.0.0/15"),      // benchmarking, RFC 2544
	netip.MustParsePrefix("198.51.100.0/24"),    // documentation (TEST-NET-2), RFC 5737
	netip.MustParsePrefix("203.0.113.0/24"),     // documentation (TEST-NET-3), RFC 5737
	netip.MustParsePrefix("224.0.0.0/4"),        // multicast, RFC 5771
	netip.MustParsePrefix("240.0.0.0/4"),        // reserved, RFC 1112 section 4
	netip.MustParsePrefix("255.255.255.255/32"), // limited broadcast, RFC 919 section 7

	// IPv6
	netip.MustParsePrefix("::/128"),        // unspecified, RFC 4291 section 2.5.2
	netip.MustParsePrefix("::1/128"),       // loopback, RFC 4291 section 2.5.3
	netip.MustParsePrefix("::/96"),         // IPv4-compatible, deprecated by RFC 4291 section 2.5.5.1
	netip.MustParsePrefix("100::/64"),      // discard-only, RFC 6666
	netip.MustParsePrefix("2001:1::/126"),  // anycast to the nearest PCP, TURN and SRP servers, RFC 7723, RFC 8155, RFC 9665
	netip.MustParsePrefix("2001:2::/48"),   // benchmarking, RFC 5180
	netip.MustParsePrefix("2001:10::/28"),  // ORCHID, RFC 4843, deprecated
	netip.MustParsePrefix("2001:20::/28"),  // ORCHIDv2, RFC 7343
	netip.MustParsePrefix("2001:db8::/32"), // documentation, RFC 3849
	netip.MustParsePrefix("3fff::/20"),     // documentation, RFC 9637
	netip.MustParsePrefix("5f00::/16"),     // segment routing SIDs, RFC 9602
	netip.MustParsePrefix("fc00::/7"),      // unique-local, RFC 4193
	netip.MustParsePrefix("fe80::/10"),     // link-local, RFC 4291 section 2.5.6
	netip.MustParsePrefix("fec0::/10"),     // site-local, deprecated by RFC 3879
	netip.MustParsePrefix("ff00::/8"),      // multicast, RFC 4291 section 2.7
}

// DefaultBlocked returns a copy of the ranges that Options.DefaultBlock blocks.
// The rule that of IPv6 only 2000::/3 is allowed comes on top.
func DefaultBlocked() []netip.Prefix { return slices.Clone(defaultBlocked) }

// rangeSet is a list of prefixes, apart by family. Lists are short (the default
// has 32), so a scan beats anything cleverer; the benchmark tells.
type rangeSet struct {
	v4, v6 []netip.Prefix // longest first, so that a match is the most telling one
}

func newRangeSet(prefixes []netip.Prefix) rangeSet {
	var s rangeSet
	for _, p := range prefixes {
		if p = normalPrefix(p); p.Addr().Is4() {
			s.v4 = append(s.v4, p)
		} else if p.IsValid() {
			s.v6 = append(s.v6, p)
		}
	}
	longestFirst := func(a, b netip.Prefix) int { return b.Bits() - a.Bits() }
	slices.SortStableFunc(s.v4, longestFirst)
	slices.SortStableFunc(s.v6, longestFirst)
	return s
}

// find returns the longest range that contains addr, which must be unmapped.
func (s rangeSet) find(addr netip.Addr) (netip.Prefix, bool) {
	list := s.v6
	if addr.Is4() {
		list = s.v4
	}
	for _, p := range list {
		if p.Contains(addr) {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

// longest returns the length of the longest range that contains addr.
func (s rangeSet) longest(addr netip.Addr) (bits int, ok bool) {
	p, ok := s.find(addr)
	return p.Bits(), ok
}

// normalPrefix clears host bits and turns a prefix within ::ffff:0:0/96 into
// the IPv4 prefix that it is.
func normalPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked()
}
