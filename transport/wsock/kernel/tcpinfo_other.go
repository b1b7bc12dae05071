//go:build !linux

package kernel

import "syscall"

// BytesAcked returns 0: only Linux tells. A write then counts as stalled when
// it doesn't end in time, even if the peer takes some of it.
func BytesAcked(syscall.RawConn) uint64 { return 0 }

// WasReset reports false: only Linux tells.
func WasReset(syscall.RawConn) bool { return false }

// HasError reports false: an error is found when the bytes before it are read.
func HasError(syscall.RawConn) bool { return false }

// BytesWritten returns 0: a client that takes its time to read up to a ping
// then counts as silent.
func BytesWritten(syscall.RawConn) uint64 { return 0 }

// Look returns nothing: only Linux tells.
func Look(syscall.RawConn) Sending { return Sending{} }

// KeepUnsent does nothing: what can't be sent yet is bounded by the send buffer.
func KeepUnsent(syscall.RawConn, int) {}

// HasEnded reports false: only Linux tells.
func HasEnded(syscall.RawConn) bool { return false }

// Unread returns 0: only Linux is asked.
func Unread(syscall.RawConn) int { return 0 }
