// Package stall notices the end of a connection's one side while its other side takes
// nothing. Who is blocked in a write to the one does not read from the other, and so
// can't hear of its end.
package stall
