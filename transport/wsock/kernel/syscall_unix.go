//go:build !windows && (!linux || race)

package kernel

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Read reads what the kernel holds, without waiting.
func Read(fd uintptr, b []byte) (int, error) { return syscall.Read(int(fd), b) }

// ReadAll is Read into pieces of memory, one after the other.
func ReadAll(fd uintptr, p [][]byte) (int, error) { return unix.Readv(int(fd), p) }

// Write gives the kernel what it takes, without waiting.
func Write(fd uintptr, b []byte) (int, error) { return syscall.Write(int(fd), b) }

// WriteAll is Write for pieces that follow each other.
func WriteAll(fd uintptr, p [][]byte) (int, error) {
	if len(p) == 1 {
		return Write(fd, p[0])
	}
	return unix.Writev(int(fd), p)
}

// Peek reads what the kernel holds and leaves it there, without waiting.
func Peek(fd uintptr, b []byte) (int, error) {
	n, _, err := syscall.Recvfrom(int(fd), b, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return n, err
}
