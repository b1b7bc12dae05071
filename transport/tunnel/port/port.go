package port

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"wsproxy/messages"
	"wsproxy/netpolicy"
	"wsproxy/transport/listen/proxyheader"
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

// A Taker takes a connection of an outside peer. count is what the limits count for the peer.
type Taker func(conn *net.TCPConn, peer net.Addr, count netip.Prefix)

// AcceptAll accepts connections until accepting fails, or stop is closed. Each takes
// one of the places first, which whoever has the connection gives back; while there is none,
// others wait in the kernel. The connections of proxies begin with a header of the PROXY
// protocol, which says who the peer is; one whose header is not there is reset.
func AcceptAll(listener *net.TCPListener, proxies Proxies, places chan struct{}, stop <-chan struct{}, take Taker) error {
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
		if peer := conn.RemoteAddr(); proxies.From != nil && proxies.From(addressOf(peer)) {
			go proxies.identify(conn, places, stop, take)
		} else {
			take(conn, peer, countOf(peer))
		}
	}
}

// Proxies are peers whose connections begin with a header of the PROXY protocol.
type Proxies struct {
	From func(peer netip.Addr) bool // whether a peer is one; nil = there are none
	// Refused is told of each connection that has sent something else than a header. It
	// must not block.
	Refused func(reason messages.Reason, peer netip.Addr)
}

// identify reads the header, and gives the connection to take.
func (p Proxies) identify(conn *net.TCPConn, places chan struct{}, stop <-chan struct{}, take Taker) {
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-stop:
			_ = conn.SetReadDeadline(wsock.LongAgo)
		case <-done:
		}
	}()
	source, err := proxyheader.ReadFrom(conn)
	if err != nil {
		_ = conn.SetLinger(0)
		_ = conn.Close()
		<-places
		select {
		case <-stop: // it was not its fault
			return
		default:
		}
		if errors.Is(err, proxyheader.ErrEmpty) {
			return
		}
		p.Refused(messages.ReasonProxyHeader, addressOf(conn.RemoteAddr()))
		return
	}
	peer := conn.RemoteAddr()
	if source.IsValid() {
		peer = net.TCPAddrFromAddrPort(source)
	}
	take(conn, peer, countOf(peer))
}

// countOf returns what the limits count for an outside peer.
func countOf(peer net.Addr) netip.Prefix {
	return netpolicy.CountKey(addressOf(peer))
}

func addressOf(peer net.Addr) netip.Addr {
	if tcp, ok := peer.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
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
