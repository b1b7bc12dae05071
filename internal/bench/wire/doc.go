// Package wire is what the loads speak with a server by: relays, with and without
// sessions that outlive their WebSocket, tunnels, their HTTP and their raw connections,
// and the peers at the other end. It is written from the contract alone, and imports
// nothing of the server.
//
// It is cheap, so that the server is what is loaded, and it verifies every byte. It
// talks to loopback addresses only.
package wire
