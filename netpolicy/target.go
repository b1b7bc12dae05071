package netpolicy

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Limits of a name in its text form without the trailing dot: RFC 1035 section
// 2.3.4 allows 255 octets on the wire, which leaves 253 characters.
const (
	maxName  = 253
	maxLabel = 63
)

// Target is a place to connect to, as [ParseTarget] accepted it.
type Target struct {
	// Host is normalised: a name in lower case without a trailing dot, or an
	// address in its canonical form without brackets and without a zone.
	Host string
	Port uint16 // never 0
	// Absolute says that the name was given with its trailing dot. It is looked
	// up with it, so that the resolver tries it as it is and no search domain.
	Absolute bool
	// Addr is valid when Host is an address literal. An IPv4-mapped IPv6
	// literal is the IPv4 address that it maps, for that is what is dialled.
	Addr netip.Addr
}

// ParseTarget reads the host and port of a request. Anything that isn't plainly
// a name or an address is a *[MalformedError]: no spelling of an address other
// than the canonical families of RFC 4291 and dotted decimal without leading
// zeros is an address, and nothing that some resolver might take for one
// (127.1, 2130706433, 0x7f.1, 0177.0.0.1) is a name.
func ParseTarget(host, port string) (Target, error) {
	name, addr, problem := parseHost(host)
	if problem != "" {
		return Target{}, &MalformedError{Field: "host", Problem: problem}
	}
	p, ok := parsePort(port)
	if !ok {
		if port == "" {
			return Target{}, &MalformedError{Field: "port", Problem: "is missing"}
		}
		return Target{}, &MalformedError{Field: "port", Problem: "must be a number from 1 to 65535, in plain digits without a leading zero"}
	}
	absolute := !addr.IsValid() && strings.HasSuffix(host, ".")
	return Target{Host: name, Port: p, Absolute: absolute, Addr: addr}, nil
}

// ParseName reads a DNS name where an address is no answer (cf_domain), and
// returns it in lower case without a trailing dot. The error is a
// *[MalformedError].
func ParseName(name string) (string, error) {
	host, addr, problem := parseHost(name)
	if problem == "" && addr.IsValid() {
		problem = "must be a name, not an address"
	}
	if problem != "" {
		return "", &MalformedError{Field: "cf_domain", Problem: problem}
	}
	return host, nil
}

// lookupName is what the resolver is asked for.
func (t Target) lookupName() string {
	if t.Absolute {
		return t.Host + "."
	}
	return t.Host
}

// Literal reports whether the target is an address and needs no lookup.
func (t Target) Literal() bool { return t.Addr.IsValid() }

// String returns host:port, with brackets around IPv6. A Target that
// ParseTarget returned has no control character in it, nor anything else
// outside printable ASCII, so it is safe in a log.
func (t Target) String() string {
	return net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port)))
}

// parseHost returns either a normalised host, and its address when it is a
// literal, or what is wrong with it.
func parseHost(host string) (name string, addr netip.Addr, problem string) {
	if host == "" {
		return "", addr, "is missing"
	}
	if len(host) > maxName+1 {
		return "", addr, "is longer than the 253 characters that a name may have"
	}
	for i := range len(host) {
		switch c := host[i]; {
		case c <= ' ' || c == 0x7f:
			return "", addr, "has a space or control character in it"
		case c > 0x7f:
			return "", addr, "has a character outside ASCII in it; write an international name in its xn-- form"
		}
	}
	if strings.ContainsAny(host, ":[]%") {
		return parseIPv6(host)
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.String(), a, ""
	}
	name = strings.ToLower(strings.TrimSuffix(host, "."))
	return name, addr, nameProblem(name)
}

// parseIPv6 reads what has a colon, a bracket or a percent sign in it, and so
// can't be anything but an IPv6 address.
func parseIPv6(host string) (string, netip.Addr, string) {
	text := host
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		text = host[1 : len(host)-1]
	}
	addr, err := netip.ParseAddr(text)
	switch {
	case err == nil && addr.Zone() != "":
		return "", netip.Addr{}, "must not have a zone"
	case err == nil && addr.Is6():
		addr = addr.Unmap()
		return addr.String(), addr, ""
	case err == nil:
		return "", netip.Addr{}, "must not have brackets around anything but an IPv6 address"
	case strings.Count(text, ":") == 1:
		return "", netip.Addr{}, "must not have a port in it; the port goes into a parameter of its own"
	default:
		return "", netip.Addr{}, "is neither a name nor a valid IPv6 address"
	}
}

// nameProblem says what is wrong with a lower-case name without a trailing dot;
// nothing, if "". Letters, digits and hyphens (RFC 1123 section 2.1), and the
// underscore, which isn't legal in a host name but exists in practice.
func nameProblem(name string) string {
	if len(name) > maxName {
		return "is longer than the 253 characters that a name may have"
	}
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		switch {
		case label == "":
			return "has an empty label in it, a dot too many"
		case len(label) > maxLabel:
			return "has a label longer than 63 characters"
		case label[0] == '-' || label[len(label)-1] == '-':
			return "has a label that begins or ends with a hyphen"
		}
		for i := range len(label) {
			if c := label[i]; !isLower(c) && !isDigit(c) && c != '-' && c != '_' {
				return "may have only letters, digits, hyphens, underscores and dots in it"
			}
		}
		last = label
	}
	// What inet_aton(3), and with it getaddrinfo(3), would read as an address.
	if allDigits(last) || strings.HasPrefix(last, "0x") {
		return "looks like an address but is none; write IPv4 as four decimal numbers without leading zeros"
	}
	return ""
}

// parsePort accepts one spelling of each port from 1 to 65535.
func parsePort(s string) (uint16, bool) {
	if s == "" || s[0] == '0' || len(s) > 5 || !allDigits(s) {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err == nil
}

func allDigits(s string) bool {
	for i := range len(s) {
		if !isDigit(s[i]) {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
