package netpolicy

import (
	"context"
	"net/netip"
	"time"
)

// refusalStep is what the time of each refusal that follows a look-up is a
// multiple of. A name that leads to a blocked address is found out sooner than
// one that nobody knows, which the resolver tries with each search domain: by
// that time a client could tell them apart. Half a second is more than look-ups
// take, and no long wait for who has mistyped a name.
const refusalStep = 500 * time.Millisecond

// Resolve turns a target into the addresses that [Policy.Dial] may try, in the
// resolver's order and without repetition. It looks the name up once, as it was
// given, and judges every address. One blocked address blocks the name: a name
// that leads here and there is not to be trusted with either. The error is a
// *[BlockedError] or an *[UnresolvedError]; a client must not be able to tell
// them apart, see [RefusedText]. So a refusal after a look-up comes at a multiple
// of half a second.
//
// It blocks for as long as the resolver takes or until ctx ends. The caller
// sets a deadline, and bounds how many run for one client.
func (p *Policy) Resolve(ctx context.Context, t Target) ([]netip.AddrPort, error) {
	if t.Literal() {
		ap := netip.AddrPortFrom(t.Addr.Unmap(), t.Port)
		if err := p.Judge(ap); err != nil {
			return nil, err
		}
		return []netip.AddrPort{ap}, nil
	}
	// A port that no address can make good isn't worth a lookup.
	if err := p.lists.Load().judgePort(t.Port); err != nil {
		return nil, err
	}
	begun := time.Now()
	addrs, err := p.lookup(ctx, t)
	if err != nil {
		waitForStep(ctx, begun)
	}
	return addrs, err
}

// waitForStep waits until the time since begun is a multiple of refusalStep, or
// ctx ends.
func waitForStep(ctx context.Context, begun time.Time) {
	wait := time.NewTimer(refusalStep - time.Since(begun)%refusalStep)
	defer wait.Stop()
	select {
	case <-wait.C:
	case <-ctx.Done():
	}
}

// lookup looks a name up and judges its addresses.
func (p *Policy) lookup(ctx context.Context, t Target) ([]netip.AddrPort, error) {
	found, err := p.resolver.LookupNetIP(ctx, "ip", t.lookupName())
	if err != nil {
		return nil, &UnresolvedError{Host: t.Host, Err: err}
	}
	if len(found) == 0 {
		return nil, &UnresolvedError{Host: t.Host}
	}
	addrs := make([]netip.AddrPort, 0, len(found))
	seen := make(map[netip.Addr]struct{}, len(found))
	for _, addr := range found {
		addr = addr.Unmap()
		if _, again := seen[addr]; again {
			continue
		}
		seen[addr] = struct{}{}
		ap := netip.AddrPortFrom(addr, t.Port)
		if err := p.Judge(ap); err != nil {
			return nil, err
		}
		addrs = append(addrs, ap)
	}
	return addrs, nil
}
