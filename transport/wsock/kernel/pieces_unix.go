//go:build (linux && race) || darwin || openbsd

package kernel

import "golang.org/x/sys/unix"

// ReadAll is Read into pieces of memory, one after the other.
func ReadAll(fd uintptr, p [][]byte) (int, error) { return unix.Readv(int(fd), p) }

// WriteAll is Write for pieces that follow each other.
func WriteAll(fd uintptr, p [][]byte) (int, error) {
	if len(p) == 1 {
		return Write(fd, p[0])
	}
	return unix.Writev(int(fd), p)
}
