package transport

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"time"

	"wsproxy/messages"
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
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, no refusal) {
	s.count(r, no)
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

// count counts and logs a refusal.
func (s *Server) count(r *http.Request, no refusal) {
	endpoint := strings.TrimPrefix(r.URL.Path, "/")
	s.config.Meter.Refused(endpoint, no.reason)
	s.config.Log.Debug("request refused", "endpoint", endpoint, "status", no.status,
		"reason", string(no.reason), "source", s.config.Sources.OfRequest(r).String())
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
