// Package kernel is what the kernel knows of a TCP connection, and what it takes and
// gives without waiting. Only Linux tells all of it; on other systems what can't be told
// is zero, and each function says what follows.
//
// Package wsock and the rooms that have TCP connections of their own call it. It knows
// nothing of the project.
package kernel

import "time"

// Sending is what the kernel knows of what was written to a connection. What it can't
// say is zero.
type Sending struct {
	Window  int64         // bytes that the client's kernel offers to take; not before Linux 5.4
	Unacked int64         // bytes that were written and it has not acknowledged
	RTT     time.Duration // what a round trip takes, smoothed over some
	MinRTT  time.Duration // the shortest one of the last minutes
}
