//go:build !windows

package wsock

import "syscall"

// sysRead reads what the kernel holds, without waiting.
func sysRead(fd uintptr, b []byte) (int, error) { return syscall.Read(int(fd), b) }

// sysWrite gives the kernel what it takes, without waiting.
func sysWrite(fd uintptr, b []byte) (int, error) { return syscall.Write(int(fd), b) }

// sysPeek reads what the kernel holds and leaves it there, without waiting.
func sysPeek(fd uintptr, b []byte) (int, error) {
	n, _, err := syscall.Recvfrom(int(fd), b, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return n, err
}
