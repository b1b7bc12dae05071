package fields

import (
	"maps"
	"net/http"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"wsproxy/messages"
	"wsproxy/netpolicy"
	"wsproxy/transport/http1"
)

// Rules say which fields pass. Any goroutine may use them.
type Rules struct {
	Sources            netpolicy.Sources
	ForwardCredentials bool // let cookies and Authorization through, and Set-Cookie back
}

// Bounds of the headers that a tunnel's answer may have, fixed by the protocol,
// section 12. More than that is no answer that can be passed on: nothing is
// dropped in silence that an application relies on.
const (
	maxAnswerHeaders     = messages.MaxAnswerFields
	maxAnswerHeaderBytes = messages.MaxAnswerHeader // names and values together
)

// An UnfitError says why a tunnel's answer can't be passed on.
type UnfitError struct {
	Reason messages.Reason
	Why    string
}

// Unfit returns an UnfitError.
func Unfit(reason messages.Reason, why string) *UnfitError { return &UnfitError{reason, why} }

func (e *UnfitError) Error() string { return "the tunnel's answer can't be passed on: " + e.Why }

// names is a set of canonical header names. A name is looked up as services
// read it that take "_" for "-" (CGI, RFC 3875, section 4.1.18).
type names map[string]bool

func (n names) has(name string) bool {
	if strings.Contains(name, "_") {
		name = textproto.CanonicalMIMEHeaderKey(strings.ReplaceAll(name, "_", "-"))
	}
	return n[name]
}

// hopByHop are the headers that are about one connection, not about the
// message (RFC 9110, section 7.6.1), beside those that Connection names.
var hopByHop = names{
	"Connection": true, "Proxy-Connection": true, "Keep-Alive": true, "Te": true,
	"Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
}

// withheld are hopByHop and the other headers that a tunnel doesn't get:
// Content-Length and Accept-Encoding because the known client would double the
// one and can't honour the other, Expect because the proxy has met it, those
// that say who asks because they are set anew or are the client's to forge, and
// Proxy because CGI programs take it for a setting.
var withheld = func() names {
	all := names{
		"Content-Length": true, "Accept-Encoding": true, "Expect": true, "Proxy": true,
		"X-Forwarded-For": true, "X-Forwarded-Host": true, "X-Forwarded-Proto": true,
		"Forwarded": true, "X-Real-Ip": true,
	}
	maps.Copy(all, hopByHop)
	return all
}()

// credentials are the headers that a tunnel gets only if the operator says so:
// who runs a tunnel is not whom a browser meant them for.
var credentials = names{
	"Cookie": true, "Authorization": true, "Proxy-Authorization": true,
	"X-Csrf-Token": true, "X-Xsrf-Token": true,
}

// notAccepted are the headers that a tunnel may not set: they would speak for
// the whole domain, or are what front proxies take for orders.
var notAccepted = names{
	"Strict-Transport-Security": true, "Public-Key-Pins": true, "Clear-Site-Data": true, "Set-Cookie2": true,
	"X-Sendfile": true, "X-Lighttpd-Send-File": true, "X-Reproxy-Url": true,
}

// isOrder reports whether nginx takes a header of this name for an order,
// whatever its case, or another proxy, which reads "_" as "-".
func isOrder(name string) bool {
	const orders = "X-Accel-"
	name = strings.ReplaceAll(name, "_", "-")
	return len(name) >= len(orders) && strings.EqualFold(name[:len(orders)], orders)
}

