// Package service is the connections over which the services behind tunnels' clients
// are spoken to in HTTP/1.1: how they are opened, kept for their next request, and
// shared among source addresses.
//
// Package forward sends requests over them. What one kind of client needs of its
// connections plugs in as a [Conn]; the others have a [Plain] one. It does not
// know what a request is, nor any particular client.
package service
