// Package wire is the client's half of a tunnel's control protocol, for a client with
// flow=credit and http=bytes: such a one never gets an http_request. Package mux calls
// it. It knows the server's half, which is in package messages.
package wire
