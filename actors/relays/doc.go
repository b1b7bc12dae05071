// Package relays holds the actor that owns all relay sessions, and the state
// machine of one.
//
// The server spawns it; what package actors says of actors holds here too. It
// knows nothing of tunnels, and of a session's sockets only messages.Pair.
package relays
