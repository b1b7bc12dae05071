package refused

import (
	"net/netip"
	"strings"

	"wsproxy/messages"
)

// An Endpoint is what was asked for: a label of the metrics, and a field of the log.
type Endpoint string

// The endpoints. They are fixed by the protocol.
const (
	Relay  Endpoint = "relay"
	Tunnel Endpoint = "tunnel"
	HTTP   Endpoint = "http" // HTTP to a tunnel, connections to the HTTP listener, and what can't be read as a request
	Raw    Endpoint = "raw"  // raw TCP connections of tunnels
)

// A Refusal says who was refused what, and why. What the log alone wants is worked out
// only if a line is written: of a flood few are.
type Refusal struct {
	Endpoint Endpoint
	Reason   messages.Reason // one of [Reasons] of Endpoint
	Source   netip.Addr      // the judged source address; of a connection without a request its direct peer
	User     string          // who it is; empty if nobody or not known yet
	// Target returns where a relay was to lead, "" if that can't be read. It may be
	// nil. It is called before Refused returns, or not at all.
	Target func() string
	// Subdomain is the tunnel's, as the request has it; it need be none.
	Subdomain string
	Origin    string // the request's Origin header as it came, see [Origin]
	Cause     error  // more than Reason says, for the log; nil if there is nothing. It has no text of the client's
}

// A Recorder counts refusals and logs them. Its method is called by many goroutines
// and actors, and returns at once.
type Recorder interface {
	Refused(Refusal)
}

// TurnedAway tells a recorder, which may be nil, of a raw connection from an outside
// peer, host:port, to the tunnel of a subdomain.
func TurnedAway(to Recorder, peer, subdomain string, reason messages.Reason) {
	if to != nil {
		source, _ := netip.ParseAddrPort(peer)
		to.Refused(Refusal{Endpoint: Raw, Reason: reason, Source: source.Addr().Unmap(), Subdomain: subdomain})
	}
}

// maxOrigin bounds what the log has of an Origin header, in bytes: a scheme, a host
// name of at most 253 bytes (RFC 1035, section 2.3.4), and a port.
const maxOrigin = 300

// Unreadable stands for an Origin header that is no origin.
const Unreadable = "unreadable"

// Origin returns what the log may have of an Origin header: itself if it has the form
// of one (RFC 6454, section 6.2), "" if there is none, else [Unreadable]. A stranger
// writes the header: of anything else nothing gets into the log.
func Origin(header string) string {
	if header == "" || header == "null" {
		return header
	}
	scheme, host, found := strings.Cut(header, "://")
	if !found || len(header) > maxOrigin || !isWord(scheme, "+-.") || !isWord(host, "-._:[]") {
		return Unreadable
	}
	return header
}

// isWord reports whether s is not empty and has only ASCII letters, digits and others.
func isWord(s, others string) bool {
	for _, c := range []byte(s) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte(others, c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}
