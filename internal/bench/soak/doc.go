// Package soak puts mixed work on a server for long, at a pace that leaves it time: relays
// that ping, move bytes, come and go, and lose their WebSocket; tunnels with HTTP both
// ways and raw connections, that come and go as well. Memory, goroutines and descriptors
// are sampled meanwhile, and must not grow.
package soak
