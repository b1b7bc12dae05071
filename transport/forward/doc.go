// Package forward is HTTP from outside into a tunnel: which requests pass, with
// which headers, as messages of the control protocol or as bytes over a stream,
// and what the outside client gets of the answer.
//
// A [Gateway] is called by the edge for requests to tunnels' hosts. It asks the
// tunnel's handler for a place, and then talks to the tunnel's Mux. What only
// one kind of client needs plugs in as a [Dialect].
//
// It knows packages messages, netpolicy, tunnel, wsock and, for requests as bytes,
// service and http1. It may not know actors, relays, or any particular client.
package forward
