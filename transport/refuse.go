package transport

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"wsproxy/auth"
	"wsproxy/messages"
	"wsproxy/messages/refused"
	"wsproxy/netpolicy"
	"wsproxy/transport/outside"
)

// A refusal is an answer before the upgrade: a status, a typed reason for the
// log and the metrics, and one sentence for whoever asked.
type refusal struct {
	status   int
	reason   messages.Reason
	sentence string
}

// An applicant is who asks for a session, as far as that is known.
type applicant struct {
	endpoint refused.Endpoint
	source   netip.Addr // as judged
	user     string     // "" for anyone, and until the token was checked
	expires  time.Time  // of the token that was checked
	// Where to: the target of a relay, and a tunnel's subdomain if it has a name.
	target    func() string
	subdomain string
	cause     func() error // more than the reason of a refusal says; may be nil
}

// tokenReasons are what a token is refused for, as everybody hears of it. Of a client
// that has gone nobody does.
var tokenReasons = map[auth.Reason]messages.Reason{
	auth.ReasonMissing: refused.TokenMissing, auth.ReasonMalformed: refused.TokenMalformed, auth.ReasonAlgorithm: refused.TokenAlgorithm,
	auth.ReasonNoKeyID: refused.TokenNoKeyID, auth.ReasonUnknownKey: refused.TokenUnknownKey, auth.ReasonSignature: refused.TokenSignature,
	auth.ReasonExpired: refused.TokenExpired, auth.ReasonNotYetValid: refused.TokenNotYetValid, auth.ReasonIssuer: refused.TokenIssuer,
	auth.ReasonAudience: refused.TokenAudience, auth.ReasonAuthorizedParty: refused.TokenAuthorizedParty,
	auth.ReasonSubject: refused.TokenSubject, auth.ReasonKeysUnavailable: refused.KeysUnavailable,
	auth.ReasonCanceled: messages.ReasonAbandoned,
}

// tokenReason returns why a token was refused.
func tokenReason(err error) messages.Reason {
	if no, ok := errors.AsType[*auth.Error](err); ok {
		if reason, ok := tokenReasons[no.Reason]; ok {
			return reason
		}
	}
	return messages.ReasonInternal
}

// refusalFor returns the answer for a reason that an actor refused a session
// for.
func refusalFor(reason messages.Reason) refusal {
	switch reason {
	case messages.ReasonTargetRefused:
		return refusal{http.StatusForbidden, reason, netpolicy.RefusedText}
	case messages.ReasonAddressLimit:
		return refusal{http.StatusTooManyRequests, reason, "Too many sessions from your address; close one first."}
	case messages.ReasonUserLimit:
		return refusal{http.StatusTooManyRequests, reason, "Too many sessions of your user; close one first."}
	case messages.ReasonLookupLimit:
		return refusal{http.StatusTooManyRequests, reason, "Too many name look-ups from your address at the same time; try again."}
	case messages.ReasonNotWebSocket:
		return refusal{http.StatusUpgradeRequired, reason, "This address answers WebSocket handshakes only (RFC 6455, version 13)."}
	case messages.ReasonEarlyBytes:
		return refusal{http.StatusBadRequest, reason, "Bytes came with the handshake; a client sends none before it has the answer (RFC 6455, section 4.1)."}
	case messages.ReasonDraining:
		return refusal{http.StatusServiceUnavailable, reason, "The server is shutting down; connect again to reach its successor."}
	}
	return refusal{http.StatusInternalServerError, messages.ReasonInternal, "The server failed to open the session; try again."}
}

// refuse answers a request that no session comes of.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, who *applicant, no refusal) {
	s.record(r, who, no.reason)
	switch no.status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer") // RFC 9110, section 11.6.1
	case http.StatusUpgradeRequired:
		w.Header().Set("Connection", "Upgrade") // RFC 9110, section 15.5.22
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Sec-WebSocket-Version", "13")
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	}
	outside.Answer(w, r, no.status, no.sentence)
}

// record has a refusal counted and logged. A client that has gone was refused nothing.
func (s *Server) record(r *http.Request, who *applicant, reason messages.Reason) {
	if reason == messages.ReasonAbandoned {
		return
	}
	no := refused.Refusal{
		Endpoint: who.endpoint, Reason: reason, Source: who.source, User: who.user,
		Target: who.target, Subdomain: who.subdomain, Origin: r.Header.Get("Origin"),
	}
	if who.cause != nil && reason == messages.ReasonTargetRefused {
		no.Cause = who.cause()
	}
	s.config.Refused.Refused(no)
}

// refused has a connection that is no session's, or its request that was not read,
// counted and logged as refused.
func (c *edgeConn) refused(recorder refused.Recorder, reason messages.Reason) {
	source := c.address()
	if !source.IsValid() { // a Unix socket's peer, of whom nobody says more
		source = c.server.config.Sources.Address(source, nil, "")
	}
	recorder.Refused(refused.Refusal{Endpoint: refused.HTTP, Reason: reason, Source: source})
}

// Answers to requests whose header is more than the server takes.
var (
	tooManyFields = refusal{http.StatusRequestHeaderFieldsTooLarge, messages.ReasonHeaderTooBig, "The request's header has more than 200 fields."}
	noMemory      = refusal{http.StatusServiceUnavailable, messages.ReasonMemory, "The server has no memory left for this request; try again."}
)

// bare returns the answer as it is written where net/http doesn't: the
// connection ends behind it.
func (no refusal) bare() []byte {
	answer := http.Response{
		StatusCode: no.status, ProtoMajor: 1, ProtoMinor: 1, Close: true, ContentLength: int64(len(no.sentence)) + 1,
		Header: http.Header{
			"Content-Type": {"text/plain; charset=utf-8"}, "X-Content-Type-Options": {"nosniff"}, "Cache-Control": {"no-store"},
			"Date": {time.Now().UTC().Format(http.TimeFormat)},
		},
		Body: io.NopCloser(strings.NewReader(no.sentence + "\n")),
	}
	if no.status == http.StatusServiceUnavailable {
		answer.Header.Set("Retry-After", "1")
	}
	var whole bytes.Buffer // the Response would write each line by itself
	_ = answer.Write(&whole)
	return whole.Bytes()
}
