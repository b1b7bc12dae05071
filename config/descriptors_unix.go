//go:build unix

package config

import "syscall"

// descriptors returns how many descriptors this process may have. Go has raised
// that as far as it may at the start.
func descriptors() uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return descriptorShare * mostHTTPConns
	}
	return uint64(limit.Cur)
}
