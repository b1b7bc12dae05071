package rawtcp

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
)

// A Version is one of the PROXY protocol (haproxy's proxy-protocol.txt), which tells a
// service who is at the other end of a connection.
type Version uint8

// The versions.
const (
	V1 Version = 1 // a line of text
	V2 Version = 2 // binary
)

// ParseVersion reads v1 or v2; "" is 0, which is none.
func ParseVersion(s string) (Version, error) {
	switch s {
	case "":
		return 0, nil
	case "v1":
		return V1, nil
	case "v2":
		return V2, nil
	}
	return 0, fmt.Errorf("--proxy-protocol is v1 or v2, not %q", s)
}

// signature begins each header of version 2.
const signature = "\r\n\r\n\x00\r\nQUIT\n"

// Of version 2.
const (
	commandLocal = 0x20 // version 2, a connection of the sender's own
	commandProxy = 0x21 // version 2, a connection for somebody else
	overTCP4     = 0x11
	overTCP6     = 0x21
)

// Append appends the header for a connection from source, as it was accepted outside,
// to destination, the service. If an address is none of IP the header says that
// nothing is known.
func (v Version) Append(b []byte, source, destination net.Addr) []byte {
	from, to := addrPort(source), addrPort(destination)
	known := from.IsValid() && to.IsValid()
	four := known && from.Addr().Is4() && to.Addr().Is4()
	if known && !four { // both have to be of one family
		from = netip.AddrPortFrom(netip.AddrFrom16(from.Addr().As16()), from.Port())
		to = netip.AddrPortFrom(netip.AddrFrom16(to.Addr().As16()), to.Port())
	}
	if v == V1 {
		switch {
		case !known:
			return append(b, "PROXY UNKNOWN\r\n"...)
		case four:
			return fmt.Appendf(b, "PROXY TCP4 %s %s %d %d\r\n", from.Addr(), to.Addr(), from.Port(), to.Port())
		}
		return fmt.Appendf(b, "PROXY TCP6 %s %s %d %d\r\n", from.Addr(), to.Addr(), from.Port(), to.Port())
	}
	b = append(b, signature...)
	if !known {
		return append(b, commandLocal, 0, 0, 0)
	}
	family, length := byte(overTCP4), 12
	if !four {
		family, length = overTCP6, 36
	}
	b = append(b, commandProxy, family)
	b = binary.BigEndian.AppendUint16(b, uint16(length))
	b = append(b, from.Addr().AsSlice()...)
	b = append(b, to.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, from.Port())
	return binary.BigEndian.AppendUint16(b, to.Port())
}

// addrPort reads an address; it is not valid if there is none of IP.
func addrPort(a net.Addr) netip.AddrPort {
	if a == nil {
		return netip.AddrPort{}
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap().WithZone(""), ap.Port())
}
