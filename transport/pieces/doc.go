// Package pieces keeps a message that comes in pieces, and bounds how many
// processors go over large ones at the same time. Tunnel and forward use it; it
// knows nothing of them.
package pieces
