//go:build !linux

package wsock

import "syscall"

// BytesAcked returns 0: only Linux tells. A write then counts as stalled when
// it doesn't end in time, even if the peer takes some of it.
func BytesAcked(syscall.RawConn) uint64 { return 0 }

// WasReset reports false: only Linux tells.
func WasReset(syscall.RawConn) bool { return false }

// hasError reports false: an error is found when the bytes before it are read.
func hasError(syscall.RawConn) bool { return false }

// bytesWritten returns 0: a client that takes its time to read up to a ping
// then counts as silent.
func bytesWritten(syscall.RawConn) uint64 { return 0 }

// sendWindow returns 0 for both: only Linux tells.
func sendWindow(syscall.RawConn) (window, unacked int64) { return 0, 0 }

// hasEnded reports false: only Linux tells.
func hasEnded(syscall.RawConn) bool { return false }

// unread returns 0: only Linux is asked.
func unread(syscall.RawConn) int { return 0 }
