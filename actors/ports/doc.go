// Package ports is the actor that lends raw ports to tunnels. The server starts the
// one there is; tunnels ask it by messages.
//
// It knows package messages, and how actors are run.
package ports
