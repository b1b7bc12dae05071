// Package messages holds what is said: the typed messages between actors and
// the edge, and the reasons that sessions and requests end for.
//
// Messages are plain values. A channel in a message has room for the one
// answer it is there for, so that no actor ever waits while it sends. A handle
// such as [Pair] changes owner with the message that carries it.
//
// The package imports no other package of the project.
package messages
