package transport

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
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
	name    string // of name, empty if it is not given
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
	if query.Has("name") {
		if p.name = strings.Clone(query.Get("name")); !isName(p.name) {
			return bad(messages.ReasonBadName, "name must be 1 to 64 of the letters a to z, digits and hyphens.")
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

// maxTunnelName is how long a tunnel's name may be, in bytes: fixed by the protocol.
const maxTunnelName = 64

func isName(name string) bool {
	return name != "" && len(name) <= maxTunnelName && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// subdomainOf returns the subdomain of a user's tunnel of a name: the same for
// ever, and nobody else can guess or have it. It returns "" if there is no name,
// or nothing that makes it so: then any subdomain will do.
func (t *Tunnels) subdomainOf(user, name string) string {
	if user == "" || name == "" || t.NameSecret == "" {
		return ""
	}
	code := hmac.New(sha256.New, []byte(t.NameSecret))
	code.Write([]byte(user))
	code.Write([]byte{0}) // no name has it: so no other user and name read the same
	code.Write([]byte(name))
	return hex.EncodeToString(code.Sum(nil)[:messages.SubdomainBytes])
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
