//go:build !race

package kernel

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Calls that read or write never wait, so Go's scheduler is not told of them. For
// whatever may wait it has a thread that looks every 20 µs whether it does, and takes the
// processor from a goroutine that it meets in a call, such as a write over loopback that
// only takes its time. The race detector is to see them, and has them in the usual way.

// Read reads what the kernel holds, without waiting.
func Read(fd uintptr, b []byte) (int, error) { return rawCall(syscall.SYS_READ, fd, b) }

// ReadAll is Read into pieces of memory, one after the other.
func ReadAll(fd uintptr, p [][]byte) (int, error) {
	if len(p) > most {
		return unix.Readv(int(fd), p)
	}
	return callAll(syscall.SYS_READV, fd, p)
}

// Write gives the kernel what it takes, without waiting.
func Write(fd uintptr, b []byte) (int, error) { return rawCall(syscall.SYS_WRITE, fd, b) }

// WriteAll is Write for pieces that follow each other.
func WriteAll(fd uintptr, p [][]byte) (int, error) {
	switch {
	case len(p) == 1:
		return Write(fd, p[0])
	case len(p) > most:
		return unix.Writev(int(fd), p)
	}
	return callAll(syscall.SYS_WRITEV, fd, p)
}

func rawCall(number, fd uintptr, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(number, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return -1, errno
	}
	return int(n), nil
}

// most is how many pieces are given to the kernel without an allocation, and without
// telling the scheduler.
const most = 16

func callAll(number, fd uintptr, p [][]byte) (int, error) {
	var all [most]syscall.Iovec
	for i, b := range p {
		all[i].Base = unsafe.SliceData(b)
		all[i].SetLen(len(b))
	}
	n, _, errno := syscall.RawSyscall(number, fd, uintptr(unsafe.Pointer(&all)), uintptr(len(p)))
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
