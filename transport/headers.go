package transport

import (
	"maps"
	"net/http"
	"net/netip"
	"net/textproto"
	"strings"

	"golang.org/x/net/http/httpguts"

	"wsproxy/messages"
)

// Bounds of the headers that a tunnel may set, fixed by the protocol. What
// exceeds them is dropped, the answer passes.
const (
	maxAnswerHeaders = 100
	maxAnswerValue   = 8 << 10 // bytes; of Connection, of all its values together
	// maxAnswerName is in bytes. A name is looked at for each of its values: one
	// as long as a message, with a thousand of them, would take a core for most
	// of a minute.
	maxAnswerName = 256
)

// hopByHop are the headers that are about one connection, not about the
// message (RFC 9110, section 7.6.1), beside those that Connection names.
var hopByHop = map[string]bool{
	"Connection": true, "Proxy-Connection": true, "Keep-Alive": true, "Te": true,
	"Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
}

// notForwarded are the headers that a tunnel doesn't get: Content-Length and
// Accept-Encoding because the known client would double the one and can't
// honour the other, Expect because the proxy has met it, and the last three
// because they are set anew.
var notForwarded = map[string]bool{
	"Content-Length": true, "Accept-Encoding": true, "Expect": true,
	"X-Forwarded-For": true, "X-Forwarded-Host": true, "X-Forwarded-Proto": true,
}

// credentials are the headers that a tunnel gets only if the operator says so:
// who runs a tunnel is not whom a browser meant them for.
var credentials = map[string]bool{
	"Cookie": true, "Authorization": true, "Proxy-Authorization": true,
	"X-Csrf-Token": true, "X-Xsrf-Token": true,
}

// notAccepted are the headers that a tunnel may not set: they would speak for
// the whole domain.
var notAccepted = map[string]bool{
	"Strict-Transport-Security": true, "Public-Key-Pins": true,
}

// withheld is both of hopByHop and notForwarded.
var withheld = func() map[string]bool {
	both := maps.Clone(hopByHop)
	maps.Copy(both, notForwarded)
	return both
}()

// requestHeaders returns the headers that a tunnel gets of a request: one
// string a name.
func (s *Server) requestHeaders(r *http.Request, source netip.Addr) []messages.Field {
	named := namedByConnection(r.Header["Connection"])
	headers := make([]messages.Field, 0, len(r.Header)+3)
	for name, values := range r.Header {
		if withheld[name] || named[name] || credentials[name] && !s.config.Tunnels.ForwardCredentials {
			continue
		}
		separator := ", "
		if name == "Cookie" {
			separator = "; " // RFC 9113, section 8.2.3
		}
		headers = append(headers, messages.Field{Name: name, Value: strings.Join(values, separator)})
	}
	return append(headers,
		messages.Field{Name: "X-Forwarded-For", Value: source.String()},
		messages.Field{Name: "X-Forwarded-Host", Value: r.Host},
		messages.Field{Name: "X-Forwarded-Proto", Value: s.forwardedProto(r)})
}

// forwardedProto returns how the outside client speaks to the outermost proxy:
// a trusted one says so. Of a chain of proxies the outermost comes first.
func (s *Server) forwardedProto(r *http.Request) string {
	if said := r.Header["X-Forwarded-Proto"]; len(said) > 0 && s.config.Sources.Trusted(peer(r)) {
		first, _, _ := strings.Cut(said[0], ",")
		switch proto := strings.ToLower(strings.TrimSpace(first)); proto {
		case "http", "https":
			return proto
		}
	}
	return "http"
}

// namedByConnection returns the headers that the Connection header's lines
// name.
func namedByConnection(lines []string) map[string]bool {
	var named map[string]bool
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			if name = textproto.TrimString(name); name != "" {
				if named == nil {
					named = make(map[string]bool)
				}
				named[textproto.CanonicalMIMEHeaderKey(name)] = true
			}
		}
	}
	return named
}

// A framing is what a tunnel's answer says of how its body was framed on its
// way to the tunnel.
type framing struct {
	lengths []string // values of Content-Length
	codings []string // values of Transfer-Encoding
}

// answerHeaders puts into to what the outside client gets of the headers of a
// tunnel's answer, and returns those that are about the body's framing.
func (s *Server) answerHeaders(from []messages.Field, to http.Header) (f framing) {
	var connection []string
	options := 0 // bytes of them
	for _, field := range from {
		if strings.EqualFold(field.Name, "Connection") && options+len(field.Value) <= maxAnswerValue {
			connection = append(connection, field.Value)
			options += len(field.Value)
		}
	}
	named := namedByConnection(connection)
	count := 0
	for _, field := range from {
		if len(field.Name) > maxAnswerName || len(field.Value) > maxAnswerValue {
			continue // before anything is done that takes as long as they are
		}
		if !httpguts.ValidHeaderFieldName(field.Name) {
			continue
		}
		name, v := textproto.CanonicalMIMEHeaderKey(field.Name), field.Value
		switch {
		case name == "Content-Length":
			f.lengths = append(f.lengths, v)
			continue
		case name == "Transfer-Encoding":
			f.codings = append(f.codings, v)
			continue
		case hopByHop[name] || named[name] || notAccepted[name]:
			continue
		case name == "Set-Cookie":
			if !s.config.Tunnels.ForwardCredentials {
				continue
			}
			v = withoutDomain(v)
		}
		if !httpguts.ValidHeaderFieldValue(v) {
			continue
		}
		if count++; count <= maxAnswerHeaders {
			to[name] = append(to[name], v)
		}
	}
	return f
}

// withoutDomain takes the Domain attribute out of a cookie, so that one tunnel
// can't set it for another (RFC 6265, section 5.2.3).
func withoutDomain(cookie string) string {
	parts := strings.Split(cookie, ";")
	kept := parts[:1]
	for _, attribute := range parts[1:] {
		name, _, _ := strings.Cut(attribute, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "Domain") {
			kept = append(kept, attribute)
		}
	}
	return strings.Join(kept, ";")
}
