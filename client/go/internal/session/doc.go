// Package session is the client's half of section 9 of the contract: a session
// that outlives its WebSocket. It keeps a WebSocket, finds out when that is
// lost, takes the session up on another one, and sees to it that not a byte is
// lost, doubled or reordered. Against a server that doesn't select
// wsproxy.resume a session ends with its only WebSocket, and everything else
// stays the same.
//
// Two goroutines belong to a session: one keeps a WebSocket and reads it, the
// other one writes. The state is under one lock, which neither holds while it
// waits for the network or calls the owner.
//
// What is sent comes from a [Source], when it can be sent, so that its owner
// decides about the order until the last moment. What comes goes to a [Sink].
package session
