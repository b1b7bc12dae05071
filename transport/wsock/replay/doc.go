// Package replay is the state of one side of a session that outlives its
// WebSocket: what has been sent and is kept until the other side has passed it
// on, and what has been received (the contract's section 9).
//
// A [Sender] keeps, hands out what is to be written, frees what is acknowledged,
// and goes back to where the other side has got when another WebSocket takes
// the session up. A [Receiver] counts, holds the other side to its limit, and
// says which ack is due. Both sides of a session have one of each.
//
// Neither does any input or output, has a clock or a lock: they belong to an
// owner that has all three. The tests hold them to a model of the contract, in
// which two sides talk over WebSockets that break anywhere.
//
// The session of the server calls it, and a client in Go may. It knows the
// buffers of wsock and what positions are in package messages, and nothing of
// what is sent.
package replay
