// Package wsock is the server's end of a WebSocket after its handshake (RFC
// 6455): frames, buffers, the reader, the writer, keepalive and closing.
//
// A [Conn] is one WebSocket. A [Session] is what a relay and a tunnel do alike
// with their client: it has a Conn, reads it in a pump, and closes it in order.
// A [Reader] and the functions about TCP_INFO serve the other TCP connections
// of a session too.
//
// The rooms relay and tunnel call it, and the edge makes the Conns. It knows
// package messages and nothing else of the project: not what the payload means,
// not who decides.
package wsock
