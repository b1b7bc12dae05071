// Package tunnel is a tunnel's WebSocket as a multiplexer: its one writer, its
// streams with their credit, the byte budgets, and its raw port.
//
// A [Mux] is what a tunnel's actors see as [messages.Mux], a [Stream] as
// [messages.Stream]. The HTTP handler of the edge makes the Mux and attaches the
// client's WebSocket; the actors say what happens when. What only one kind of
// client needs plugs in as a [Dialect].
//
// It knows packages messages and wsock. It may not know actors, relays, which
// HTTP travels through it (package forward), or any particular client.
package tunnel
