package netpolicy

import (
	"fmt"
	"net/netip"
)

// RefusedText is the one answer for a target that is blocked and for a name
// that does not resolve. Whoever answers a client with it, instead of with the
// error's own text, doesn't turn the proxy into a DNS oracle for the network
// it stands in.
const RefusedText = "the target is not allowed, or its name does not resolve"

// MalformedError says that a host, port or name can't be read. Its text names
// the field and what is expected, never the value, so it is safe both as the
// body of a 400 and in a log.
type MalformedError struct {
	Field   string // "host", "port" or "cf_domain"
	Problem string // continues the sentence that Field begins
}

func (e *MalformedError) Error() string { return e.Field + " " + e.Problem }

// Reason says why a target is blocked. Its values are few and stable, fit for
// the label of a metric.
type Reason string

const (
	ReasonInvalid  Reason = "invalid"  // the zero address
	ReasonZone     Reason = "zone"     // an address with a zone leads to one link of this machine
	ReasonOwnPort  Reason = "own_port" // the proxy would dial itself
	ReasonPort     Reason = "port"     // not in Options.Ports, or 0
	ReasonRange    Reason = "range"    // within a blocked range
	ReasonIPv6     Reason = "ipv6"     // outside 2000::/3, with the default block
	ReasonEmbedded Reason = "embedded" // carries an IPv4 address that is within a blocked range
)

// BlockedError says that policy forbids a target. Its text names the address
// and the range: it is for the log. A client gets [RefusedText].
type BlockedError struct {
	Addr   netip.AddrPort // the judged address; the zero Addr with a port when the port alone was judged
	Reason Reason
	Range  netip.Prefix // what blocked it, for ReasonRange and ReasonEmbedded
	Inner  netip.Addr   // the embedded address, for ReasonEmbedded and, when there is one, ReasonOwnPort
}

func (e *BlockedError) Error() string {
	switch e.Reason {
	case ReasonInvalid:
		return "target is blocked: it has no valid address"
	case ReasonZone:
		return fmt.Sprintf("target %s is blocked: an address with a zone is local to one link", e.Addr.Addr().WithZone(""))
	case ReasonOwnPort:
		return fmt.Sprintf("target %s is blocked: the proxy itself listens there", e.Addr)
	case ReasonPort:
		return fmt.Sprintf("target port %d is blocked: it is not in ALLOWED_PORTS", e.Addr.Port())
	case ReasonIPv6:
		return fmt.Sprintf("target %s is blocked: of IPv6 only 2000::/3 is allowed", e.Addr)
	case ReasonEmbedded:
		return fmt.Sprintf("target %s is blocked: it embeds %s, which is within %s", e.Addr, e.Inner, e.Range)
	default:
		return fmt.Sprintf("target %s is blocked: it is within %s", e.Addr, e.Range)
	}
}

// UnresolvedError says that a name has no address: it doesn't exist, the
// resolver failed, or the context ended first (errors.Is finds that). A client
// gets [RefusedText].
type UnresolvedError struct {
	Host string
	Err  error // the resolver's; nil when it answered with no address at all
}

func (e *UnresolvedError) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("name %s does not resolve: it has no address", e.Host)
	}
	return fmt.Sprintf("name %s does not resolve: %v", e.Host, e.Err)
}

func (e *UnresolvedError) Unwrap() error { return e.Err }

// UnreachableError says that no address of a target could be connected to. Its
// text names no address and fits the 123 bytes of a WebSocket close reason;
// Attempts has the details for the log.
type UnreachableError struct {
	Attempts []error // one for each address tried, in the order in which they failed
}

func (e *UnreachableError) Error() string {
	return "cannot reach target: " + unreachableCause(e.Attempts)
}

// Unwrap gives the attempts to errors.Is, so that context.DeadlineExceeded or
// syscall.ECONNREFUSED can be asked for.
func (e *UnreachableError) Unwrap() []error { return e.Attempts }
