// Package gate asks outside clients for a name and a password (RFC 7617), of a file
// that the user names. It is called by packages expose and tap, which admit requests
// by it, and knows nothing of connections.
package gate
