package messages

import "net/netip"

// An IPv6 customer usually gets a /48 or a /56 (RFC 6177), and so has hundreds of
// the /64s that limits count as one source. So for every limit per source its /48
// counts as well, with some times the bound: fixed by the protocol, section 6.
const (
	siteBits = 48
	// SiteFactor is how many times the bound of a /64 a /48 has.
	SiteFactor = 4
)

// Site returns the /48 around what is counted for an IPv6 source. ok is false for
// IPv4, and for a /48 itself.
func Site(source netip.Prefix) (site netip.Prefix, ok bool) {
	if source.Bits() <= siteBits || !source.Addr().Is6() {
		return source, false
	}
	return netip.PrefixFrom(source.Addr(), siteBits).Masked(), true
}

// IsSite reports whether a source is the /48 of others.
func IsSite(source netip.Prefix) bool { return source.Bits() == siteBits && source.Addr().Is6() }
