package transport

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/auth"
	"wsproxy/messages"
	"wsproxy/messages/refused"
	"wsproxy/netpolicy"
	"wsproxy/transport/bandwidth"
	"wsproxy/transport/budget"
	"wsproxy/transport/forward"
	"wsproxy/transport/outside"
	"wsproxy/transport/relay"
	"wsproxy/transport/resume"
	"wsproxy/transport/tunnel"
	"wsproxy/transport/tunnel/port"
	"wsproxy/transport/wsock"
)

// Bounds of what a stranger may cost before anything is known about it.
const (
	// headerTimeout is how long a request's header may take.
	headerTimeout = 10 * time.Second
	// idleTimeout is how long a connection may wait for its next request.
	idleTimeout = 2 * time.Minute
	// maxHeader bounds the request line and header, in bytes. Tokens of 8 KiB
	// and the cookies of a large application fit several times.
	maxHeader = 64 << 10
)

// An Authenticator says whose token it is. The error is a sentence that the
// client may read.
type Authenticator interface {
	Verify(ctx context.Context, token string) (auth.Identity, error)
}

// Pages answer for the paths that they have, which are none of the edge's own.
// Their methods are called by many goroutines.
type Pages interface {
	Has(path string) bool
	http.Handler
}

// An Observer is told how long things take, and what comes of them. Its methods are
// called by many goroutines.
type Observer interface {
	relay.Observer
	outside.Observer
	// ShookHands is told how long a client has waited for its WebSocket.
	ShookHands(endpoint string, took time.Duration)
}

// Memory counts the bytes that are held for requests against a bound. Its
// methods are called by many goroutines.
type Memory interface {
	// Try takes n bytes if there is room for them, and reports whether it did.
	Try(n int64) bool
	// Add takes n bytes, or gives back if n is negative.
	Add(n int64)
}

// Config is what the edge needs. All fields but Auth, Tunnels, Pages, Observer, Bandwidth,
// Brief and the bounds are required.
type Config struct {
	Root        *actor.RootContext
	Relays      *actor.PID
	Auth        Authenticator // nil lets everyone in as anonymous
	Policy      *netpolicy.Policy
	Sources     netpolicy.Sources
	Origins     netpolicy.Origins
	Keepalive   *wsock.Keepalive
	DialTimeout time.Duration // bounds resolving, and dialling
	Ping        time.Duration // between two pings to one WebSocket
	Tunnels     *Tunnels      // nil disables tunnels
	Pages       Pages         // nil for none
	Refused     refused.Recorder
	Observer    Observer // nil for none
	Resume      Resume
	Bandwidth   *bandwidth.Users // nil for no bound
	Brief       func(run func()) // see [wsock.Host.Brief]; may be nil
	// Secure says that clients speak TLS with this process.
	Secure bool
	// EndWithToken has sessions end when their token has expired.
	EndWithToken bool
	Log          *slog.Logger

	// MaxConnsPerPeer bounds the connections to the HTTP listener that are no
	// sessions, of one direct peer that is no trusted proxy; 0 is no limit.
	MaxConnsPerPeer int
	MaxConns        int // the same, of all peers
}

// Resume is on what sessions outlive their WebSocket. All fields are required, but
// Tunnel without tunnels.
type Resume struct {
	Timeout time.Duration // that one waits for another WebSocket; 0 = they don't
	Buffer  int64         // bytes that one holds, each way, at most
	Shares  *budget.Shares
	// Relay and Tunnel return where the session is found of whose token id is a part;
	// nil if there can be none. There need be none.
	Relay, Tunnel func(id string) *actor.PID
	Exists        func(session *actor.PID) bool
}

// Tunnels is what the edge needs for tunnels. All fields are required, but for
// Bind, ProxyFrom, NameSecret and ForwardCredentials.
type Tunnels struct {
	Limits *actor.PID // the limits actor
	Actor  *actor.PID // the tunnels actor
	// Handler is where a subdomain's requests go if its tunnel has http=bytes,
	// or if it has not; there need be no such tunnel.
	Handler                   func(subdomain string, bytes bool) *actor.PID
	Exists                    func(handler *actor.PID) bool // whether there is such a handler now
	Domain                    string                        // whose subdomains are tunnels, in lower case
	Dialect                   string                        // of clients that ask for none: "text", "binary" or "gossh"
	Bind                      netip.Addr                    // of raw ports; the zero Addr means all interfaces
	ProxyFrom                 func(peer netip.Addr) bool    // whose raw connections begin with a header of the PROXY protocol; nil = nobody's
	Memory                    *budget.Pool                  // what all tunnels share
	Buffer                    int64                         // bytes that may wait in a tunnel for its raw peers
	StallTimeout, HTTPTimeout time.Duration
	MaxBody                   int64 // bytes of a request's or response's body
	ForwardCredentials        bool
	NameSecret                string // of which the subdomains of names are made; "" = names are ignored
}

