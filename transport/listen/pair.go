package listen

import (
	"math/rand/v2"
	"net"
	"runtime"
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
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: pairAddress()})
	if err != nil {
		return nil, nil, err
	}
	defer l.Close()
	deadline := time.Now().Add(pairTimeout)
	_ = l.SetDeadline(deadline)
	dialer := net.Dialer{Deadline: deadline, KeepAlive: -1}
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
			_ = edge.SetKeepAlive(false) // the ends know of each other
			// The kernel doubles what it is asked for (socket(7), SO_RCVBUF).
			_ = front.SetReadBuffer(pairBuffer / 2)
			_ = front.SetWriteBuffer(pairBuffer / 2)
			_ = edge.SetReadBuffer(pairBuffer / 2)
			return edge, front, nil
		}
		edge.Close() // somebody looks for open ports
	}
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
