// Package socket is one WebSocket of a client: its handshake, through a proxy
// and TLS where need be, what a server answers that refuses it, and its frames.
//
// It knows section 9 of the contract by its handshake alone. What follows is of
// package session, which keeps a session over as many of these as it takes.
package socket
