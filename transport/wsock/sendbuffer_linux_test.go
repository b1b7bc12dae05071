package wsock

import (
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// What the kernel holds for a peer that reads nothing is bounded, and grows no
// more by itself: a bound that was set is the one that is told.
func TestSendBuffersAreBounded(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/net/core/wmem_max")
	if err != nil {
		t.Fatal(err)
	}
	most, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for bytes, bound := range map[int]func(*net.TCPConn){
		256 << 10: func(c *net.TCPConn) { BoundSendBuffer(c, 256<<10) },
		1 << 20: func(c *net.TCPConn) { // of a WebSocket
			if _, err := NewConn(c); err != nil {
				t.Error(err)
			}
		},
		1280 << 10: func(c *net.TCPConn) { // of one that may have more under way
			ws, err := NewConn(c)
			if err != nil {
				t.Error(err)
				return
			}
			ws.RaiseSendBuffer(1280 << 10)
			ws.RaiseSendBuffer(64 << 10) // less changes nothing
		},
	} {
		conn, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		bound(conn.(*net.TCPConn))
		raw, err := conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		_ = raw.Control(func(fd uintptr) {
			got, err := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_SNDBUF)
			if want := 2 * min(bytes/2, most); err != nil || got != want {
				t.Errorf("%d bytes, want %d: %v", got, want, err)
			}
		})
	}
}
