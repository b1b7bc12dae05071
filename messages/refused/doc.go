// Package refused is what the edge and the actors say of a request or of a connection
// that was refused, and the table of all that they can say (protocol, section 11).
//
// Packages transport, transport/forward and actors make refusals; package server
// counts them and writes them to the log. It knows package messages alone, and
// holds no state.
package refused
