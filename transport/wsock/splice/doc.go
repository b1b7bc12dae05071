// Package splice moves bytes from one TCP connection to another without copying them
// into the process: by way of a pipe of the kernel's, see splice(2). Only Linux can; on
// other systems no pipe is ever to be had.
//
// Package wsock calls it, where much waits. It knows nothing of the project.
package splice
