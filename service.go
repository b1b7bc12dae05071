package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors"
	"wsproxy/auth"
	"wsproxy/messages"
	"wsproxy/netpolicy"
	"wsproxy/transport"
)

// A service is the running server: everything that start has built, and
// nothing that anybody else holds.
type service struct {
	config    Config
	log       *slog.Logger
	system    *actor.ActorSystem
	workers   *actors.Workers // run its busy ones
	owners    []*actor.PID    // the actors that own sessions: relays, and tunnels
	verifier  *auth.Verifier  // nil without authentication
	keepalive *transport.Keepalive
	edge      *transport.Server
	servers   []*http.Server
	failed    chan error    // a listener that ended before it was closed
	stop      chan struct{} // closed at the end
	inject    func(any)     // makes tunnels' handlers fail, in tests; nil otherwise
}

// start builds the server and opens its listeners. What it has built when it
// fails, it has closed again.
func start(c Config, log *slog.Logger) (s *service, err error) {
	return startWith(c, log, nil)
}

func startWith(c Config, log *slog.Logger, inject func(any)) (s *service, err error) {
	s = &service{config: c, log: log, failed: make(chan error, 2), inject: inject, stop: make(chan struct{})}
	go tendMemory(s.stop)
	defer func() {
		if err != nil {
			s.close(context.Background()) // nobody has asked for anything yet
		}
	}()
	listener, err := net.Listen("tcp", c.ListenAddr())
	if err != nil {
		return s, fmt.Errorf("the HTTP listener can't be opened, see PORT and BIND: %w", err)
	}
	defer closeUnless(&err, listener)
	ownPorts := []uint16{listenPort(listener)}
	var metricsListener net.Listener
	if c.MetricsAddr != "" {
		if metricsListener, err = net.Listen("tcp", c.MetricsAddr); err != nil {
			return s, fmt.Errorf("the metrics listener can't be opened, see METRICS_ADDR: %w", err)
		}
		defer closeUnless(&err, metricsListener)
		ownPorts = append(ownPorts, listenPort(metricsListener))
	}

	if err = s.authenticate(listener.Addr()); err != nil {
		return s, err
	}
	meter := newMetrics(s.verifier)
	s.keepalive = transport.NewKeepalive(c.PingInterval)
	edge := transport.Config{
		Policy: netpolicy.New(netpolicy.Options{
			Blocked: c.BlockedTargets, DefaultBlock: c.BlockDefault, Allowed: c.AllowedTargets,
			Ports:   c.AllowedPorts,
			OwnPort: func(port uint16) bool { return slices.Contains(ownPorts, port) || c.isRawPort(port) },
		}),
		Sources:     netpolicy.NewSources(c.TrustedProxies),
		Origins:     c.AllowedOrigins,
		Keepalive:   s.keepalive,
		DialTimeout: c.DialTimeout,
		Ping:        c.PingInterval,
		Meter:       meter,
		Log:         log,
	}
	if s.verifier != nil {
		edge.Auth = s.verifier
	}
	if err = s.spawn(&edge, meter); err != nil {
		return s, err
	}
	s.edge = transport.NewServer(edge)

	s.listen(listener, s.edge.HTTP())
	if metricsListener != nil {
		s.listen(metricsListener, meter.HTTP())
		log.Info("metrics are served", "address", metricsListener.Addr().String())
	}
	info, _ := debug.ReadBuildInfo()
	log.Info("listening", "address", listener.Addr().String(), "version", versionLine(version, info))
	return s, nil
}

func closeUnless(err *error, l net.Listener) {
	if *err != nil {
		l.Close()
	}
}

