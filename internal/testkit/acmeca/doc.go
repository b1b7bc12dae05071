// Package acmeca is a certificate authority that speaks ACME (RFC 8555): it checks
// signatures and nonces, and a name by tls-alpn-01 (RFC 8737) at one address.
//
// Tests of certificates call it. It knows nothing of the project but testkit.
package acmeca
