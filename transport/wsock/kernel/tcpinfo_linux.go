package kernel

import (
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An inquiry is what the kernel says of a TCP connection (tcp(7), TCP_INFO). It is borrowed
// for as long as that takes: each ping has one, and unix.GetsockoptTCPInfo's were half of the
// garbage of idle sessions. The more garbage, the more often all that lives is looked through.
type inquiry struct {
	info unix.TCPInfo
	size uint32 // of info
	err  syscall.Errno
	ask  func(fd uintptr) // made once
}

var inquiries = sync.Pool{New: func() any {
	q := &inquiry{}
	q.ask = func(fd uintptr) {
		// Not raw: it waits for who is within a write to the socket.
		_, _, q.err = syscall.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.IPPROTO_TCP, unix.TCP_INFO,
			uintptr(unsafe.Pointer(&q.info)), uintptr(unsafe.Pointer(&q.size)), 0)
	}
	return q
}}

// inquire has look see what the kernel says of a TCP connection, if it says anything.
func inquire(raw syscall.RawConn, look func(*unix.TCPInfo)) {
	q := inquiries.Get().(*inquiry)
	defer inquiries.Put(q)
	q.info, q.size = unix.TCPInfo{}, unix.SizeofTCPInfo // an old kernel fills a part
	if raw.Control(q.ask) == nil && q.err == 0 {
		look(&q.info)
	}
}

// BytesAcked returns how many bytes the peer's kernel has acknowledged on a
// TCP connection, or 0 if that can't be told.
func BytesAcked(raw syscall.RawConn) (acked uint64) {
	inquire(raw, func(info *unix.TCPInfo) { acked = info.Bytes_acked })
	return acked
}

// WasReset reports whether a connection that this side has not ended is no
// more. The kernel says so to one call only: if a write has heard it, reading
// ends as if the peer had ended its stream in order.
func WasReset(raw syscall.RawConn) (reset bool) {
	const tcpClose = 7 // TCP_CLOSE of the kernel's tcp_states.h; after a FIN it is TCP_CLOSE_WAIT
	inquire(raw, func(info *unix.TCPInfo) { reset = info.State == tcpClose })
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
func BytesWritten(raw syscall.RawConn) (written uint64) {
	inquire(raw, func(info *unix.TCPInfo) {
		written = info.Bytes_sent - info.Bytes_retrans + uint64(info.Notsent_bytes)
	})
	return written
}

// Look returns what the kernel knows of what was written.
func Look(raw syscall.RawConn) (s Sending) {
	inquire(raw, func(info *unix.TCPInfo) {
		s = Sending{
			Window:  int64(info.Snd_wnd),
			Unacked: int64(info.Bytes_sent-info.Bytes_retrans-info.Bytes_acked) + int64(info.Notsent_bytes),
			RTT:     time.Duration(info.Rtt) * time.Microsecond,
			MinRTT:  time.Duration(info.Min_rtt) * time.Microsecond,
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
func HasEnded(raw syscall.RawConn) (ended bool) {
	const tcpClose, tcpCloseWait = 7, 8 // of the kernel's tcp_states.h
	inquire(raw, func(info *unix.TCPInfo) { ended = info.State == tcpClose || info.State == tcpCloseWait })
	return ended
}
