package listen

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"runtime"
	"syscall"
	"time"
)

// pairTimeout bounds the making of a pair, which takes some 100 µs.
const pairTimeout = 5 * time.Second

// pairBuffer is how many bytes the kernel holds at most of what was sent over a pair and
// nobody has read, at each end of each way, its own overhead included. What the edge sends
// is on its way to the peer once it was read, so that what the kernel says of the edge's end
// holds for the peer's but for these. By itself the kernel goes up to 4 MiB where it sends
// and 6 MiB where it receives (tcp(7), tcp_wmem and tcp_rmem). The edge bounds what it sends.
const pairBuffer = 64 << 10

// newPair returns the two ends of a TCP connection within this process. Nobody else can
// have one of them: each pair has a listener of its own, which takes what comes from the
// other end alone.
func newPair() (edge, front *net.TCPConn, err error) {
	listens := net.ListenConfig{KeepAlive: -1, Control: receiveLittle}
	listener, err := listens.Listen(context.Background(), "tcp4", net.JoinHostPort(pairAddress().String(), "0"))
	if err != nil {
		return nil, nil, err
	}
	l := listener.(*net.TCPListener)
	defer l.Close()
	deadline := time.Now().Add(pairTimeout)
	_ = l.SetDeadline(deadline)
	dialer := net.Dialer{Deadline: deadline, KeepAlive: -1, Control: receiveLittle}
	conn, err := dialer.Dial("tcp4", l.Addr().String())
	if err != nil {
		return nil, nil, err
	}
	front = conn.(*net.TCPConn)
	for {
		edge, err = l.AcceptTCP()
		if err != nil {
			front.Close()
			return nil, nil, err
		}
		if edge.RemoteAddr().String() == front.LocalAddr().String() {
			_ = front.SetWriteBuffer(pairBuffer / 2) // which the kernel doubles (socket(7), SO_SNDBUF)
			return edge, front, nil
		}
		edge.Close() // somebody looks for open ports
	}
}

// receiveLittle bounds what the kernel holds of what comes. It does so before the handshake,
// which tells the other end how much that may be: if it were less later on, the kernel would
// drop what comes beyond it, and that comes again by a timer only, which took half a second
// where both ends sent pieces of 700 bytes. What a listener accepts has its bound.
func receiveLittle(_, _ string, raw syscall.RawConn) (err error) {
	bad := raw.Control(func(fd uintptr) { err = receiveAtMost(fd, pairBuffer/2) })
	return errors.Join(bad, err)
}

// pairAddress returns an address of this machine. On Linux all of 127.0.0.0/8 are: no
// number of pairs, or of those that have just ended, uses up the ports.
func pairAddress() net.IP {
	if runtime.GOOS != "linux" {
		return net.IPv4(127, 0, 0, 1)
	}
	n := rand.Uint32()
	return net.IPv4(127, byte(n>>16), byte(n>>8), byte(n%254+1))
}
