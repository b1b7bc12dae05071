package netpolicy

import (
	"net/http"
	"net/netip"
)

// OfRequest returns the address that an HTTP request counts for: see
// [Sources.Address].
func (s Sources) OfRequest(r *http.Request) netip.Addr {
	return s.Address(Peer(r), r.Header.Values("X-Forwarded-For"), r.Header.Get("X-Real-IP"))
}

// Peer returns the address at the other end of the request's connection, the
// zero Addr if that is a Unix socket's.
func Peer(r *http.Request) netip.Addr {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Addr()
}