func listenPort(l net.Listener) uint16 {
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

// authenticate starts the verifier, or warns that there is none.
func (s *service) authenticate(addr net.Addr) error {
	c := s.config
	if c.JWKSURL == "" {
		s.log.Warn("authentication is off: CLERK_JWKS_URL is not set, everyone is anonymous")
		if !addr.(*net.TCPAddr).AddrPort().Addr().Unmap().IsLoopback() {
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

// spawn starts the actors, those first whom others ask, and introduces them to
// the edge.
func (s *service) spawn(edge *transport.Config, meter *metrics) error {
	s.system, s.workers = actors.NewSystem(s.log), actors.NewWorkers()
	edge.Root = s.system.Root
	limits, err := actors.SpawnLimits(s.system, actors.Bounds{
		PerAddress: s.config.MaxConnsPerIP,
		PerUser:    s.config.MaxConnsPerUser,
		HTTP:       s.config.MaxTunnelHTTPPerIP,
		Raw:        s.config.MaxTunnelTCPConnsGlobal,
	}, s.workers, s.log)
	if err != nil {
		return fmt.Errorf("the limits actor can't be started: %w", err)
	}
	edge.Relays, err = actors.SpawnRelays(s.system, actors.Relays{Limits: limits, Meter: meter, Log: s.log})
	if err != nil {
		return fmt.Errorf("the relays actor can't be started: %w", err)
	}
	s.owners = []*actor.PID{edge.Relays}
	if s.config.TunnelDomain == "" {
		return nil
	}
	if edge.Tunnels, err = s.spawnTunnels(limits, meter); err != nil {
		return fmt.Errorf("the actors of tunnels can't be started: %w", err)
	}
	s.owners = append(s.owners, edge.Tunnels.Actor)
	return nil
}

// spawnTunnels starts the actors of tunnels, and returns what the edge needs of
// them.
func (s *service) spawnTunnels(limits *actor.PID, meter *metrics) (*transport.Tunnels, error) {
	c := s.config
	ports, err := actors.SpawnPorts(s.system, c.TunnelPortMin, c.TunnelPortMax, s.log)
	if err != nil {
		return nil, err
	}
	owner, err := actors.SpawnTunnels(s.system, actors.Tunnels{
		Limits: limits, Ports: ports, Meter: meter, Log: s.log,
		PublicURL: c.TunnelPublicURL,
		PortTries: int(c.TunnelPortMax) - int(c.TunnelPortMin) + 1,
		MaxHTTP:   c.MaxTunnelHTTP, MaxConns: c.MaxTunnelTCPConns,
		StallTimeout: c.TunnelStallTimeout,
		Workers:      s.workers,
		Inject:       s.inject,
	})
	if err != nil {
		return nil, err
	}
	return &transport.Tunnels{
		Actor:   owner,
		Limits:  limits,
		Handler: func(subdomain string) *actor.PID { return actors.HandlerPID(s.system, subdomain) },
		Exists: func(pid *actor.PID) bool {
			_, exists := s.system.ProcessRegistry.Get(pid)
			return exists
		},
		Domain: c.TunnelDomain, Dialect: c.TunnelControlFrames, Bind: c.TunnelBind,
		Buffer: c.TunnelBuffer, BufferTotal: c.TunnelBufferTotal,
		StallTimeout: c.TunnelStallTimeout, HTTPTimeout: c.TunnelHTTPTimeout,
		MaxBody: c.TunnelMaxBody, ForwardCredentials: c.TunnelForwardCredentials,
	}, nil
}

// isRawPort reports whether a port may be one that tunnels listen on.
func (c Config) isRawPort(port uint16) bool {
	return c.TunnelDomain != "" && port >= c.TunnelPortMin && port <= c.TunnelPortMax
}

func (s *service) listen(l net.Listener, server *http.Server) {
	s.servers = append(s.servers, server)
	fresh := &freshConns{open: make(map[net.Conn]struct{})}
	server.ConnState = fresh.changed
	server.RegisterOnShutdown(fresh.close)
	go func() {
		if err := server.Serve(l); err != http.ErrServerClosed {
			s.failed <- fmt.Errorf("the listener at %v ended: %w", l.Addr(), err)
		}
	}()
}

// serve waits for a signal, drains, and returns the exit code (protocol,
// section 8).
func (s *service) serve(signals <-chan os.Signal) int {
	select {
	case err := <-s.failed:
		s.log.Error("wsproxy ends because it can't listen any more", "error", err)
		last, cancel := context.WithTimeout(context.Background(), messages.Linger)
		defer cancel()
		s.close(last)
		return exitFailed
	case sig := <-signals:
		s.log.Info("draining: no new sessions; a second signal ends at once", "signal", sig.String(), "at_most", s.config.ShutdownTimeout.String())
	}
	second, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case sig := <-signals:
			s.log.Warn("ended at once by a second signal", "signal", sig.String())
			cancel()
		case <-second.Done():
		}
	}()

	s.edge.Drain()
	ended := s.drain()
	wait(second, ended, s.config.ShutdownTimeout)
	// All that remains shares one time.
	last, cancelLast := context.WithTimeout(second, messages.Linger)
	defer cancelLast()
	for _, owner := range s.owners {
		s.system.Root.Send(owner, &messages.Shutdown{})
	}
	wait(last, ended, messages.Linger)
	s.close(last)
	s.log.Info("wsproxy has ended")
	return exitOK
}

// wait waits for the sessions to end, at most for d, and no longer than ctx.
func wait(ctx context.Context, ended <-chan struct{}, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// drain tells the owners of sessions to admit no more, and returns what is
// closed when all sessions have ended.
func (s *service) drain() <-chan struct{} {
	all := make(chan struct{})
	var each []chan struct{}
	for _, owner := range s.owners {
		ended := make(chan struct{})
		s.system.Root.Send(owner, &messages.Drain{Done: ended})
		each = append(each, ended)
	}
	go func() {
		for _, ended := range each {
			<-ended
		}
		close(all)
	}()
	return all
}

// close ends whatever runs. HTTP answers that are being written have until last
// is done.
func (s *service) close(last context.Context) {
	close(s.stop)
	for _, server := range s.servers {
		// WebSockets are not the HTTP servers' any more.
		if server.Shutdown(last) != nil {
			server.Close()
		}
	}
	if s.keepalive != nil {
		s.keepalive.Close()
	}
	if s.verifier != nil {
		s.verifier.Close()
	}
	if s.system != nil {
		s.system.Shutdown()
		s.workers.Close()
	}
}
