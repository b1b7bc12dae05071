// Package keys has the commands keygen and token, for an operator without an
// identity provider: a key pair whose public half a server reads from disk
// (CLERK_JWKS_URL=file:///…), and the tokens that its private half signs.
package keys
