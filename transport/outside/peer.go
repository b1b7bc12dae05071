package outside

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
)

// Peer returns source, the address that a request comes from, with the port of its
// connection if that is the source's own, else with port 0.
func Peer(r *http.Request, source netip.Addr) string {
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil && at.Addr().Unmap() == source {
		return net.JoinHostPort(source.String(), strconv.Itoa(int(at.Port())))
	}
	return net.JoinHostPort(source.String(), "0")
}
