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

// sending returns nothing: only Linux tells.
func sending(syscall.RawConn) Sending { return Sending{} }

// keepUnsent does nothing: what can't be sent yet is bounded by the send buffer.
func keepUnsent(syscall.RawConn, int) {}

// hasEnded reports false: only Linux tells.
func hasEnded(syscall.RawConn) bool { return false }

// unread returns 0: only Linux is asked.
func unread(syscall.RawConn) int { return 0 }
