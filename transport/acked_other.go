//go:build !linux

package transport

import "syscall"

// bytesAcked returns 0: only Linux tells. A write then counts as stalled when
// it doesn't end in time, even if the peer takes some of it.
func bytesAcked(syscall.RawConn) uint64 { return 0 }

// wasReset reports false: only Linux tells.
func wasReset(syscall.RawConn) bool { return false }

// bytesWritten returns 0: a client that takes its time to read up to a ping
// then counts as silent.
func bytesWritten(syscall.RawConn) uint64 { return 0 }

// kernelAhead returns 0 for both: only Linux tells.
func kernelAhead(syscall.RawConn) (window, unacked int64) { return 0, 0 }
