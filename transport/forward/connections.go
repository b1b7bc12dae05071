package forward

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"wsproxy/messages"
)

// authenticates reports whether a request or its answer authenticate the connection
// (RFC 4559, and NTLM): it is its user's alone.
func authenticates(r *http.Request, answer []messages.Field) bool {
	ofConnection := func(value string) bool {
		scheme, _, _ := strings.Cut(value, " ")
		return strings.EqualFold(scheme, "NTLM") || strings.EqualFold(scheme, "Negotiate")
	}
	for _, f := range answer {
		if (f.Name == "Www-Authenticate" || f.Name == "Proxy-Authenticate") && ofConnection(f.Value) {
			return true
		}
	}
	return slices.ContainsFunc(r.Header["Authorization"], ofConnection)
}

// peerOf returns the address that tcp_open gives for a request: with the port of the
// outside connection if it is the source's own.
func peerOf(r *http.Request, source netip.Addr) string {
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil && at.Addr().Unmap() == source {
		return net.JoinHostPort(source.String(), strconv.Itoa(int(at.Port())))
	}
	return net.JoinHostPort(source.String(), "0")
}
