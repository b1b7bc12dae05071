// Package connect is `wsproxy connect`: standard input and output through a relay,
// which is what OpenSSH asks of a ProxyCommand, or a listener each of whose
// connections goes through a relay of its own.
//
// Package command calls it. It knows client/go and nothing of the server.
package connect