// A Server answers all HTTP requests: those to the proxy itself, and those to
// the subdomains of tunnels.
type Server struct {
	config     Config
	conns      *conns
	memory     Memory                            // for headers; nil without tunnels
	host       *wsock.Host                       // shared by all sessions
	relays     *relay.Settings                   // shared by all relay sessions
	tunnels    *tunnel.Settings                  // shared by all tunnels; nil without them
	gateway    *forward.Gateway                  // to the tunnels; nil without them
	forwarding atomic.Int64                      // requests to tunnels that are under way
	leaving    atomic.Bool                       // whether /health says so
	draining   atomic.Bool                       // whether new sessions are refused
	origins    atomic.Pointer[netpolicy.Origins] // what it points to is never changed

	endWithToken atomic.Bool
}

// Change has other origins, other bounds and another EndWithToken hold from now on, as
// those of Config. Policy and Sources are changed by themselves. Any goroutine may call
// it.
func (s *Server) Change(origins netpolicy.Origins, maxConnsPerPeer, maxConns int, endWithToken bool) {
	s.origins.Store(&origins)
	s.endWithToken.Store(endWithToken)
	s.conns.rebound(maxConnsPerPeer, maxConns)
}

// NewServer returns a server that is ready to answer. It starts nothing.
func NewServer(c Config) *Server {
	host := wsock.NewHost(c.Root, c.Keepalive, c.Log)
	host.Brief = c.Brief
	s := &Server{config: c, conns: newConns(c), host: host, relays: &relay.Settings{
		Host: host, Policy: c.Policy, DialTimeout: c.DialTimeout, Ping: c.Ping, Observer: c.Observer,
	}}
	s.origins.Store(&c.Origins)
	s.endWithToken.Store(c.EndWithToken)
	var lasting *resume.Settings
	if c.Resume.Timeout > 0 {
		lasting = &resume.Settings{Host: host, Timeout: c.Resume.Timeout, Buffer: c.Resume.Buffer, Shares: c.Resume.Shares}
		s.relays.Resume = lasting
	}
	if t := c.Tunnels; t != nil {
		s.tunnels = &tunnel.Settings{
			Host: host, Memory: t.Memory, Buffer: t.Buffer,
			MaxMessage:   2*t.MaxBody + tunnelMessageExtra,
			StallTimeout: t.StallTimeout, HTTPTimeout: t.HTTPTimeout, Bind: t.Bind,
			Proxies: port.Proxies{From: t.ProxyFrom, Refused: func(reason messages.Reason, peer netip.Addr) {
				c.Refused.Refused(refused.Refusal{Endpoint: refused.Raw, Reason: reason, Source: peer})
			}},
			Resume: lasting,
		}
		s.memory = t.Memory.Part()
		s.gateway = forward.NewGateway(forward.Settings{
			Root: c.Root, Limits: t.Limits, Handler: t.Handler, Exists: t.Exists, Sources: c.Sources,
			HTTPTimeout: t.HTTPTimeout, MaxBody: t.MaxBody, ForwardCredentials: t.ForwardCredentials,
			Refused: c.Refused, Log: c.Log,
		})
	}
	return s
}

// tunnelMessageExtra is how much longer than twice the largest body a message
// of a tunnel's client may be, in bytes: fixed by the protocol.
const tunnelMessageExtra = 1 << 20

