package wsproxy

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/url"
	"time"

	"wsproxy/client/go/internal/session"
	"wsproxy/client/go/internal/socket"
	"wsproxy/transport/wsock/replay"
)

// A Server says how a server is reached. Only URL is required. The functions may
// be called by other goroutines than the caller's, one at a time for each
// connection or tunnel.
type Server struct {
	// URL is the server's address, ws, wss, http or https, with a path if a front
	// proxy has it below one: wss://example.com/proxy.
	URL string
	// Token is asked for a token before each WebSocket is opened, also before one
	// that takes a session up, and when a server that ends sessions with their token
	// (END_WITH_TOKEN) says that a tunnel is about to end: it may be a new one each time.
	// nil = none. The token goes into the header Authorization, or a message.
	Token func(ctx context.Context) (string, error)
	// TLS is for wss and https; nil = the system's certificate authorities.
	TLS *tls.Config
	// Proxy chooses the proxy, as in net/http's Transport: http, https or socks5;
	// nil = http.ProxyFromEnvironment, which reads HTTPS_PROXY, HTTP_PROXY and
	// NO_PROXY.
	Proxy func(*http.Request) (*url.URL, error)
	// Header is sent with each handshake, such as Origin.
	Header http.Header
	// NoResume has the session end with its WebSocket, as against servers that
	// can't do better.
	NoResume bool

	// OnDetached is called when the WebSocket was lost, with why. The session is
	// being taken up.
	OnDetached func(error)
	// OnRetry is called when a try to take the session up has failed, with why.
	// Others follow.
	OnRetry func(error)
	// OnResumed is called when the session was taken up, with how long it had no
	// WebSocket.
	OnResumed func(away time.Duration)
}

// session returns the options of a session on an endpoint, all but its source,
// its sink and its window.
func (s Server) session(unit replay.Unit, path string, query url.Values) session.Options {
	o := socket.Options{URL: s.URL, Token: s.Token, TLS: s.TLS, Proxy: s.Proxy, Header: s.Header, NoResume: s.NoResume, UnsentLow: unit == replay.Messages}
	return session.Options{
		Dial: func(ctx context.Context, again *socket.TakeUp) (*socket.Conn, error) {
			return socket.Dial(ctx, &o, path, query, again)
		},
		Unit:       unit,
		OnDetached: s.OnDetached,
		OnRetry:    s.OnRetry,
		OnResumed:  s.OnResumed,
	}
}
