package transport

import (
	"net"
	"testing"

	"wsproxy/internal/testkit"
)

// What an outside client leaves of its answers waits in the kernel, too.
func TestKernelHoldsLittleOfAnswers(t *testing.T) {
	d := newDesk(t, nil)
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	outside, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	conn, err := d.Listener(l).Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	testkit.WantSendBuffer(t, conn.(*edgeConn).TCPConn, sendBuffer)
}
