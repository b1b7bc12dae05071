//go:build !windows

package netpolicy

import "syscall"

// resetOnClose has the kernel reset a connection that is given up while it is being
// made: to its target it must not look like one that was made and has ended, with
// nothing to say.
func resetOnClose(fd uintptr) {
	_ = syscall.SetsockoptLinger(int(fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
}
