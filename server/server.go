package server

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/supervise"
	"wsproxy/auth"
	"wsproxy/config"
	"wsproxy/metrics"
	"wsproxy/netpolicy"
	"wsproxy/page"
	"wsproxy/server/certs"
	"wsproxy/transport"
	"wsproxy/transport/bandwidth"
	"wsproxy/transport/budget"
	"wsproxy/transport/listen"
	"wsproxy/transport/wsock"
)

// A service is the running server: everything that start has built, and
// nothing that anybody else holds.
type service struct {
	config    config.Config                    // that it was started with
	holds     atomic.Pointer[config.Config]    // that holds now; what it points to is never changed
	settings  atomic.Pointer[[]config.Setting] // what holds, to be shown; nil without ADMIN_TOKEN
	version   string                           // what this build calls itself, without the particulars behind it
	log       *slog.Logger
	system    *actor.ActorSystem
	workers   *supervise.Workers // run its busy ones
	owners    []*actor.PID       // the actors that own sessions: relays, and tunnels
	limits    *actor.PID
	tunnels   *actor.PID        // nil without tunnels
	policy    *netpolicy.Policy // of relays' targets
	sources   netpolicy.Sources
	verifier  *auth.Verifier // nil without authentication
	keepalive *wsock.Keepalive
	shares    *budget.Shares // what sessions that outlive their WebSocket hold
	bandwidth *bandwidth.Users
	edge      *transport.Server
	meter     *metrics.Metrics
	refusals  *refusals
	began     time.Time
	servers   []*http.Server
	front     *listen.Listener // of the HTTP listener; nil until it is open
	certs     *certs.Store     // nil without TLS
	failed    chan error       // a listener that ended before it was closed
	stop      chan struct{}    // closed at the end
	inject    func(any)        // makes tunnels' handlers fail, in tests; nil otherwise
}

// start builds the server and opens its listeners. What it has built when it
// fails, it has closed again.
func start(c config.Config, version string, log *slog.Logger) (s *service, err error) {
	return startWith(c, version, log, particulars{})
}

// particulars are what only some servers have.
type particulars struct {
	environ []string  // that the configuration was loaded from, to be shown
	inject  func(any) // makes tunnels' handlers fail, in tests; nil otherwise
}

func startWith(c config.Config, version string, log *slog.Logger, p particulars) (s *service, err error) {
	name, _, _ := strings.Cut(version, " (")
	s = &service{config: c, version: strings.TrimPrefix(name, "wsproxy "), log: log, failed: make(chan error, 2), inject: p.inject, stop: make(chan struct{}), began: time.Now(),
		shares: budget.NewShares(c.ResumeBufferTotal)}
	s.holds.Store(&c)
	go tendMemory(s.stop, counted(c), s.shares.Sessions)
	defer func() {
		if err != nil {
			s.close(context.Background()) // nobody has asked for anything yet
		}
	}()
	listener, err := open(c, c.ListenAddr())
	if err != nil {
		return s, fmt.Errorf("the HTTP listener can't be opened, see PORT and BIND: %w", err)
	}
	defer closeUnless(&err, listener)
	ownPorts := listenPorts(listener)
	var metricsListener net.Listener
	if c.MetricsAddr != "" {
		if metricsListener, err = open(c, c.MetricsAddr); err != nil {
			return s, fmt.Errorf("the metrics listener can't be opened, see METRICS_ADDR: %w", err)
		}
		defer closeUnless(&err, metricsListener)
		ownPorts = append(ownPorts, listenPorts(metricsListener)...)
	}

	if err = s.authenticate(listener.Addr()); err != nil {
		return s, err
	}
	s.warn()
	meter := metrics.New()
	s.meter, s.refusals = meter, newRefusals(meter, log)
	if s.verifier != nil {
		meter.WatchKeys(func() metrics.Keys {
			stats := s.verifier.Stats()
			return metrics.Keys{Fetches: stats.Fetches, Failures: stats.Failures, Usable: stats.Keys,
				LastSuccess: stats.LastSuccess, Waiting: stats.Waiting}
		})
	}
	if err = s.wire(ownPorts, meter); err != nil {
		return s, err
	}

	before, err := s.before()
	if err != nil {
		return s, err
	}
	opened := listen.New(listener, before)
	s.front = opened
	if bare, ok := opened.Bare(); ok {
		s.listen(s.edge.Listener(bare), s.edge.HTTP())
	} else {
		s.listen(s.edge.PreparedListener(opened, opened), s.edge.HTTP())
	}
	if metricsListener != nil {
		server := meter.HTTP()
		if c.AdminToken != "" {
			settings := c.Settings(p.environ)
			s.settings.Store(&settings)
			s.administer(server, meter)
		}
		s.listen(metricsListener, server)
		log.Info("metrics are served", "address", metricsListener.Addr().String())
	}
	log.Info("listening", "address", listener.Addr().String(), "tls", c.TLS(), "version", version)
	return s, nil
}

