// Package e2e holds tests only: they build the binary, start it on loopback
// with real sockets, and hold it to the wire contract from outside. Nothing in
// it looks into the server but through its log, its metrics and /proc.
package e2e
