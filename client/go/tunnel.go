package wsproxy

import (
	"context"
	"net"

	"wsproxy/client/go/internal/mux"
)

// A Tunnel is a public address that leads to this process, from [Listen] to its
// end. Its fields don't change.
type Tunnel struct {
	// URL is the public address, such as https://3857a529d1265961.tunnel.example.com.
	URL string
	// RawAddr is host and port of the TCP port; empty if none was asked for, or
	// none is free at the server.
	RawAddr string
	// Raw gives out the connections of the TCP port, each a [*Stream]; nil without
	// RawAddr.
	Raw net.Listener
	// Credentials says whether the server passes cookies and Authorization through
	// tunnels. If not, nobody can log in to what is served here, and the server's
	// operator can change that by TUNNEL_FORWARD_CREDENTIALS.
	Credentials bool

	mux       *mux.Mux
	resumable bool
}

// Resumable reports whether the tunnel outlives its WebSocket.
func (t *Tunnel) Resumable() bool { return t.resumable }

// Done returns a channel that is closed when the tunnel has ended.
func (t *Tunnel) Done() <-chan struct{} { return t.mux.Done() }

// Err returns why the tunnel has ended: nil before that, and when it was closed
// here in order. It may be a [*CloseError], or wrap [ErrReplaced] or
// [ErrSessionLost].
func (t *Tunnel) Err() error { return t.mux.Err() }

// Close ends the tunnel and returns at once. Connections that are open are
// reset, so that nothing looks whole outside that is not. What was written to
// those that were closed before is still sent in the background, for some seconds.
func (t *Tunnel) Close() error {
	t.mux.Close()
	return nil
}

// Shutdown ends the tunnel in order: it refuses new connections, waits until
// those that were accepted are closed and what was written to them is sent, and
// until the server has ended the tunnel; nil says so. If ctx ends first,
// what is left is reset in the background, and the error is ctx's cause.
//
// A program that uses [net/http.Server] calls that one's Shutdown first, which
// closes idle connections. They are not told from others here.
func (t *Tunnel) Shutdown(ctx context.Context) error { return t.mux.Shutdown(ctx) }
