// Package sendqueue is what waits to be written to a tunnel's WebSocket: control
// messages and the streams' frames, whose turn it is, and how frames are made.
//
// The tunnel's Mux and its streams add frames to a [Queue], and the Mux's writer takes
// them. The package knows how messages are framed; it may not know sockets, credit, or
// what a stream is beyond its frames' order.
package sendqueue
