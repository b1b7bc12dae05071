package kernel

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// BytesAcked returns how many bytes the peer's kernel has acknowledged on a
// TCP connection, or 0 if that can't be told.
func BytesAcked(raw syscall.RawConn) uint64 {
	var acked uint64
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			acked = info.Bytes_acked
		}
	})
	return acked
}

// WasReset reports whether a connection that this side has not ended is no
// more. The kernel says so to one call only: if a write has heard it, reading
// ends as if the peer had ended its stream in order.
func WasReset(raw syscall.RawConn) bool {
	const tcpClose = 7 // TCP_CLOSE of the kernel's tcp_states.h; after a FIN it is TCP_CLOSE_WAIT
	reset := false
	_ = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		reset = err == nil && info.State == tcpClose
	})
	return reset
}

// HasError reports whether the kernel has an error to tell whoever reads, which
// it tells only behind the bytes that wait.
func HasError(raw syscall.RawConn) bool {
	found := false
	_ = raw.Control(func(fd uintptr) {
		look := []unix.PollFd{{Fd: int32(fd)}}
		n, err := unix.Poll(look, 0)
		found = err == nil && n > 0 && look[0].Revents&unix.POLLERR != 0
	})
	return found
}

// BytesWritten returns what BytesAcked will be when the peer's kernel has
// acknowledged all that was written so far, or 0 if that can't be told.
func BytesWritten(raw syscall.RawConn) uint64 {
	var written uint64
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			written = info.Bytes_sent - info.Bytes_retrans + uint64(info.Notsent_bytes)
		}
	})
	return written
}

// Look returns what the kernel knows of what was written.
func Look(raw syscall.RawConn) (s Sending) {
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			s = Sending{
				Window:  int64(info.Snd_wnd),
				Unacked: int64(info.Bytes_sent-info.Bytes_retrans-info.Bytes_acked) + int64(info.Notsent_bytes),
				RTT:     time.Duration(info.Rtt) * time.Microsecond,
				MinRTT:  time.Duration(info.Min_rtt) * time.Microsecond,
			}
		}
	})
	return s
}

// KeepUnsent bounds what the kernel holds of what was written and can't be sent
// yet.
func KeepUnsent(raw syscall.RawConn, bytes int) {
	_ = raw.Control(func(fd uintptr) {
		// It fails only for a connection that is gone, which its reader finds.
		_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, bytes)
	})
}

// Unread returns how many bytes have come that nobody has read, or 0 if that
// can't be told.
func Unread(raw syscall.RawConn) (n int) {
	_ = raw.Control(func(fd uintptr) {
		if have, err := unix.IoctlGetInt(int(fd), unix.SIOCINQ); err == nil {
			n = have
		}
	})
	return n
}

// HasEnded reports whether the peer has ended its stream, or the connection is
// no more, though bytes may be left to read.
func HasEnded(raw syscall.RawConn) bool {
	const tcpClose, tcpCloseWait = 7, 8 // of the kernel's tcp_states.h
	ended := false
	_ = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		ended = err == nil && (info.State == tcpClose || info.State == tcpCloseWait)
	})
	return ended
}
