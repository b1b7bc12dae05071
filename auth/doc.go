// Package auth answers one question: who is asking? It checks JSON Web Tokens
// (RFC 7519) signed with RS256 against the key set that their issuer publishes
// (RFC 7517).
//
// A [Verifier] keeps that key set by itself: it fetches it in the background,
// never on a request, keeps the last good one through an outage, and asks again
// for a key that it doesn't know at most once a minute, whatever tokens come. A key
// set on disk is looked at every few seconds instead.
// What can be refused without a key is refused before keys are looked at.
//
// The server makes the Verifier and ends it, the edge asks it, config checks an
// address by [ValidateJWKSURL]. The package may import messages alone of the
// project: it doesn't know what is asked for, nor from where.
package auth
