package main

import (
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
	relays    *actor.PID
	verifier  *auth.Verifier // nil without authentication
	keepalive *transport.Keepalive
	edge      *transport.Server
	servers   []*http.Server
	failed    chan error // a listener that ended before it was closed
}

// start builds the server and opens its listeners. What it has built when it
// fails, it has closed again.
func start(c Config, log *slog.Logger) (s *service, err error) {
	s = &service{config: c, log: log, failed: make(chan error, 2)}
	defer func() {
		if err != nil {
			s.close()
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
	if err = s.spawn(meter); err != nil {
		return s, err
	}
	s.keepalive = transport.NewKeepalive(c.PingInterval)
	edge := transport.Config{
		Root:   s.system.Root,
		Relays: s.relays,
		Policy: netpolicy.New(netpolicy.Options{
			Blocked: c.BlockedTargets, DefaultBlock: c.BlockDefault, Allowed: c.AllowedTargets,
			Ports:   c.AllowedPorts,
			OwnPort: func(port uint16) bool { return slices.Contains(ownPorts, port) },
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

// spawn starts the actors, those first whom others ask.
func (s *service) spawn(meter *metrics) error {
	s.system = actors.NewSystem(s.log)
	limits, err := actors.SpawnLimits(s.system, actors.Bounds{
		PerAddress: s.config.MaxConnsPerIP,
		PerUser:    s.config.MaxConnsPerUser,
	}, s.log)
	if err != nil {
		return fmt.Errorf("the limits actor can't be started: %w", err)
	}
	s.relays, err = actors.SpawnRelays(s.system, actors.Relays{Limits: limits, Meter: meter, Log: s.log})
	if err != nil {
		return fmt.Errorf("the relays actor can't be started: %w", err)
	}
	return nil
}

func (s *service) listen(l net.Listener, server *http.Server) {
	s.servers = append(s.servers, server)
	go func() {
		if err := server.Serve(l); err != http.ErrServerClosed {
			s.failed <- fmt.Errorf("the listener at %v ended: %w", l.Addr(), err)
		}
	}()
}

// serve waits for a signal, drains, and returns the exit code (protocol,
// section 8).
func (s *service) serve(signals <-chan os.Signal) int {
	defer s.close()
	select {
	case err := <-s.failed:
		s.log.Error("wsproxy ends because it can't listen any more", "error", err)
		return exitFailed
	case sig := <-signals:
		s.log.Info("draining: no new sessions; a second signal ends at once", "signal", sig.String(), "at_most", s.config.ShutdownTimeout.String())
	}

	s.edge.Drain()
	ended := make(chan struct{})
	s.system.Root.Send(s.relays, &messages.Drain{Done: ended})
	if !s.wait(ended, s.config.ShutdownTimeout, signals) {
		return exitOK
	}
	s.system.Root.Send(s.relays, &messages.Shutdown{})
	s.wait(ended, messages.Linger, signals)
	s.log.Info("wsproxy has ended")
	return exitOK
}

// wait waits for the sessions to end, at most for d, and reports whether no
// second signal came meanwhile.
func (s *service) wait(ended <-chan struct{}, d time.Duration, signals <-chan os.Signal) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	case sig := <-signals:
		s.log.Warn("ended at once by a second signal", "signal", sig.String())
		return false
	}
	return true
}

// close ends whatever runs.
func (s *service) close() {
	for _, server := range s.servers {
		server.Close()
	}
	if s.keepalive != nil {
		s.keepalive.Close()
	}
	if s.verifier != nil {
		s.verifier.Close()
	}
	if s.system != nil {
		s.system.Shutdown()
	}
}