// HTTP returns the http.Server that answers for s, with the bounds that keep a
// stranger's connection cheap. Its listener must be one of [Server.Listener]'s,
// and its ConnState must be called.
// Its Shutdown ends the discarding of what clients still send after their
// answer.
func (s *Server) HTTP() *http.Server {
	ending, shutdown := context.WithCancel(context.Background())
	server := &http.Server{
		Handler:                      s,
		DisableGeneralOptionsHandler: true, // OPTIONS * is a tunnel's to answer
		ReadHeaderTimeout:            headerTimeout,
		IdleTimeout:                  idleTimeout,
		MaxHeaderBytes:               maxHeader - 4096, // net/http reads that much more
		ErrorLog:                     slog.NewLogLogger(s.config.Log.Handler(), slog.LevelWarn),
		BaseContext:                  func(net.Listener) context.Context { return outside.WithEnding(context.Background(), ending) },
		ConnContext:                  withConn,
		ConnState:                    connState,
	}
	server.RegisterOnShutdown(shutdown)
	return server
}

// Leave makes /health answer 503, so that a load balancer moves on. New sessions
// are as welcome as before, since it takes a load balancer some time.
func (s *Server) Leave() { s.leaving.Store(true) }

// Drain does what Leave does, and says that new sessions are refused from now on,
// which is for the actors to do.
func (s *Server) Drain() {
	s.leaving.Store(true)
	s.draining.Store(true)
}

// IsDraining reports whether Leave or Drain was called: whether the shutdown has begun.
func (s *Server) IsDraining() bool { return s.leaving.Load() }

// Flows are what the sessions have moved so far. Its fields may be read at any time.
func (s *Server) Flows() *wsock.Flows { return &s.host.Flows }

// UnderWay returns how many HTTP requests to tunnels are under way.
func (s *Server) UnderWay() int64 { return s.forwarding.Load() }

// Conns returns how many connections to the HTTP listener are no sessions.
func (s *Server) Conns() int {
	s.conns.mu.Lock()
	defer s.conns.mu.Unlock()
	return s.conns.all.count
}

// AnnounceRestart fixes when the clients of now are told to come back. Called
// once, before the actors are told to end their sessions.
func (s *Server) AnnounceRestart() { s.host.AnnounceRestart() }

// overTLS marks a request that came over TLS of our own, which ends before net/http.
var overTLS = &tls.ConnectionState{}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w, ok := s.received(w, r)
	if !ok {
		return
	}
	if s.config.Secure {
		r.TLS = overTLS
	}
	endpoint := "own"
	if s.config.Observer != nil {
		observed := outside.Observe(w)
		w = observed
		defer func() { observed.Tell(s.config.Observer, endpoint) }() // it may panic
	}
	if s.config.Tunnels != nil {
		if subdomain, ours := s.config.Tunnels.subdomain(r.Host); ours {
			endpoint = "http"
			s.forwarding.Add(1)
			defer s.forwarding.Add(-1)
			s.gateway.Forward(w, r, subdomain)
			return
		}
	}
	outside.LimitAnswer(w) // an upgrade ends that
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if r.ContentLength != 0 {
		// Nothing here has a use for a body. Else net/http would wait for it
		// without end, and before it answers.
		w.Header().Set("Connection", "close")
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(headerTimeout))
	}
	switch r.URL.Path {
	case "/health", "/health/live", "/relay", "/tunnel", "/tunnel/ask":
	default:
		if s.config.Pages != nil && s.config.Pages.Has(r.URL.Path) {
			s.config.Pages.ServeHTTP(w, r) // to the pages of no other origin
			return
		}
		outside.Answer(w, r, http.StatusNotFound, "There is nothing here: wsproxy answers /health, /health/live, /relay, /tunnel and /tunnel/ask.")
		return
	}
	if r.URL.Path == "/relay" || r.URL.Path == "/tunnel" {
		endpoint = r.URL.Path[1:]
	}
	s.allowOrigin(w, r)
	switch {
	case r.Method == http.MethodOptions: // else a page could not read what comes next
		preflight(w, r)
	case r.URL.Path == "/tunnel" && s.config.Tunnels == nil: // before any other check
		s.tunnel(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		w.Header().Set("Allow", "GET, HEAD, OPTIONS")
		outside.Answer(w, r, http.StatusMethodNotAllowed, "Only GET is answered here.")
	case r.URL.Path == "/health":
		s.health(w)
	case r.URL.Path == "/health/live":
		say(w, http.StatusOK, "ok")
	case r.URL.Path == "/tunnel/ask":
		s.ask(w, r)
	case r.URL.Path == "/relay":
		s.relay(w, r)
	default:
		s.tunnel(w, r)
	}
}
