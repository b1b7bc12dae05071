//go:build !windows && (!linux || race)

package kernel

import "syscall"

// Read reads what the kernel holds, without waiting.
func Read(fd uintptr, b []byte) (int, error) { return syscall.Read(int(fd), b) }

// Write gives the kernel what it takes, without waiting.
func Write(fd uintptr, b []byte) (int, error) { return syscall.Write(int(fd), b) }

// Peek reads what the kernel holds and leaves it there, without waiting.
func Peek(fd uintptr, b []byte) (int, error) {
	n, _, err := syscall.Recvfrom(int(fd), b, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return n, err
}
