// Package transport is the HTTP edge of the server: routes, the order of
// checks, handshakes, refusals, and what browsers ask about origins.
//
// A [Server] answers every request to the proxy itself, makes a relay or a
// tunnel of those that are admitted, and hands requests to tunnels' hosts on to
// package forward. It decides nothing about what lives: it asks the actors.
//
// It knows messages, auth, netpolicy and the rooms below it, and makes the
// dialects that plug into them. It may not know actors, config or metrics.
package transport
