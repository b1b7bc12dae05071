// Package outside is the connection of an HTTP client to the listener, as far as
// net/http can't do what is needed: how it is closed and cut, how long it may take,
// and answers of the proxy's own.
//
// Packages transport and forward call it. It knows packages messages and wsock, and
// may not know tunnels.
package outside