// Request returns the headers that a tunnel gets of a request: one
// string a name.
func (s *Rules) Request(r *http.Request, source netip.Addr) []messages.Field {
	named := namedByConnection(r.Header["Connection"])
	headers := make([]messages.Field, 0, len(r.Header)+3)
	for name, values := range r.Header {
		if withheld.has(name) || named[name] || credentials.has(name) && !s.ForwardCredentials {
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

// AppendRequest appends the header that a service gets of a request that goes as
// bytes, but for what is about the connection and the body. Fields that repeat stay
// lines of their own; Accept-Encoding passes, for the body does as it is.
func (s *Rules) AppendRequest(b []byte, r *http.Request, source netip.Addr) (header []byte, err error) {
	named := namedByConnection(r.Header["Connection"])
	for name, values := range r.Header {
		if withheld.has(name) && name != "Accept-Encoding" || named[name] || credentials.has(name) && !s.ForwardCredentials {
			continue
		}
		if name == "Cookie" && len(values) > 1 {
			values = []string{strings.Join(values, "; ")} // RFC 9113, section 8.2.3
		}
		for _, value := range values {
			if b, err = http1.AppendField(b, name, value); err != nil {
				return b, err
			}
		}
	}
	for _, f := range [...]messages.Field{
		{Name: "X-Forwarded-For", Value: source.String()},
		{Name: "X-Forwarded-Host", Value: r.Host},
		{Name: "X-Forwarded-Proto", Value: s.forwardedProto(r)},
	} {
		if b, err = http1.AppendField(b, f.Name, f.Value); err != nil {
			return b, err
		}
	}
	return b, nil
}

// AppendLength appends Content-Length.
func AppendLength(b []byte, n int64) []byte {
	b = append(b, "Content-Length: "...)
	return append(strconv.AppendInt(b, n, 10), "\r\n"...)
}

// forwardedProto returns how the outside client speaks to the outermost proxy, which is
// this process if there is no other: a trusted one says so. Of a chain of proxies the outermost comes first.
func (s *Rules) forwardedProto(r *http.Request) string {
	if said := r.Header["X-Forwarded-Proto"]; len(said) > 0 && s.Sources.Trusted(netpolicy.Peer(r)) {
		first, _, _ := strings.Cut(said[0], ",")
		switch proto := strings.ToLower(strings.TrimSpace(first)); proto {
		case "http", "https":
			return proto
		case "ws":
			return "http"
		case "wss":
			return "https"
		}
	}
	if r.TLS != nil {
		return "https"
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

// Answer puts into to what the outside client gets of the headers of a
// tunnel's answer, and returns those that are about the body's Framing.
func (s *Rules) Answer(from []messages.Field, to http.Header) (f Framing, unfit *UnfitError) {
	size := 0
	var connection []string
	for _, field := range from {
		size += len(field.Name) + len(field.Value)
		if strings.EqualFold(field.Name, "Connection") {
			connection = append(connection, field.Value)
		}
	}
	if len(from) > maxAnswerHeaders || size > maxAnswerHeaderBytes {
		return f, &UnfitError{messages.ReasonAnswerHeaders, "it has too many headers"}
	}
	named := namedByConnection(connection)
	values := make([]string, 0, len(from)) // of all names that don't repeat: one allocation
	for _, field := range from {
		name, v := textproto.CanonicalMIMEHeaderKey(field.Name), field.Value
		switch {
		case name == "Content-Length":
			f.lengths = append(f.lengths, v)
		case name == "Transfer-Encoding":
			f.codings = append(f.codings, v)
		case !hopByHop[name] && !named[name]:
			v, ok := s.passes(name, v)
			switch had := to[name]; {
			case !ok:
			case had == nil:
				values = append(values, v)
				to[name] = values[len(values)-1:][:1:1]
			default:
				to[name] = append(had, v)
			}
		}
	}
	return f, nil
}

// passes reports whether a tunnel may set a header, which is about the message,
// and returns what the outside client gets of its value.
func (s *Rules) passes(name, v string) (value string, ok bool) {
	switch {
	case notAccepted.has(name) || isOrder(name) || !httpguts.ValidHeaderFieldName(name) || !httpguts.ValidHeaderFieldValue(v):
		return "", false
	case name == "Set-Cookie":
		return withoutDomain(v), s.ForwardCredentials
	}
	return v, true
}

// notInTrailer are the headers beside hopByHop, withheld and credentials that a
// trailer may not have: those that frame, route or authenticate a message, or say
// what it is (RFC 9110, section 6.5.1).
var notInTrailer = names{
	"Content-Encoding": true, "Content-Type": true, "Content-Range": true,
	"Host": true, "Set-Cookie": true, "Location": true, "Cache-Control": true,
}

// BarredInTrailer reports whether no trailer may have a field, in either direction.
func BarredInTrailer(name string) bool {
	return hopByHop.has(name) || withheld.has(name) || credentials.has(name) || notInTrailer.has(name) || notAccepted.has(name) || isOrder(name)
}

// Trailer takes out of a trailer what a tunnel may not set. One that is too
// large can't be passed on.
func (s *Rules) Trailer(trailer http.Header) *UnfitError {
	fields, size := 0, 0
	for name, values := range trailer {
		fields += max(1, len(values))
		size += len(name)
		for _, v := range values {
			size += len(v)
		}
		if BarredInTrailer(name) {
			delete(trailer, name)
			continue
		}
		kept := values[:0]
		for _, v := range values {
			if v, ok := s.passes(name, v); ok {
				kept = append(kept, v)
			}
		}
		if len(kept) == 0 && len(values) > 0 || !httpguts.ValidHeaderFieldName(name) {
			delete(trailer, name)
			continue
		}
		trailer[name] = kept
	}
	if fields > maxAnswerHeaders || size > maxAnswerHeaderBytes {
		clear(trailer)
		return &UnfitError{messages.ReasonAnswerHeaders, "its trailer has too many fields"}
	}
	return nil
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
