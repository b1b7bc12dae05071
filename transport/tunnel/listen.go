package tunnel

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
	"wsproxy/transport/wsock"
)

// Listen opens the raw port, and begins to accept if the Mux has started.
func (m *Mux) Listen(port uint16) {
	accepting := m.accepting
	var err error
	wsock.StartPump(m.session.Log(), "listen", func() {
		var listener *net.TCPListener
		if listener, err = m.listen(port); err != nil {
			return
		}
		m.listener.Store(listener)
		select {
		case <-m.session.Closing().Done(): // maybe without having seen it
			listener.Close()
		default:
			if accepting {
				m.accept(listener)
			}
		}
	}, func() { m.session.Tell(&messages.PortOpened{Port: port, Err: err}) })
}

func (m *Mux) listen(port uint16) (*net.TCPListener, error) {
	host := ""
	if m.settings.Bind.IsValid() {
		host = m.settings.Bind.String()
	}
	var config net.ListenConfig
	listener, err := config.Listen(context.Background(), "tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
	if err != nil {
		return nil, err
	}
	return listener.(*net.TCPListener), nil
}

// accept hands the raw port's connections over to the handler.
func (m *Mux) accept(listener *net.TCPListener) {
	var err error
	wsock.StartPump(m.session.Log(), "accept", func() { err = m.acceptAll(listener) }, func() {
		listener.Close()
		select {
		case <-m.session.Closing().Done():
		default:
			m.session.Tell(&messages.PortFailed{Err: err})
		}
	})
}

// acceptPause is how long a listener that can't accept waits, for instance for
// want of file descriptors.
const acceptPause = 50 * time.Millisecond

// sendBuffer is how many bytes the kernel holds at most of what was written to a
// raw connection and not acknowledged: fixed by the protocol (section 12). A
// thousand of them may be left unread.
const sendBuffer = 256 << 10

// maxAccepted is how many streams of a tunnel may wait for its handler to take
// or reject them. Other raw connections wait in the kernel.
const maxAccepted = 32

func (m *Mux) acceptAll(listener *net.TCPListener) error {
	stop := m.session.Closing().Done()
	for {
		select {
		case m.accepts <- struct{}{}:
		case <-stop:
			return net.ErrClosed
		}
		conn, err := listener.AcceptTCP()
		if err != nil {
			<-m.accepts
			if isTemporary(err) {
				select {
				case <-time.After(acceptPause):
					continue
				case <-stop:
				}
			}
			return err
		}
		wsock.BoundSendBuffer(conn, sendBuffer)
		s := newStream(m, conn, conn.RemoteAddr().String())
		m.settings.Host.Send(m.handler, &messages.Accepted{Stream: s, Count: countOf(conn.RemoteAddr())})
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
