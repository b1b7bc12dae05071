// Package actors, with those below it, holds every piece of state that two
// goroutines could want, each in one actor. Here are the tunnels; limits, ports
// and relays have packages of their own.
//
// Receive never blocks: what blocks is done by a pump behind an interface such
// as messages.Pair, which tells its actor how it went. No state is shared
// between actors, so nothing here needs a lock.
//
// The package imports neither net/http nor a WebSocket library; every actor
// can be driven by messages alone.
package actors
