// Package actors holds every piece of state that two goroutines could want,
// each in one actor: the accounting of limits and the queue of those who wait
// for a slot, the set of relay sessions, the state of one session.
//
// Receive never blocks: what blocks is done by a pump behind an interface such
// as messages.Pair, which tells its actor how it went. No state is shared
// between actors, so nothing here needs a lock.
//
// The package imports neither net/http nor a WebSocket library; every actor
// can be driven by messages alone.
package actors
