package fields

import (
	"net/http"
	"slices"
	"strings"

	"wsproxy/messages"
)

// Authenticates reports whether a request, or the header of its answer, authenticates the
// connection (RFC 4559, and NTLM): it is its user's alone.
func Authenticates(r *http.Request, answer []messages.Field) bool {
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
