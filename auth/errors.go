package auth

// Reason says why a token was refused. It is a small closed set (see Reasons),
// so that it can label a metric.
type Reason string

const (
	// ReasonMissing: the request carries no token.
	ReasonMissing Reason = "missing"
	// ReasonMalformed: no JWT in compact form (RFC 7515 section 7.1), too long,
	// or a time claim that is absent though required, or no number.
	ReasonMalformed Reason = "malformed"
	// ReasonAlgorithm: signed by anything but RS256, or not at all.
	ReasonAlgorithm Reason = "algorithm"
	// ReasonNoKeyID: the header names no key ("kid").
	ReasonNoKeyID Reason = "no_kid"
	// ReasonUnknownKey: the header names a key that the issuer doesn't publish.
	ReasonUnknownKey Reason = "unknown_key"
	// ReasonSignature: the signature is not that of the named key.
	ReasonSignature Reason = "signature"
	// ReasonExpired: "exp" has passed.
	ReasonExpired Reason = "expired"
	// ReasonNotYetValid: "nbf" lies in the future.
	ReasonNotYetValid Reason = "not_yet_valid"
	// ReasonIssuer: "iss" is not Config.Issuer.
	ReasonIssuer Reason = "issuer"
	// ReasonAudience: "aud" doesn't contain Config.Audience.
	ReasonAudience Reason = "audience"
	// ReasonAuthorizedParty: "azp" is not one of Config.AuthorizedParties.
	ReasonAuthorizedParty Reason = "authorized_party"
	// ReasonSubject: "sub" is absent, empty, too long or not printable.
	ReasonSubject Reason = "subject"
	// ReasonKeysUnavailable: there are no keys to judge by: none could be
	// fetched yet, or none for longer than they may be kept.
	ReasonKeysUnavailable Reason = "keys_unavailable"
	// ReasonCanceled: the caller's context ended while its key was fetched.
	ReasonCanceled Reason = "canceled"
)

// Reasons returns every Reason there is, so that a metric can show each of them
// from the start. The slice is the caller's.
func Reasons() []Reason {
	return []Reason{
		ReasonMissing, ReasonMalformed, ReasonAlgorithm, ReasonNoKeyID, ReasonUnknownKey,
		ReasonSignature, ReasonExpired, ReasonNotYetValid, ReasonIssuer, ReasonAudience,
		ReasonAuthorizedParty, ReasonSubject, ReasonKeysUnavailable, ReasonCanceled,
	}
}

// Error is every error that Verify returns. Values are shared between calls:
// read them, don't change them.
type Error struct {
	// Reason is the kind of refusal.
	Reason Reason

	sentence string
	cause    error
}

// Error is one sentence for the person whose token was refused, fit for the body
// of a 401. It never contains text from the token.
func (e *Error) Error() string { return e.sentence }

// Unwrap returns the caller's own context error for ReasonCanceled, else nil.
func (e *Error) Unwrap() error { return e.cause }

// Refusals are made once: a flood of bad tokens then costs no memory for them.
var (
	errMissing         = refusal(ReasonMissing, "no token was given: send it as the query parameter token, as Authorization: Bearer, or as a WebSocket subprotocol bearer.<token>")
	errTooLong         = refusal(ReasonMalformed, "the token is longer than the 8 KiB that are accepted")
	errMalformed       = refusal(ReasonMalformed, "the token is not a JSON Web Token in compact form")
	errCritical        = refusal(ReasonMalformed, "the token's header has critical extensions (crit), and none are supported")
	errNoExpiry        = refusal(ReasonMalformed, "the token has no expiry time (exp), which is required")
	errBadTime         = refusal(ReasonMalformed, "a time in the token (exp or nbf) is not a number of seconds since 1970")
	errAlgorithm       = refusal(ReasonAlgorithm, "the token is not signed with RS256, the only accepted algorithm")
	errNoKeyID         = refusal(ReasonNoKeyID, "the token's header does not name its key (kid)")
	errUnknownKey      = refusal(ReasonUnknownKey, "the token is signed with a key that its issuer does not publish")
	errSignature       = refusal(ReasonSignature, "the token's signature is not valid")
	errExpired         = refusal(ReasonExpired, "the token has expired; connect again with a fresh one")
	errNotYetValid     = refusal(ReasonNotYetValid, "the token is not valid yet; the issuer's clock or this server's may be wrong")
	errIssuer          = refusal(ReasonIssuer, "the token was issued by someone else than this server trusts (iss)")
	errAudience        = refusal(ReasonAudience, "the token is not meant for this server (aud)")
	errAuthorizedParty = refusal(ReasonAuthorizedParty, "the token was issued to an application that may not use this server (azp)")
	errSubject         = refusal(ReasonSubject, "the token does not say whom it stands for (sub), or not in up to 256 bytes of printable text")
	errKeysUnavailable = refusal(ReasonKeysUnavailable, "the keys that tokens are checked with are not available at the moment; try again later")
)

func refusal(reason Reason, sentence string) *Error {
	return &Error{Reason: reason, sentence: sentence}
}

func errCanceled(cause error) *Error {
	return &Error{
		Reason:   ReasonCanceled,
		sentence: "the request ended while the key of its token was being fetched",
		cause:    cause,
	}
}