func closeUnless(err *error, l net.Listener) {
	if *err != nil {
		l.Close()
	}
}

// open opens a listener at an address as the configuration has it.
func open(c config.Config, addr string) (net.Listener, error) {
	if path, unix := config.UnixPath(addr); unix {
		return listen.OpenUnix(path, c.UnixSocketMode)
	}
	return net.Listen("tcp", addr)
}

// before returns what connections go through before their HTTP.
func (s *service) before() (o listen.Options, err error) {
	c := s.config
	// Where descriptors are few, few connections are kept that have ended.
	o = listen.Options{ProxyFrom: s.proxyFrom(c.ProxyProtocol), MostLinger: c.MaxHTTPConns, Log: s.log}
	if !c.TLS() {
		return o, nil
	}
	have := certs.Options{CertFile: c.TLSCertFile, KeyFile: c.TLSKeyFile, Log: s.log}
	if c.ACME() {
		have.ACME = &certs.ACME{Directory: c.ACMEDirectory, Email: c.ACMEEmail, CacheDir: c.ACMECacheDir, Names: c.ACMEDomains}
		if c.ACMETunnels {
			have.ACME.Tunnel = s.edge.HasTunnel
		}
	}
	if s.certs, err = certs.Open(have); err != nil {
		return o, fmt.Errorf("TLS can't be spoken: %w", err)
	}
	o.TLS, o.Silent = s.certs.TLS(), s.certs.Silent()
	return o, nil
}

// listenPorts returns the port of a listener, which a Unix socket has none of.
func listenPorts(l net.Listener) []uint16 {
	if addr, ok := l.Addr().(*net.TCPAddr); ok {
		return []uint16{addr.AddrPort().Port()}
	}
	return nil
}

// warn says what of the configuration an operator may not have meant. Of
// variables that nobody reads it names the names alone: their values may be
// secrets.
func (s *service) warn() {
	if !s.config.BlockDefault {
		s.log.Warn("no target is blocked: BLOCKED_TARGETS is none, so relays lead into private networks and to this machine itself")
	}
	if s.config.WebTerminal && !page.Exists() {
		s.log.Warn("there is no web terminal to serve: WEB_TERMINAL is on, but this build is without its page; make build puts it in where node and npm are installed")
	}
	warnOfLookalikes(s.log, s.config)
}

// authenticate starts the verifier, or warns that there is none.
func (s *service) authenticate(addr net.Addr) error {
	c := s.config
	if c.JWKSURL == "" {
		s.log.Warn("authentication is off: CLERK_JWKS_URL is not set, everyone is anonymous")
		if tcp, ok := addr.(*net.TCPAddr); ok && !tcp.AddrPort().Addr().Unmap().IsLoopback() {
			s.log.Error("ANYONE WHO REACHES THIS ADDRESS CAN USE THIS SERVER: set CLERK_JWKS_URL, or BIND=127.0.0.1", "address", addr.String())
		}
		return nil
	}
	var err error
	s.verifier, err = auth.New(auth.Config{
		JWKSURL: c.JWKSURL, Issuer: c.JWTIssuer, Audience: c.JWTAudience,
		AuthorizedParties: c.JWTAuthorizedParties, Logger: s.log,
	})
	return err
}

func (s *service) listen(l net.Listener, server *http.Server) {
	s.servers = append(s.servers, server)
	fresh := &freshConns{open: make(map[net.Conn]struct{})}
	server.ConnState = both(server.ConnState, fresh.changed)
	server.RegisterOnShutdown(fresh.close)
	go func() {
		if err := server.Serve(l); err != http.ErrServerClosed {
			s.failed <- fmt.Errorf("the listener at %v ended: %w", l.Addr(), err)
		}
	}()
}
