package auth

import (
	"net/http"
	"net/url"
	"strings"
)

// Subprotocol is what a client offers beside a token in Sec-WebSocket-Protocol,
// and what the server selects: a browser fails a connection whose offers were
// all passed over, and the entry with the token must never be echoed.
const Subprotocol = "wsproxy.v1"

// LegacySubprotocol is what older noVNC and websockify's clients offer.
const LegacySubprotocol = "binary"

const (
	tokenParameter   = "token"
	bearerScheme     = "Bearer"
	bearerEntry      = "bearer."
	resumeEntry      = "resume."
	authorization    = "Authorization"
	webSocketOffered = "Sec-WebSocket-Protocol"
)

// TokenFrom finds the token of a request, "" when there is none. The first of
// these that isn't empty counts: the query parameter token, the header
// Authorization with the scheme Bearer (RFC 6750 section 2.1, in any case), an
// entry bearer.<token> of Sec-WebSocket-Protocol, which is the only header that a
// browser can set on a WebSocket.
//
// What it returns is as long as the request allowed; Verify bounds it.
func TokenFrom(query url.Values, header http.Header) string {
	if token := query.Get(tokenParameter); token != "" {
		return token
	}
	if token := bearerToken(header.Get(authorization)); token != "" {
		return token
	}
	for _, line := range header.Values(webSocketOffered) {
		for entry := range strings.SplitSeq(line, ",") {
			// Subprotocol names are compared as they are (RFC 6455 section 4.1).
			token, found := strings.CutPrefix(strings.Trim(entry, " \t"), bearerEntry)
			if found && token != "" {
				return token
			}
		}
	}
	return ""
}

// SelectSubprotocol returns the subprotocol that the answer to a request selects:
// Subprotocol if it is offered, in whichever header line and list position,
// else LegacySubprotocol, else "" for none. Only what is offered may be
// selected (RFC 6455 section 4.2.2).
func SelectSubprotocol(header http.Header) (selected string) {
	for _, line := range header.Values(webSocketOffered) {
		for entry := range strings.SplitSeq(line, ",") {
			switch strings.Trim(entry, " \t") {
			case Subprotocol:
				return Subprotocol
			case LegacySubprotocol:
				selected = LegacySubprotocol
			}
		}
	}
	return selected
}

// ResumeSubprotocol is what a client offers, and the server selects, whose session
// may outlive its WebSocket.
const ResumeSubprotocol = "wsproxy.resume"

// OffersResume reports whether a client that begins a session wants one that may
// outlive its WebSocket. It offers Subprotocol, too.
func OffersResume(header http.Header) bool {
	return offers(header, ResumeSubprotocol) && offers(header, Subprotocol)
}

// ResumeToken returns the token of the session that a client wants to take up, and
// whether it wants to take up one at all. The token may be anything.
func ResumeToken(header http.Header) (token string, given bool) {
	for _, line := range header.Values(webSocketOffered) {
		for entry := range strings.SplitSeq(line, ",") {
			if token, given = strings.CutPrefix(strings.Trim(entry, " \t"), resumeEntry); given {
				return token, true
			}
		}
	}
	return "", false
}

// SelectResume is SelectSubprotocol for a WebSocket whose session may outlive it.
func SelectResume(header http.Header) (selected string) {
	if offers(header, ResumeSubprotocol) {
		return ResumeSubprotocol
	}
	return SelectSubprotocol(header)
}

func offers(header http.Header, name string) bool {
	for _, line := range header.Values(webSocketOffered) {
		for entry := range strings.SplitSeq(line, ",") {
			if strings.Trim(entry, " \t") == name {
				return true
			}
		}
	}
	return false
}

// bearerToken is the token of an Authorization value, "" for another scheme.
func bearerToken(value string) string {
	scheme, token, found := strings.Cut(strings.Trim(value, " \t"), " ")
	if !found || !strings.EqualFold(scheme, bearerScheme) {
		return ""
	}
	return strings.Trim(token, " \t")
}
