// Package sessions holds what relays and tunnels do alike: their owner's set of
// them with its drain, and what becomes of one that closes slowly.
//
// Packages actors and relays stand on it.
package sessions
