//go:build !windows

package testkit

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// WantSendBuffer checks that the kernel holds so many bytes at most of what is
// written to a connection. Where the system allows less, that is what it holds.
// A connection that nobody has bounded has some other value, by itself.
func WantSendBuffer(t testing.TB, conn syscall.Conn, bytes int) {
	t.Helper()
	got := buffer(t, conn, syscall.SO_SNDBUF)
	if got > bytes {
		t.Errorf("the kernel holds %d bytes of what is written, at most %d are right", got, bytes)
	}
	text, err := os.ReadFile("/proc/sys/net/core/wmem_max")
	if err != nil {
		return // another system
	}
	allowed, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	if want := min(bytes, 2*allowed); got != want { // socket(7), SO_SNDBUF
		t.Errorf("the kernel holds %d bytes of what is written, want %d", got, want)
	}
}

// WantReceiveBuffer fails the test unless the kernel holds at most so many bytes of what
// has come on a connection and was not read.
func WantReceiveBuffer(t testing.TB, conn syscall.Conn, bytes int) {
	t.Helper()
	if got := buffer(t, conn, syscall.SO_RCVBUF); got > bytes {
		t.Errorf("the kernel holds %d bytes of what has come, at most %d are right", got, bytes)
	}
}

// buffer returns the size of one of a connection's buffers.
func buffer(t testing.TB, conn syscall.Conn, option int) (got int) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if failed := raw.Control(func(fd uintptr) {
		got, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, option)
	}); failed != nil || err != nil {
		t.Fatal(failed, err)
	}
	return got
}
