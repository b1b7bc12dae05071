//go:build !race

package kernel

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Calls that read or write one piece never wait, so Go's scheduler is not told of them. For
// whatever may wait it has a thread that looks every 20 µs whether it does, and takes the
// processor from a goroutine that it meets in a call, such as a write over loopback that
// only takes its time. The race detector is to see them, and has them in the usual way.

// Read reads what the kernel holds, without waiting.
func Read(fd uintptr, b []byte) (int, error) { return rawCall(syscall.SYS_READ, fd, b) }

// ReadAll is Read into pieces of memory, one after the other.
func ReadAll(fd uintptr, p [][]byte) (int, error) { return unix.Readv(int(fd), p) }

// Write gives the kernel what it takes, without waiting.
func Write(fd uintptr, b []byte) (int, error) { return rawCall(syscall.SYS_WRITE, fd, b) }

// WriteAll is Write for pieces that follow each other.
func WriteAll(fd uintptr, p [][]byte) (int, error) {
	if len(p) == 1 {
		return Write(fd, p[0])
	}
	return unix.Writev(int(fd), p)
}

func rawCall(number, fd uintptr, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(number, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

// Peek reads what the kernel holds and leaves it there, without waiting.
func Peek(fd uintptr, b []byte) (int, error) {
	n, _, err := syscall.Recvfrom(int(fd), b, syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	return n, err
}
