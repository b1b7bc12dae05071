// Package resume is the server's end of a session that outlives its WebSockets
// (protocol, section 9): it loses one, and another one takes its place.
//
// A [Session] keeps what the client may not have, in a replay.Sender, counts what
// the client has sent, in a replay.Receiver, and has the WebSocket of the moment, a
// wsock.Session. It knows when one was lost; what follows from that its owner says,
// an actor: see messages.Resumable.
//
// The rooms relay and tunnel call it, and are called as a [Sink]. It knows packages
// messages, budget, wsock and replay, and nothing of what the payload means.
package resume
