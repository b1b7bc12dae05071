package port

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"wsproxy/netpolicy"
	"wsproxy/transport/wsock"
)

// acceptPause is how long a listener that can't accept waits, for instance for
// want of file descriptors.
const acceptPause = 50 * time.Millisecond

// SendBuffer is how many bytes the kernel holds at most of what was written to a
// raw connection and not acknowledged: fixed by the protocol (section 12). A
// thousand of them may be left unread.
const SendBuffer = 256 << 10

// Listen opens a port of an address; the zero Addr means all interfaces.
func Listen(bind netip.Addr, port uint16) (*net.TCPListener, error) {
	host := ""
	if bind.IsValid() {
		host = bind.String()
	}
	var config net.ListenConfig
	listener, err := config.Listen(context.Background(), "tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
	if err != nil {
		return nil, err
	}
	return listener.(*net.TCPListener), nil
}

// AcceptAll accepts connections until accepting fails, or stop is closed. Each takes
// one of the places first, which whoever has the connection gives back; while there is none,
// others wait in the kernel. count is what the limits count for the peer.
func AcceptAll(listener *net.TCPListener, places chan struct{}, stop <-chan struct{}, take func(conn *net.TCPConn, count netip.Prefix)) error {
	for {
		select {
		case places <- struct{}{}:
		case <-stop:
			return net.ErrClosed
		}
		conn, err := listener.AcceptTCP()
		if err != nil {
			<-places
			if isTemporary(err) {
				select {
				case <-time.After(acceptPause):
					continue
				case <-stop:
				}
			}
			return err
		}
		wsock.BoundSendBuffer(conn, SendBuffer)
		take(conn, countOf(conn.RemoteAddr()))
	}
}

// countOf returns what the limits count for an outside peer.
func countOf(peer net.Addr) netip.Prefix {
	if tcp, ok := peer.(*net.TCPAddr); ok {
		return netpolicy.CountKey(tcp.AddrPort().Addr())
	}
	return netip.Prefix{}
}

// isTemporary reports whether accepting may go on after an error: the kernel
// lacked something, or a connection ended before it was accepted.
func isTemporary(err error) bool {
	for _, passing := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}
