// Package budget counts the bytes that wait for somebody in memory against bounds:
// of a tunnel, of a user's tunnels, and of all; and what sessions hold for the next
// WebSocket, likewise.
//
// It is called by whoever holds such bytes, from any goroutine. It knows nothing
// of the project, and may not.
package budget
