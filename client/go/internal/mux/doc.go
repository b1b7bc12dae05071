// Package mux is a tunnel as its client sees it: the connections that one
// session carries, each with bounded buffers, credit in both directions, and
// ends of its own.
//
// A [Mux] is the source and the sink of a session. What the session brings it
// takes apart, without ever blocking; what is to be sent it hands out one
// message at a time, in the order that is fair at that moment. So nothing waits
// in a queue that has been decided already.
//
// client/go makes a Mux, joins it to a session, and wraps its [Listener] and
// [Stream] for users. The Mux knows nothing of WebSockets, of reconnecting, or
// of HTTP.
package mux
