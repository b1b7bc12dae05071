package netpolicy

import (
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// ownAddrsFor is how long a list of the machine's addresses is believed. An
// address that comes up in between is caught after connecting, see connectTCP.
const ownAddrsFor = 5 * time.Second

// ownAddrs knows the addresses of this machine.
type ownAddrs struct {
	list       func() ([]netip.Addr, error) // set once
	last       atomic.Pointer[ownSnapshot]  // nil until the first success
	refreshing atomic.Bool                  // somebody is in list
}

type ownSnapshot struct {
	at    time.Time
	addrs map[netip.Addr]struct{} // never written to after publication
}

func newOwnAddrs(list func() ([]netip.Addr, error)) *ownAddrs {
	if list == nil {
		list = interfaceAddrs
	}
	return &ownAddrs{list: list}
}

// contains reports whether addr, which must be unmapped, leads to this machine.
func (o *ownAddrs) contains(addr netip.Addr) bool {
	// Linux delivers all of 127.0.0.0/8 to itself, and takes the unspecified
	// address for loopback.
	if addr.IsLoopback() || addr.IsUnspecified() {
		return true
	}
	s := o.snapshot()
	if s == nil {
		// The list was never to be had. Every address could be an own one, and
		// only own listening ports are at stake, so be careful.
		return true
	}
	_, ok := s.addrs[addr]
	return ok
}

// snapshot returns a fresh list, or the last good one while another goroutine
// fetches, or when fetching fails: a shortage of descriptors, which clients can
// bring about, must not make the proxy forget who it is.
func (o *ownAddrs) snapshot() *ownSnapshot {
	last := o.last.Load()
	if last != nil && time.Since(last.at) < ownAddrsFor {
		return last
	}
	if last != nil && !o.refreshing.CompareAndSwap(false, true) {
		return last
	}
	if last != nil {
		defer o.refreshing.Store(false)
	}
	addrs, err := o.list()
	if err != nil {
		return last
	}
	s := &ownSnapshot{at: time.Now(), addrs: make(map[netip.Addr]struct{}, len(addrs))}
	for _, a := range addrs {
		s.addrs[plain(a)] = struct{}{}
	}
	o.last.Store(s)
	return s
}

// interfaceAddrs lists the addresses of the machine's interfaces.
func interfaceAddrs() ([]netip.Addr, error) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(n.IP); ok {
				addrs = append(addrs, addr)
			}
		}
	}
	return addrs, nil
}

// plain is an address as it is compared and counted: IPv4-mapped IPv6 is IPv4,
// and a zone says nothing.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
