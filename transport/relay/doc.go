// Package relay joins a browser's WebSocket to a TCP connection, the upstream:
// its two connections and the pumps between them.
//
// A [Pair] is what a relay actor sees as [messages.Pair]. The HTTP handler of
// the edge makes it and attaches the client's WebSocket; the actor says what
// happens when. The bytes go from socket to socket, past every mailbox, and
// are never looked at.
//
// It knows packages messages, netpolicy (whose dialer it uses) and wsock. It
// may not know actors, tunnels, or HTTP requests.
package relay
