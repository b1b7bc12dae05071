//go:build unix

package listen

import "syscall"

// receiveAtMost bounds a socket's receive buffer, to twice what it is asked for on Linux
// (socket(7), SO_RCVBUF).
func receiveAtMost(fd uintptr, bytes int) error {
	return syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, bytes)
}
