package listen

import (
	"math/rand/v2"
	"net"
	"runtime"
	"time"
)

// pairTimeout bounds the making of a pair, which takes some 100 µs.
const pairTimeout = 5 * time.Second

// pairBuffer is how many bytes the kernel holds at most of what the edge has sent over a
// pair and nobody has read: what was read from there is on its way to the peer, so that what
// the kernel says of the edge's end holds for the peer's but for these.
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
			_ = front.SetReadBuffer(pairBuffer / 2)
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
