// Package http1 is HTTP/1.1 as bytes, of the side that asks: it writes the head of
// a request and frames its body, and reads heads and bodies of answers (RFC 9112).
// It does no input or output.
//
// Package forward calls it for requests that travel through a tunnel as bytes. What
// it writes is made anew of parsed parts; so nothing that two parsers could read in
// two ways reaches a service. It knows package messages alone, and which fields pass
// is not its business.
package http1
