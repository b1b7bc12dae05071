package netpolicy

import (
	"net/netip"
	"strings"
	"sync/atomic"
)

// CountBitsIPv6 is what counts as one IPv6 client. A network gets at least a
// /64 (RFC 6177, RFC 7421), and a host in it may choose any of its addresses.
const CountBitsIPv6 = 64

// Sources knows which peers are trusted to say on whose behalf they ask
// (TRUSTED_PROXIES). Its copies know the same. The zero value trusts nobody.
type Sources struct {
	trust *atomic.Pointer[trust] // what it points to is never changed
}

type trust struct {
	ranges rangeSet
	unix   bool // the peers of Unix sockets, too
}

// NewSources builds a Sources. The slice is copied.
func NewSources(trusted []netip.Prefix) Sources {
	return newSources(trust{ranges: newRangeSet(trusted)})
}

func newSources(t trust) Sources {
	s := Sources{new(atomic.Pointer[trust])}
	s.trust.Store(&t)
	return s
}

// WithUnix returns others that trust as s does, and the peers of Unix sockets, too, if so.
// Those have no address, which is the zero Addr.
func (s Sources) WithUnix(trusted bool) Sources {
	return newSources(trust{s.trust.Load().ranges, trusted})
}

// Replace has s trust from now on as other does. Neither is of zero value. Any goroutine
// may call it.
func (s Sources) Replace(other Sources) { s.trust.Store(other.trust.Load()) }

// unixSource is the source of a Unix socket's peer of which nobody says more: this machine.
var unixSource = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// Trusted reports whether peer is a trusted proxy. The zero Addr is a Unix socket's peer.
func (s Sources) Trusted(peer netip.Addr) bool {
	if s.trust == nil {
		return false
	}
	trusted := s.trust.Load()
	if !peer.IsValid() {
		return trusted.unix
	}
	_, ok := trusted.ranges.find(plain(peer))
	return ok
}

// Address returns the address that a request comes from, unmapped and without
// a zone. forwardedFor are the lines of X-Forwarded-For in their order, which
// together are one list (RFC 9110 section 5.3); realIP is X-Real-IP.
//
// A peer that isn't trusted is the source, whatever its headers say. Behind a
// trusted one the list is read from the right, where each trusted proxy added
// whom it heard from: the first address that isn't trusted itself is the
// source. If all of the list is trusted or there is none, it is realIP, and if
// that is no address, the peer. A Unix socket's peer is 127.0.0.1 then.
//
// An entry that is no address (a proxy's "unknown", or rubbish) ends the search
// and makes the peer the source. What stands left of it is hearsay: the proxy
// that wrote it didn't know whom it heard from. realIP isn't asked then either,
// for a proxy that keeps X-Forwarded-For may well let the client's own
// X-Real-IP through. So by sending rubbish a client gains nothing but being
// counted as the proxy. Empty entries are no entries (RFC 9110 section 5.6.1).
// An entry may carry a port: 192.0.2.1:55, [2001:db8::1]:55.
func (s Sources) Address(peer netip.Addr, forwardedFor []string, realIP string) netip.Addr {
	peer = plain(peer)
	trusted := s.Trusted(peer)
	if !peer.IsValid() {
		peer = unixSource
	}
	if !trusted {
		return peer
	}
	for i := len(forwardedFor) - 1; i >= 0; i-- {
		rest, more := forwardedFor[i], true
		for more {
			var entry string
			rest, entry, more = cutLast(rest)
			if entry = trimBlank(entry); entry == "" {
				continue
			}
			addr, ok := parseForwarded(entry)
			if !ok {
				return peer
			}
			if !s.Trusted(addr) {
				return addr
			}
		}
	}
	if addr, ok := parseForwarded(trimBlank(realIP)); ok {
		return addr
	}
	return peer
}

// CountKey returns what limits count an address as: an IPv4 address by itself,
// IPv4-mapped IPv6 as IPv4, other IPv6 by its /64. The key of an invalid
// address is the zero Prefix, one key for all of them.
func CountKey(a netip.Addr) netip.Prefix {
	a = plain(a)
	bits := a.BitLen()
	if a.Is6() {
		bits = CountBitsIPv6
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// parseForwarded reads an address as proxies write it, with or without a port
// and brackets.
func parseForwarded(s string) (netip.Addr, bool) {
	if addr, err := netip.ParseAddr(s); err == nil {
		return plain(addr), true
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return plain(ap.Addr()), true
	}
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") {
		if addr, err := netip.ParseAddr(s[1 : len(s)-1]); err == nil && addr.Is6() {
			return plain(addr), true
		}
	}
	return netip.Addr{}, false
}

// cutLast takes the last comma-separated entry off a list, without allocating.
func cutLast(list string) (rest, entry string, more bool) {
	i := strings.LastIndexByte(list, ',')
	if i < 0 {
		return "", list, false
	}
	return list[:i], list[i+1:], true
}

// trimBlank removes the optional whitespace of RFC 9110 section 5.6.3.
func trimBlank(s string) string { return strings.Trim(s, " \t") }
