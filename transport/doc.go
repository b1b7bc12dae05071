// Package transport is the edge of the server: HTTP handlers, WebSocket and
// TCP sockets, and the pumps that copy bytes between them.
//
// A pump is a goroutine that blocks on a socket and tells an actor, in one
// typed message, how it went. What a pump may do, and when it ends, is decided
// by the actor that owns it; nothing here decides.
package transport
