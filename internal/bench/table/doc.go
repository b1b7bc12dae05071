// Package table measures all figures that have an aim, and shows them in one table:
// before, now, aim. Each is taken by turns from the reference server, from the binary
// before if there is one, and from the binary now, in rounds; it is the median of the
// rounds, as a ratio to the reference of the same round where that makes sense. Each
// run has a fresh server, whose memory tells nothing of earlier loads.
package table
