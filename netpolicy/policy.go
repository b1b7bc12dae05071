package netpolicy

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
)

// Options configures a [Policy]. The zero value blocks nothing but the proxy
// itself (and not even that without OwnPort), so say DefaultBlock unless an
// operator chose otherwise.
type Options struct {
	// Blocked are ranges that must not be reached, beside those of DefaultBlock
	// (BLOCKED_TARGETS).
	Blocked []netip.Prefix
	// DefaultBlock blocks [DefaultBlocked], and of IPv6 everything outside
	// 2000::/3 too.
	DefaultBlock bool
	// Allowed are ranges exempt from the block (ALLOWED_TARGETS). They count
	// for the address as it is dialled. An IPv4 address embedded in an IPv6
	// address is exempt only through a range that is long enough to name it:
	// 64:ff9b::a00:0/104 lets 10.0.0.0/8 through NAT64, while 64:ff9b::/96
	// opens NAT64 and leaves what it leads to judged, and 10.0.0.0/8 says
	// nothing about detours.
	Allowed []netip.Prefix
	// Ports are the only ports that may be reached (ALLOWED_PORTS); any, if
	// empty.
	Ports PortSet
	// OwnPort reports whether this process listens on port, on whatever
	// address. Such a port of an own address is blocked whatever the lists
	// say. It is called on every judgement, from many goroutines, so it must
	// be quick and safe for that. Nil means that there are no such ports.
	OwnPort func(port uint16) bool
	// OwnAddrs returns the machine's addresses; nil asks its interfaces. The
	// answer is kept for a few seconds. Loopback (127.0.0.0/8 and ::1) and the
	// unspecified addresses are always own.
	OwnAddrs func() ([]netip.Addr, error)
	// Resolver looks names up; nil is net.DefaultResolver.
	Resolver Resolver
}

// Resolver is the part of *net.Resolver that a Policy needs.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Policy decides where the proxy may connect to, and connects there. It is safe for
// concurrent use.
type Policy struct {
	lists    atomic.Pointer[lists]
	ownPort  func(uint16) bool // never nil
	own      *ownAddrs
	resolver Resolver
	connect  connector // one attempt; a seam for tests, else connectTCP
}

// lists are what an operator can change while a Policy is used. They are never changed
// themselves: each judgement is made by one of them.
type lists struct {
	blocked  rangeSet
	allowed  rangeSet
	only2000 bool // of IPv6 only 2000::/3
	ports    PortSet
}

// Replace has p judge by other lists from now on: by Blocked, DefaultBlock, Allowed and
// Ports of o, whose slices are copied. Any goroutine may call it.
func (p *Policy) Replace(o Options) {
	blocked := o.Blocked
	if o.DefaultBlock {
		blocked = append(DefaultBlocked(), o.Blocked...)
	}
	p.lists.Store(&lists{
		blocked:  newRangeSet(blocked),
		allowed:  newRangeSet(o.Allowed),
		only2000: o.DefaultBlock,
		ports:    o.Ports,
	})
}

// New builds a Policy. The slices of o are copied.
func New(o Options) *Policy {
	p := &Policy{
		ownPort:  o.OwnPort,
		own:      newOwnAddrs(o.OwnAddrs),
		resolver: o.Resolver,
	}
	if p.ownPort == nil {
		p.ownPort = func(uint16) bool { return false }
	}
	if p.resolver == nil {
		p.resolver = net.DefaultResolver
	}
	p.connect = p.connectTCP
	p.Replace(o)
	return p
}

// Judge returns nil if the policy lets ap be dialled, else a *[BlockedError].
// It neither blocks nor allocates for an address that passes, but for the
// occasional look at the machine's interfaces when the port is an own one.
func (p *Policy) Judge(ap netip.AddrPort) error {
	addr := ap.Addr().Unmap()
	ap = netip.AddrPortFrom(addr, ap.Port())
	if !addr.IsValid() {
		return &BlockedError{Addr: ap, Reason: ReasonInvalid}
	}
	if addr.Zone() != "" {
		return &BlockedError{Addr: ap, Reason: ReasonZone}
	}
	inner := embedded(addr)
	if p.ownPort(ap.Port()) {
		if p.own.contains(addr) {
			return &BlockedError{Addr: ap, Reason: ReasonOwnPort}
		}
		for _, e := range inner.all() {
			// No translator leads from 0.0.0.0 to anywhere, and it is what the
			// wrong one of several readings often yields.
			if !e.addr.IsUnspecified() && p.own.contains(e.addr) {
				return &BlockedError{Addr: ap, Reason: ReasonOwnPort, Inner: e.addr}
			}
		}
	}
	l := p.lists.Load()
	if err := l.judgePort(ap.Port()); err != nil {
		err.Addr = ap
		return err
	}
	allowedBits, allowed := l.allowed.longest(addr)
	if !allowed {
		if r, ok := l.blocked.find(addr); ok {
			return &BlockedError{Addr: ap, Reason: ReasonRange, Range: r}
		}
		if l.only2000 && addr.Is6() && !globalUnicast.Contains(addr) {
			return &BlockedError{Addr: ap, Reason: ReasonIPv6}
		}
	}
	for _, e := range inner.all() {
		if allowed && allowedBits > e.prefixBits {
			continue
		}
		if r, ok := l.blocked.find(e.addr); ok {
			return &BlockedError{Addr: ap, Reason: ReasonEmbedded, Range: r, Inner: e.addr}
		}
	}
	return nil
}

// judgePort is the part of the judgement that needs no address.
func (l *lists) judgePort(port uint16) *BlockedError {
	if port == 0 || !l.ports.Contains(port) {
		return &BlockedError{Addr: netip.AddrPortFrom(netip.Addr{}, port), Reason: ReasonPort}
	}
	return nil
}
