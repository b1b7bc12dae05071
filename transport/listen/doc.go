// Package listen is what stands before the HTTP of a connection: the header by which a
// trusted proxy tells whom it has the connection from, TLS of our own, and Unix sockets.
//
// A [Listener] is what is opened; package transport accepts from it, and has each
// connection prepared by a goroutine of its own. What does not come over bare TCP is
// carried to the edge over a TCP connection within this process: package transport and
// all below it deal with TCP alone, whose half-closes, resets and acknowledgements they
// stand on.
//
// It may know nothing of HTTP, sessions or limits.
package listen
