package netpolicy

import "net/netip"

// inner is an IPv4 address that an IPv6 address carries and that a translator
// or tunnel on the way would make of it.
type inner struct {
	addr netip.Addr
	// prefixBits is where the carried address begins: a range of the outer
	// address must be longer than that to say anything about the inner one.
	prefixBits int
}

// inners is a fixed array, so that judging allocates nothing.
type inners struct {
	list [maxInners]inner
	n    int
}

// maxInners: 64:ff9b:1::/48 can be read in four layouts, and ISATAP is possible
// on top of that.
const maxInners = 5

// all returns the part of s that is filled; it is valid as long as s is.
func (s *inners) all() []inner { return s.list[:s.n] }

func (s *inners) add(b0, b1, b2, b3 byte, prefixBits int) {
	s.list[s.n] = inner{netip.AddrFrom4([4]byte{b0, b1, b2, b3}), prefixBits}
	s.n++
}

var (
	compatible = netip.MustParsePrefix("::/96")           // IPv4-compatible, RFC 4291 section 2.5.5.1
	translated = netip.MustParsePrefix("::ffff:0:0:0/96") // IPv4-translated, RFC 2765 section 2.1
	nat64      = netip.MustParsePrefix("64:ff9b::/96")    // NAT64, well-known prefix, RFC 6052 section 2.1
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48")  // NAT64, local use, RFC 8215
	teredo     = netip.MustParsePrefix("2001::/32")       // Teredo, RFC 4380 section 4
	sixToFour  = netip.MustParsePrefix("2002::/16")       // 6to4, RFC 3056 section 2
)

// embedded returns every IPv4 address that addr, which must be unmapped, may
// carry. Where a layout is a matter of somebody's configuration it returns all
// readings: being wrong then blocks too much, never too little.
func embedded(addr netip.Addr) (s inners) {
	if !addr.Is6() {
		return s
	}
	b := addr.As16()
	switch {
	case compatible.Contains(addr), translated.Contains(addr), nat64.Contains(addr):
		s.add(b[12], b[13], b[14], b[15], 96)
	case nat64Local.Contains(addr):
		// RFC 8215 leaves the length of the translator's prefix open. The
		// layouts of RFC 6052 section 2.2 step over the octet at bits 64 to
		// 71; what follows the address is reserved, and ignored by
		// translators, so it is by us.
		s.add(b[6], b[7], b[9], b[10], 48)
		s.add(b[7], b[9], b[10], b[11], 56)
		s.add(b[9], b[10], b[11], b[12], 64)
		s.add(b[12], b[13], b[14], b[15], 96)
	case teredo.Contains(addr):
		// The server, in plain, and the client's public address, inverted.
		s.add(b[4], b[5], b[6], b[7], 32)
		s.add(^b[12], ^b[13], ^b[14], ^b[15], 96)
	case sixToFour.Contains(addr):
		s.add(b[2], b[3], b[4], b[5], 16)
	}
	// ISATAP, RFC 5214 section 6.1: an interface identifier of 0:5efe or
	// 200:5efe (universal bit) and the address, behind any prefix.
	if b[8]&^0x02 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe {
		s.add(b[12], b[13], b[14], b[15], 96)
	}
	return s
}
