package listen

import "syscall"

// receiveAtMost bounds a socket's receive buffer.
func receiveAtMost(fd uintptr, bytes int) error {
	return syscall.SetsockoptInt(syscall.Handle(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, bytes)
}
