//go:build !windows && !linux && !darwin && !openbsd

package kernel

// Package unix has no readv(2) and writev(2) of these systems. Who reads or writes
// goes on with what is left, as behind any call that did less than it was asked for.

// ReadAll is Read into the first of the pieces of memory.
func ReadAll(fd uintptr, p [][]byte) (int, error) { return Read(fd, p[0]) }

// WriteAll is Write for the first of pieces that follow each other.
func WriteAll(fd uintptr, p [][]byte) (int, error) { return Write(fd, p[0]) }
