package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/listen/proxyheader"
	"wsproxy/transport/wsock"
)

// Options are what connections go through before their HTTP. But for Log, the zero value
// is nothing.
type Options struct {
	// ProxyFrom reports whether a peer's connections begin with a header of the PROXY
	// protocol; it is asked for the zero Addr of a Unix socket's. nil = none do.
	ProxyFrom func(peer netip.Addr) bool
	// TLS is what connections are secured by; nil = they are not.
	TLS *tls.Config
	// Silent names the protocol of ALPN whose connections end with their handshake; ""
	// for none.
	Silent string
	// MostLinger bounds, below mostLinger, the connections that the edge has closed and
	// whose peers have yet to take what was sent; each has two descriptors. 0 = it does not.
	MostLinger int
	Log        *slog.Logger
}

// A Listener prepares what it accepts. Its methods may be called by many goroutines.
type Listener struct {
	net.Listener
	options   Options
	handshake time.Duration // bounds each
	unflushed atomic.Int64  // splices that have yet to send what the edge has written
	lingering lingerers     // splices whose edge is closed
}

// New returns a Listener of one that is open.
func New(l net.Listener, o Options) *Listener {
	most := mostLinger
	if o.MostLinger > 0 {
		most = min(most, o.MostLinger)
	}
	return &Listener{Listener: l, options: o, handshake: handshakeTimeout,
		lingering: lingerers{most: most, all: make(map[*splice]struct{})}}
}

// Bare returns the listener itself if its connections are HTTP over TCP, and nothing
// stands before that.
func (l *Listener) Bare() (*net.TCPListener, bool) {
	bare, ok := l.Listener.(*net.TCPListener)
	return bare, ok && l.options.ProxyFrom == nil && l.options.TLS == nil
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

// handshakeTimeout bounds a TLS handshake: a poor network needs some round trips, and
// whoever sends nothing has a descriptor and a goroutine as long.
const handshakeTimeout = 10 * time.Second

// sendBuffer is how many bytes the kernel holds at most of what was sent to a peer and not
// acknowledged. An upgrade has [wsock.SendBuffer].
const sendBuffer = 256 << 10

// Prepare makes of an accepted connection one that speaks HTTP. It takes no longer than
// the bounds of what stands before, and ends early when ctx is done and conn is closed.
// With an error the caller closes conn.
func (l *Listener) Prepare(ctx context.Context, conn net.Conn) (*Prepared, *Error) {
	prepared := &Prepared{Peer: conn.RemoteAddr()}
	if l.options.ProxyFrom != nil && l.options.ProxyFrom(addressOf(conn.RemoteAddr())) {
		source, err := proxyheader.ReadFrom(conn)
		if errors.Is(err, proxyheader.ErrEmpty) {
			return nil, &Error{"", err}
		} else if err != nil {
			return nil, &Error{messages.ReasonProxyHeader, err}
		}
		if source.IsValid() {
			prepared.Peer = net.TCPAddrFromAddrPort(source)
		}
	}
	bare, isTCP := conn.(*net.TCPConn)
	if isTCP && l.options.TLS == nil {
		prepared.Conn = bare
		return prepared, nil
	}
	w, err := newWire(conn)
	if err != nil {
		return nil, &Error{messages.ReasonInternal, err}
	}
	var secure *tls.Conn
	if l.options.TLS != nil {
		secure = tls.Server(w, l.options.TLS)
		// A deadline of the connection would not bound the wait for a certificate.
		ctx, cancel := context.WithTimeout(ctx, l.handshake)
		err := secure.HandshakeContext(ctx)
		cancel()
		if err == io.EOF { // it has left: a check of a balancer's
			return nil, &Error{"", err}
		} else if err != nil {
			return nil, &Error{messages.ReasonTLSHandshake, err}
		}
		if l.options.Silent != "" && secure.ConnectionState().NegotiatedProtocol == l.options.Silent {
			return nil, &Error{"", context.Canceled}
		}
	}
	if isTCP {
		wsock.BoundSendBuffer(bare, sendBuffer)
		prepared.Upgraded = func() { wsock.BoundSendBuffer(bare, wsock.SendBuffer) }
	}
	if prepared.Conn, err = l.splice(w, secure, prepared.Peer); err != nil {
		return nil, &Error{messages.ReasonInternal, err}
	}
	return prepared, nil
}

// flushLook is how often is looked whether all was sent.
const flushLook = 5 * time.Millisecond

// Flush waits until what the edge has written, and closed behind, was given to the kernel,
// or ctx is done. The edge's connections have ended.
func (l *Listener) Flush(ctx context.Context) {
	look := time.NewTicker(flushLook)
	defer look.Stop()
	for l.unflushed.Load() > 0 {
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
}

// addressOf returns the address of a TCP connection's peer, else the zero Addr.
func addressOf(peer net.Addr) netip.Addr {
	tcp, ok := peer.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return tcp.AddrPort().Addr().Unmap()
}
