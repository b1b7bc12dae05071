package auth

import (
	"math"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

const (
	// Leeway is by how much the clocks of issuer and server may differ. The tokens
	// of the best known issuer live for 60 s; five are enough for machines that
	// keep time by NTP and lengthen a stolen token's life by little.
	Leeway = 5 * time.Second

	// MaxSubjectBytes bounds "sub", which becomes the key of a limit and a field of
	// log lines. Known issuers use some 30 bytes; OpenID Connect Core section 2
	// allows 255.
	MaxSubjectBytes = 256

	// maxNumericDate is the end of the year 9999 in seconds since 1970, in either
	// direction. Beyond the range of int64 a float has no defined conversion, and a
	// not-before of 1e19 could come out as one in the past.
	maxNumericDate = 253402300799
)

// rules are what the claims of a token are held to. Set once.
type rules struct {
	issuer            string   // "" = not checked
	audience          string   // "" = not checked
	authorizedParties []string // empty = not checked
}

// judge applies every rule that needs no key (RFC 7519 section 4.1), so that a
// token that breaks one costs neither a fetch nor an RSA operation. The parser
// applies its own after the signature; a mistake here can then refuse a good
// token but not admit a bad one.
//
// Names of claims are compared exactly; of a claim that occurs twice the last
// counts (RFC 7519 section 4).
func (r rules) judge(claims jwt.MapClaims, now time.Time) *Error {
	if err := judgeTimes(claims, now); err != nil {
		return err
	}
	if issuer, _ := claims["iss"].(string); r.issuer != "" && issuer != r.issuer {
		return errIssuer
	}
	if r.audience != "" {
		audience, err := claims.GetAudience()
		if err != nil || !slices.Contains(audience, r.audience) {
			return errAudience
		}
	}
	if len(r.authorizedParties) > 0 {
		party, ok := claims["azp"].(string)
		if !ok || !slices.Contains(r.authorizedParties, party) {
			return errAuthorizedParty
		}
	}
	if subject, ok := claims["sub"].(string); !ok || !isSubject(subject) {
		return errSubject
	}
	return nil
}

// judgeTimes looks at "exp" and "nbf". When a token was issued ("iat") says its
// age, not whether it is valid (RFC 7519 section 4.1.6).
func judgeTimes(claims jwt.MapClaims, now time.Time) *Error {
	for _, name := range []string{"exp", "nbf"} {
		value, present := claims[name]
		if !present {
			continue
		}
		if seconds, ok := value.(float64); !ok || math.Abs(seconds) > maxNumericDate {
			return errBadTime
		}
	}
	if _, present := claims["exp"]; !present {
		return errNoExpiry
	}
	// The library reads an expiry of 0 as none; nil is long past all the same.
	expiry, err := claims.GetExpirationTime()
	if err != nil || expiry == nil || !now.Before(expiry.Add(Leeway)) {
		return errExpired
	}
	start, err := claims.GetNotBefore()
	if err != nil || start != nil && now.Before(start.Add(-Leeway)) {
		return errNotYetValid
	}
	return nil
}

// IsSubject reports whether a token may stand for subject ("sub"), so that whoever
// makes one can tell before a server does.
func IsSubject(subject string) bool { return isSubject(subject) }

// isSubject accepts printable text only: a subject is logged, where line ends,
// terminal escapes and characters that turn the direction of writing deceive. The
// replacement character is what decoding leaves of bytes that are no UTF-8: two
// different subjects could become one by it.
func isSubject(subject string) bool {
	if subject == "" || len(subject) > MaxSubjectBytes {
		return false
	}
	for _, r := range subject {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
