// Package inflight bounds what is on its way to a tunnel's client: what was
// written and the client has not read. Whatever is written after it stands
// behind it.
//
// The writing pump of a tunnel asks it before each write and says what it wrote. It
// knows what the kernel tells of a WebSocket, and nothing of tunnels.
package inflight
