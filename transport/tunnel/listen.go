package tunnel

import (
	"net"
	"net/netip"

	"wsproxy/messages"
	"wsproxy/transport/tunnel/port"
	"wsproxy/transport/wsock"
)

// Listen opens the raw port, and begins to accept if the Mux has started.
func (m *Mux) Listen(number uint16) {
	accepting := m.accepting
	var err error
	wsock.StartPump(m.life.Log(), "listen", func() {
		var listener *net.TCPListener
		if listener, err = port.Listen(m.settings.Bind, number); err != nil {
			return
		}
		m.listener.Store(listener)
		select {
		case <-m.life.Closing().Done(): // maybe without having seen it
			listener.Close()
		default:
			if accepting {
				m.accept(listener)
			}
		}
	}, func() { m.life.Tell(&messages.PortOpened{Port: number, Err: err}) })
}

// accept hands the raw port's connections over to the handler.
func (m *Mux) accept(listener *net.TCPListener) {
	var err error
	wsock.StartPump(m.life.Log(), "accept", func() {
		err = port.AcceptAll(listener, m.settings.Proxies, m.accepts, m.life.Closing().Done(), func(conn *net.TCPConn, peer net.Addr, count netip.Prefix) {
			s := newStream(m, conn, peer.String())
			m.settings.Host.Send(m.handler, &messages.Accepted{Stream: s, Count: count})
		})
	}, func() {
		listener.Close()
		select {
		case <-m.life.Closing().Done():
		default:
			m.life.Tell(&messages.PortFailed{Err: err})
		}
	})
}

// maxAccepted is how many streams of a tunnel may wait for its handler to take
// or reject them. Other raw connections wait in the kernel.
const maxAccepted = 32
