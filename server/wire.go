package server

import (
	"wsproxy/actors/ledger"
	"wsproxy/actors/limits"
	"wsproxy/actors/ports"
	"wsproxy/actors/relays"
	"wsproxy/actors/sessions"

	"fmt"
	"math"
	"net/netip"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors"
	"wsproxy/actors/supervise"
	"wsproxy/config"
	"wsproxy/messages"
	"wsproxy/metrics"
	"wsproxy/netpolicy"
	"wsproxy/page"
	"wsproxy/transport"
	"wsproxy/transport/bandwidth"
	"wsproxy/transport/budget"
	"wsproxy/transport/wsock"
)

// wire starts the actors and makes the HTTP edge that they work for. ownPorts
// are the ports that this process listens on, raw ports aside.
func (s *service) wire(ownPorts []uint16, meter *metrics.Metrics) error {
	c := s.config
	s.keepalive = wsock.NewKeepalive(c.PingInterval)
	s.bandwidth = bandwidth.NewUsers(c.MaxBytesPerSecondPerUser)
	targets := targetsOf(c)
	targets.OwnPort = func(port uint16) bool { return slices.Contains(ownPorts, port) || isRawPort(c, port) }
	s.policy, s.sources = netpolicy.New(targets), c.Sources()
	edge := transport.Config{
		Policy:      s.policy,
		Sources:     s.sources,
		Origins:     c.AllowedOrigins,
		Keepalive:   s.keepalive,
		DialTimeout: c.DialTimeout,
		Ping:        c.PingInterval,
		Refused:     s.refusals,
		Observer:    meter,
		Bandwidth:   s.bandwidth,
		Log:         s.log,
		Secure:      c.TLS(),

		EndWithToken: c.EndWithToken,

		MaxConnsPerPeer: c.MaxHTTPConnsPerIP,
		MaxConns:        c.MaxHTTPConns,
	}
	if s.verifier != nil {
		edge.Auth = countAuthentications(s.verifier, meter) // a nil *auth.Verifier in an interface would not be nil
	}
	if c.WebTerminal {
		pages, err := page.New(s.pageOptions())
		if err != nil {
			return fmt.Errorf("the web terminal can't be served, see WEB_TERMINAL: %w", err)
		}
		edge.Pages = pages
	}
	if err := s.spawn(&edge, meter); err != nil {
		return err
	}
	s.edge = transport.NewServer(edge)
	s.watch(meter)
	return nil
}

// pageOptions is what the web terminal must know of this server.
func (s *service) pageOptions() page.Options {
	c := s.config
	return page.Options{
		Auth: c.JWKSURL != "", Version: s.version, Ancestors: c.WebTerminalAncestors,
		Tunnels:     c.TunnelDomain != "",
		TunnelNames: c.TunnelDomain != "" && c.TunnelNameSecret != "" && c.JWKSURL != "", // names belong to users
	}
}

// spawn starts the actors, those first whom others ask, and introduces them to
// the edge.
func (s *service) spawn(edge *transport.Config, meter *metrics.Metrics) error {
	s.system, s.workers = supervise.NewSystem(s.log), supervise.NewWorkers()
	supervise.OnFailure(s.system, meter.WatchFailures())
	edge.Root, edge.Brief = s.system.Root, s.workers.Schedule
	c := s.config
	book := limits.NewBook(boundsOf(c))
	book.Watch = meter.WatchWaiting()
	limits, err := limits.Spawn(s.system, book, s.workers, s.log)
	if err != nil {
		return fmt.Errorf("the limits actor can't be started: %w", err)
	}
	s.limits = limits
	edge.Resume = transport.Resume{
		Timeout: c.ResumeTimeout, Buffer: c.ResumeBuffer, Shares: s.shares,
		Relay:  func(id string) *actor.PID { return relays.PID(s.system, id) },
		Tunnel: func(id string) *actor.PID { return actors.PID(s.system, id) },
		Exists: s.exists,
	}
	meter.WatchResume(edge.Resume.Shares.Held)
	edge.Relays, err = relays.Spawn(s.system, relays.Needs{
		Limits: limits, Meter: meter, Log: s.log, MaxAge: c.MaxSessionAge, Workers: s.workers,
		Lasting: sessions.Terms{Timeout: c.ResumeTimeout, Endpoint: "relay", Meter: meter, Limits: limits},
	})
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
	s.tunnels = edge.Tunnels.Actor
	s.owners = append(s.owners, s.tunnels)
	return nil
}

