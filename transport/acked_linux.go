package transport

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// bytesAcked returns how many bytes the peer's kernel has acknowledged on a
// TCP connection, or 0 if that can't be told.
func bytesAcked(raw syscall.RawConn) uint64 {
	var acked uint64
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			acked = info.Bytes_acked
		}
	})
	return acked
}
