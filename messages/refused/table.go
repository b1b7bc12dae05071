package refused

import (
	"slices"

	"wsproxy/messages"
)

// Why a token was refused, each cause by itself: all are 401.
const (
	TokenMissing         messages.Reason = "token_missing"
	TokenMalformed       messages.Reason = "token_malformed"
	TokenAlgorithm       messages.Reason = "token_algorithm"
	TokenNoKeyID         messages.Reason = "token_no_kid"
	TokenUnknownKey      messages.Reason = "token_unknown_key"
	TokenSignature       messages.Reason = "token_signature"
	TokenExpired         messages.Reason = "token_expired"
	TokenNotYetValid     messages.Reason = "token_not_yet_valid"
	TokenIssuer          messages.Reason = "token_issuer"
	TokenAudience        messages.Reason = "token_audience"
	TokenAuthorizedParty messages.Reason = "token_authorized_party"
	TokenSubject         messages.Reason = "token_subject"
	KeysUnavailable      messages.Reason = "keys_unavailable"
)

// session are the reasons of relay and tunnel alike.
var session = []messages.Reason{
	TokenMissing, TokenMalformed, TokenAlgorithm, TokenNoKeyID, TokenUnknownKey, TokenSignature, TokenExpired, TokenNotYetValid,
	TokenIssuer, TokenAudience, TokenAuthorizedParty, TokenSubject, KeysUnavailable,
	messages.ReasonOrigin, messages.ReasonAddressLimit, messages.ReasonUserLimit, messages.ReasonDraining,
	messages.ReasonNotWebSocket, messages.ReasonEarlyBytes,
	messages.ReasonNoSession, messages.ReasonOldAttempt, messages.ReasonNotContinued, // after the upgrade
	messages.ReasonShutdown, messages.ReasonInternal,
}

// table has every pair of endpoint and reason that can occur: so each can be shown
// from the start, and has its row in docs/troubleshooting.md, which a test compares.
var table = []struct {
	endpoint Endpoint
	reasons  []messages.Reason
}{
	{Relay, slices.Concat(session, []messages.Reason{
		messages.ReasonBadTarget, messages.ReasonTargetRefused, messages.ReasonLookupLimit,
		messages.ReasonTargetBlocked, // after the upgrade
	})},
	{Tunnel, slices.Concat(session, []messages.Reason{
		messages.ReasonNoTunnels, messages.ReasonBadControl, messages.ReasonBadHost, messages.ReasonBadName,
	})},
	{HTTP, []messages.Reason{
		messages.ReasonNoTunnel, messages.ReasonHTTPLimit, messages.ReasonHTTPShare, messages.ReasonTunnelBusy, messages.ReasonGaveWay,
		messages.ReasonMemory, messages.ReasonShutdown, messages.ReasonTunnelGone, messages.ReasonRestarted,
		messages.ReasonBodyTooBig, messages.ReasonBodyBad, messages.ReasonBodyLate,
		messages.ReasonBadAnswer, messages.ReasonAnswerTooBig, messages.ReasonAnswerHeaders, messages.ReasonAnswerLate,
		messages.ReasonServiceRefused, messages.ReasonServiceEnded, messages.ReasonInternal,
		messages.ReasonBadRequest, messages.ReasonHeaderTooBig, messages.ReasonConnLimit, messages.ReasonConnIdle, messages.ReasonProxyHeader, messages.ReasonTLSHandshake, // to no tunnel
	}},
	{Raw, []messages.Reason{
		messages.ReasonRawFull, messages.ReasonRawAddress, messages.ReasonRawTunnel, messages.ReasonRawUser, messages.ReasonRawLimit,
		messages.ReasonTunnelGone, messages.ReasonRestarted, messages.ReasonShutdown, messages.ReasonInternal, messages.ReasonProxyHeader,
	}},
}

// Endpoints returns all of them, in the order of the documents.
func Endpoints() []Endpoint {
	all := make([]Endpoint, len(table))
	for i, row := range table {
		all[i] = row.endpoint
	}
	return all
}

// Reasons returns every reason that something can be refused for at an endpoint. The
// slice is the caller's.
func Reasons(e Endpoint) []messages.Reason {
	for _, row := range table {
		if row.endpoint == e {
			return slices.Clone(row.reasons)
		}
	}
	return nil
}

// IsKnown reports whether the table has a pair.
func IsKnown(e Endpoint, reason messages.Reason) bool { return slices.Contains(Reasons(e), reason) }
