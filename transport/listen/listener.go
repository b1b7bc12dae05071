package listen

import (
	"net"
	"net/netip"

	"wsproxy/messages"
	"wsproxy/transport/listen/proxyheader"
)

// Options are what connections go through before their HTTP. The zero value is nothing.
type Options struct {
	// ProxyFrom reports whether a peer's connections begin with a header of the PROXY
	// protocol; it is asked for the zero Addr of a Unix socket's. nil = none do.
	ProxyFrom func(peer netip.Addr) bool
}

// A Listener prepares what it accepts. Its methods may be called by many goroutines.
type Listener struct {
	net.Listener
	options Options
}

// New returns a Listener of one that is open.
func New(l net.Listener, o Options) *Listener { return &Listener{Listener: l, options: o} }

// Bare returns the listener itself if its connections are HTTP over TCP, and nothing
// stands before that.
func (l *Listener) Bare() (*net.TCPListener, bool) {
	bare, ok := l.Listener.(*net.TCPListener)
	return bare, ok && l.options.ProxyFrom == nil
}

// Prepared is a connection that speaks HTTP.
type Prepared struct {
	Conn *net.TCPConn
	Peer net.Addr // whom it comes from
	// Upgraded says that the connection carries a session from now on. nil if nobody
	// wants to know.
	Upgraded func()
}

// An Error is why a connection was not prepared.
type Error struct {
	Reason messages.Reason // "" if nothing was refused
	Err    error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns what has gone wrong.
func (e *Error) Unwrap() error { return e.Err }

// Prepare makes of an accepted connection one that speaks HTTP. It takes no longer than
// the bounds of what stands before. With an error the caller closes conn.
func (l *Listener) Prepare(conn net.Conn) (*Prepared, *Error) {
	prepared := &Prepared{Peer: conn.RemoteAddr()}
	if l.options.ProxyFrom != nil && l.options.ProxyFrom(addressOf(conn.RemoteAddr())) {
		source, err := proxyheader.ReadFrom(conn)
		if err != nil {
			return nil, &Error{messages.ReasonProxyHeader, err}
		}
		if source.IsValid() {
			prepared.Peer = net.TCPAddrFromAddrPort(source)
		}
	}
	prepared.Conn = conn.(*net.TCPConn)
	return prepared, nil
}

// addressOf returns the address of a TCP connection's peer, else the zero Addr.
func addressOf(peer net.Addr) netip.Addr {
	tcp, ok := peer.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap()
}
