package wsproxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"wsproxy/client/go/internal/mux"
	"wsproxy/client/go/internal/session"
	"wsproxy/messages"
	"wsproxy/transport/wsock/replay"
)

// ListenOptions say which tunnel is wanted, and of which server.
type ListenOptions struct {
	Server
	// Name has the tunnel get the same address each time, if the server has
	// authentication and TUNNEL_NAME_SECRET; else it is ignored. It is 1 to 64 of a-z,
	// 0-9 and hyphens. The latest tunnel of a name has the address: the one before it
	// ends with [ErrReplaced].
	Name string
	// HostHeader is what requests say as Host, such as localhost:3000, for
	// services that refuse names which they don't know; empty = the public name.
	HostHeader string
	// Raw asks for a TCP port, too: see [Tunnel].
	Raw bool
}

// Listen opens a tunnel: a public address at the server, of which the listener
// gives out the connections. The server is the HTTP client on these, so
//
//	l, tunnel, err := wsproxy.Listen(ctx, options)
//	err = http.Serve(l, handler)
//
// is all that makes a handler public, at tunnel.URL. One connection carries many
// requests, of different outside clients: whose it is says the header
// X-Forwarded-For. ctx bounds the opening alone.
//
// The connections are of type [*Stream]. Such that nobody accepts within ten
// seconds are refused, as are those beyond 1,024 at a time.
//
// The listener's Close refuses new connections, and those that were accepted go
// on. Accept returns [net.ErrClosed] then, and the tunnel's error when that has ended by
// itself. The tunnel ends when it is closed, or when all its listeners and
// connections are.
//
// A server that refuses makes Listen return a [*RefusedError]; one without tunnels
// does so with status 404.
func Listen(ctx context.Context, o ListenOptions) (net.Listener, *Tunnel, error) {
	query := url.Values{"flow": {"credit"}, "http": {"bytes"}}
	if !o.Raw {
		query.Set("raw", "off")
	}
	if o.Name != "" {
		query.Set("name", o.Name)
	}
	if o.HostHeader != "" {
		query.Set("host", o.HostHeader)
	}
	m := mux.New(o.Raw)
	if ask := o.Token; ask != nil {
		var one sync.Mutex
		o.Token = func(ctx context.Context) (string, error) {
			one.Lock() // a session may be taken up just when it is to be renewed
			defer one.Unlock()
			return ask(ctx)
		}
		m.Fresh = func() (string, error) {
			ctx, cancel := context.WithTimeout(context.Background(), freshPatience)
			defer cancel()
			return o.Token(ctx)
		}
	}
	open := o.session(replay.Messages, "/tunnel", query)
	open.Source, open.Sink, open.Window = m, m, mux.Units
	s, err := session.Open(ctx, open)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
			err = fmt.Errorf("%w: %w", cause, err)
		}
		return nil, nil, noTunnels(err)
	}
	m.Attach(s)
	ready, err := m.Ready(ctx)
	if err == nil && !(ready.Credit && ready.Bytes) {
		err = errOldServer
	}
	if err != nil {
		s.Abort(messages.CloseNormal, "")
		return nil, nil, err
	}
	t := &Tunnel{URL: ready.TunnelURL, Credentials: ready.Credentials, mux: m, resumable: s.Resumable()}
	if o.Raw && ready.RawPort != 0 {
		t.RawAddr, t.Raw = mux.RawAddr(ready), listener{m.Raw}
	} else if o.Raw {
		_ = m.Raw.Close() // nothing comes; else the tunnel would wait for its Close
	}
	return listener{m.HTTP}, t, nil
}

// freshPatience is how long a fresh token may take to come: a server that ends sessions
// with their token asks a minute before.
const freshPatience = time.Minute

// errOldServer is of a server that has tunnels without what this client needs.
var errOldServer = errors.New("the server is too old for this client: its tunnels do not have http=bytes and flow=credit. Use a newer wsproxy there")

// noTunnels says what a refusal means that may be of another server altogether.
func noTunnels(err error) error {
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Status != http.StatusNotFound {
		return err
	}
	if refused.Sentence == "" {
		return fmt.Errorf("there is no /tunnel at this URL, is it a wsproxy server's, with its path? %w", err)
	}
	return fmt.Errorf("there are no tunnels at this URL: %w", err)
}

// A listener gives out connections as their users know them.
type listener struct{ l *mux.Listener }

func (l listener) Accept() (net.Conn, error) {
	s, err := l.l.Accept()
	if err != nil {
		return nil, &net.OpError{Op: "accept", Net: l.Addr().Network(), Addr: l.Addr(), Err: err}
	}
	return &Stream{s}, nil
}

func (l listener) Close() error   { return l.l.Close() }
func (l listener) Addr() net.Addr { return l.l.Addr() }