// spawnTunnels starts the actors of tunnels, and returns what the edge needs of
// them.
func (s *service) spawnTunnels(limits *actor.PID, meter *metrics.Metrics) (*transport.Tunnels, error) {
	c := s.config
	lender, err := ports.Spawn(s.system, c.TunnelPortMin, c.TunnelPortMax,
		meter.WatchPorts(int(c.TunnelPortMax)-int(c.TunnelPortMin)+1), s.log)
	if err != nil {
		return nil, err
	}
	memory := budget.NewPool(c.TunnelBufferTotal)
	meter.WatchTunnelBuffer(memory.Held)
	bounds := tunnelBoundsOf(c)
	owner, err := actors.SpawnTunnels(s.system, actors.Tunnels{
		Limits: limits, Ports: lender, Memory: memory, Meter: meter, Log: s.log,
		PublicURL: c.TunnelPublicURL, RawHost: c.TunnelRawHost, Credentials: c.TunnelForwardCredentials,
		PortTries: int(c.TunnelPortMax) - int(c.TunnelPortMin) + 1,
		MaxHTTP:   bounds.MaxHTTP, MaxConns: bounds.MaxConns,
		MaxHTTPPerAddress: bounds.MaxHTTPPerAddress, MaxConnsPerAddress: bounds.MaxConnsPerAddress,
		StallTimeout: c.TunnelStallTimeout, RawIdle: bounds.RawIdle,
		Lasting: sessions.Terms{Timeout: c.ResumeTimeout, Endpoint: "tunnel", Meter: meter, Limits: limits},
		MaxAge:  c.MaxSessionAge,
		Workers: s.workers, Refused: s.refusals,
		Inject: s.inject,
	})
	if err != nil {
		return nil, err
	}
	memory.OnOverdrawn(func() { s.system.Root.Send(owner, &messages.MemoryShort{}) })
	return &transport.Tunnels{
		Actor:  owner,
		Limits: limits,
		Handler: func(subdomain string, bytes bool) *actor.PID {
			return actors.HandlerPID(s.system, subdomain, bytes)
		},
		Exists: s.exists,
		Domain: c.TunnelDomain, Dialect: c.TunnelControlFrames, Bind: c.TunnelBind, ProxyFrom: s.proxyFrom(c.TunnelProxyProtocol),
		Memory: memory, Buffer: c.TunnelBuffer,
		StallTimeout: c.TunnelStallTimeout, HTTPTimeout: c.TunnelHTTPTimeout,
		MaxBody: c.TunnelMaxBody, ForwardCredentials: c.TunnelForwardCredentials,
		NameSecret: c.TunnelNameSecret,
	}, nil
}

// proxyFrom returns whose connections begin with a header of the PROXY protocol; nil for
// nobody's.
func (s *service) proxyFrom(on bool) func(netip.Addr) bool {
	if !on {
		return nil
	}
	return s.sources.Trusted
}

// boundsOf returns what the limits count against.
func boundsOf(c config.Config) ledger.Bounds {
	return ledger.Bounds{
		PerAddress: c.MaxConnsPerIP,
		PerUser:    c.MaxConnsPerUser,
		HTTP:       c.MaxTunnelHTTPPerIP,
		HTTPTunnel: httpPerAddress(c),
		RawAddress: c.MaxTunnelTCPPerIP,
		RawTunnel:  part(c.MaxTunnelTCPConnsGlobal, rawTunnelParts),
		RawUser:    part(c.MaxTunnelTCPConnsGlobal, rawUserParts),
		Raw:        c.MaxTunnelTCPConnsGlobal,
	}
}

// tunnelBoundsOf returns what bounds one tunnel.
func tunnelBoundsOf(c config.Config) actors.Rebound {
	return actors.Rebound{
		MaxHTTP: orNoLimit(c.MaxTunnelHTTP), MaxConns: orNoLimit(c.MaxTunnelTCPConns),
		MaxHTTPPerAddress: httpPerAddress(c), MaxConnsPerAddress: c.MaxTunnelTCPPerIP,
		RawIdle: c.TunnelTCPIdleTimeout,
	}
}

// targetsOf returns the lists by which relays' targets are judged.
func targetsOf(c config.Config) netpolicy.Options {
	return netpolicy.Options{
		Blocked: c.BlockedTargets, DefaultBlock: c.BlockDefault, Allowed: c.AllowedTargets,
		Ports: c.AllowedPorts,
	}
}

// exists reports whether there is an actor now.
func (s *service) exists(pid *actor.PID) bool {
	_, exists := s.system.ProcessRegistry.Get(pid)
	return exists
}

// What one may have of what all share: fixed by the protocol.
const (
	httpAddressParts = 2 // one source address half of a tunnel's HTTP slots
	rawTunnelParts   = 4 // one tunnel a quarter of all raw connections
	rawUserParts     = 2 // one user half of them
)

// part returns the part of a bound that one may have, rounded up. Of 0, no limit,
// that is no limit too.
func part(bound, parts int) int { return (bound + parts - 1) / parts }

// httpPerAddress returns how many HTTP requests of one source address may be under
// way in one tunnel; 0 = no limit.
func httpPerAddress(c config.Config) int {
	half, all := part(c.MaxTunnelHTTP, httpAddressParts), c.MaxTunnelHTTPPerIP
	if half == 0 || all > 0 && all < half {
		return all
	}
	return half
}

// orNoLimit turns the 0 of a variable, no limit, into a bound that is never
// reached.
func orNoLimit(bound int) int {
	if bound == 0 {
		return math.MaxInt
	}
	return bound
}

// isRawPort reports whether a port may be one that tunnels listen on.
func isRawPort(c config.Config, port uint16) bool {
	return c.TunnelDomain != "" && port >= c.TunnelPortMin && port <= c.TunnelPortMax
}
