package transport

import (
	"net/http"
	"net/url"
	"strings"

	"wsproxy/messages"
	"wsproxy/netpolicy"
)

// parameters are what a client asks of its tunnel. The session keeps them, so
// that nothing here is part of the request, whose header may be long.
type parameters struct {
	control string // text, binary or gossh
	credit  bool   // flow=credit
	bytes   bool   // http=bytes
	noRaw   bool   // raw=off
	host    string // of host, with http=bytes; else empty
}

// parseTunnel reads the parameters of a tunnel, or returns the answer to those
// that make no sense. control is what holds for a client that says nothing of it.
func parseTunnel(query url.Values, control string) (p parameters, no *refusal) {
	bad := func(reason messages.Reason, sentence string) (parameters, *refusal) {
		return parameters{}, &refusal{http.StatusBadRequest, reason, sentence}
	}
	switch asked := query.Get("control"); asked {
	case "":
		p.control = control
	case "text", "binary", "gossh":
		p.control = strings.Clone(asked)
	default:
		return bad(messages.ReasonBadControl, "control must be text, binary or gossh, if it is given.")
	}
	for _, one := range []struct {
		name, value string
		given       *bool
	}{{"flow", "credit", &p.credit}, {"http", "bytes", &p.bytes}, {"raw", "off", &p.noRaw}} {
		switch query.Get(one.name) {
		case "":
		case one.value:
			*one.given = true
		default:
			return bad(messages.ReasonBadControl, one.name+" must be "+one.value+", if it is given.")
		}
	}
	switch {
	case !p.bytes:
		return p, nil
	case !p.credit:
		return bad(messages.ReasonBadControl, "http=bytes needs flow=credit beside it.")
	case p.control == "gossh":
		return bad(messages.ReasonBadControl, "http=bytes needs control=text or control=binary beside it: gossh is for clients that can't do it.")
	}
	if p.host = strings.Clone(query.Get("host")); p.host != "" && !isHostHeader(p.host) {
		return bad(messages.ReasonBadHost, "host must be what a Host header may say, such as localhost:5173.")
	}
	return p, nil
}

// isHostHeader reports whether text is a host, with or without a port, as a Host
// header has it: an IPv6 address stands in brackets (RFC 9110, section 7.2).
func isHostHeader(text string) bool {
	host, port := text, "80"
	if i := strings.LastIndexByte(text, ':'); i >= 0 && !strings.HasSuffix(text, "]") {
		host, port = text[:i], text[i+1:]
	}
	_, err := netpolicy.ParseTarget(host, port)
	return err == nil && strings.Contains(host, ":") == strings.HasPrefix(host, "[")
}
