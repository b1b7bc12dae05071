package server

import (
	"context"
	"errors"
	"net/http"

	"wsproxy/auth"
	"wsproxy/config"
	"wsproxy/metrics"
	"wsproxy/server/admin"
	"wsproxy/transport"
)

// watch has metrics show what is known of the server when somebody asks.
func (s *service) watch(meter *metrics.Metrics) {
	flows := s.edge.Flows()
	meter.WatchBytes(flows.Relays.Moved, flows.Raw.Moved, flows.Tunnels.Moved)
	meter.WatchServer(s.version, s.edge.IsDraining, s.edge.Conns)
	meter.WatchHTTP(s.edge.UnderWay)
	meter.WatchLimits(func() []metrics.Limit { return limitsOf(*s.holds.Load()) })
}

// administer lets who has the token look into the server, and end its sessions.
func (s *service) administer(server *http.Server, meter *metrics.Metrics) {
	o := admin.Options{
		Token: s.config.AdminToken, Root: s.system.Root, Relays: s.owners[0], Version: s.version, Draining: s.edge.IsDraining,
		Settings: func() []config.Setting { return *s.settings.Load() },
		Count:    meter.WatchAdmin(admin.Outcomes()), Log: s.log,
	}
	if len(s.owners) > 1 {
		o.Tunnels = s.owners[1]
	}
	admin.Mount(server, o)
}

// limitsOf returns what a configuration bounds, by variable.
func limitsOf(c config.Config) []metrics.Limit {
	numbers := func(variable string, n int) metrics.Limit {
		return metrics.Limit{Variable: variable, Value: float64(n)}
	}
	bytes := func(variable string, n int64) metrics.Limit {
		return metrics.Limit{Variable: variable, Value: float64(n), Unit: "bytes"}
	}
	seconds := func(variable string, d interface{ Seconds() float64 }) metrics.Limit {
		return metrics.Limit{Variable: variable, Value: d.Seconds(), Unit: "seconds"}
	}
	return []metrics.Limit{
		numbers("MAX_CONNS_PER_IP", c.MaxConnsPerIP),
		numbers("MAX_CONNS_PER_USER", c.MaxConnsPerUser),
		numbers("MAX_TUNNEL_HTTP_PER_IP", c.MaxTunnelHTTPPerIP),
		numbers("MAX_TUNNEL_HTTP", c.MaxTunnelHTTP),
		numbers("MAX_TUNNEL_TCP_CONNS", c.MaxTunnelTCPConns),
		numbers("MAX_TUNNEL_TCP_CONNS_GLOBAL", c.MaxTunnelTCPConnsGlobal),
		numbers("MAX_TUNNEL_TCP_PER_IP", c.MaxTunnelTCPPerIP),
		numbers("MAX_HTTP_CONNS_PER_IP", c.MaxHTTPConnsPerIP),
		numbers("MAX_HTTP_CONNS", c.MaxHTTPConns),
		bytes("MAX_BYTES_PER_SECOND_PER_USER", c.MaxBytesPerSecondPerUser),
		bytes("TUNNEL_BUFFER", c.TunnelBuffer),
		bytes("TUNNEL_BUFFER_TOTAL", c.TunnelBufferTotal),
		bytes("TUNNEL_MAX_BODY", c.TunnelMaxBody),
		bytes("RESUME_BUFFER", c.ResumeBuffer),
		bytes("RESUME_BUFFER_TOTAL", c.ResumeBufferTotal),
		seconds("TUNNEL_TCP_IDLE_TIMEOUT", c.TunnelTCPIdleTimeout),
		seconds("TUNNEL_STALL_TIMEOUT", c.TunnelStallTimeout),
		seconds("TUNNEL_HTTP_TIMEOUT", c.TunnelHTTPTimeout),
		seconds("RESUME_TIMEOUT", c.ResumeTimeout),
		seconds("MAX_SESSION_AGE", c.MaxSessionAge),
		seconds("DIAL_TIMEOUT", c.DialTimeout),
		seconds("PING_INTERVAL", c.PingInterval),
		seconds("SHUTDOWN_TIMEOUT", c.ShutdownTimeout),
		seconds("SHUTDOWN_DELAY", c.ShutdownDelay),
	}
}

// countedAuth is an Authenticator that is counted.
type countedAuth struct {
	transport.Authenticator
	count func(outcome string)
}

// What a check of a token comes to, beside auth's reasons.
const (
	authOK    = "ok"
	authOther = "other" // an error that is none of auth's
)

func countAuthentications(a transport.Authenticator, meter *metrics.Metrics) transport.Authenticator {
	outcomes := []string{authOK, authOther}
	for _, reason := range auth.Reasons() {
		outcomes = append(outcomes, string(reason))
	}
	return countedAuth{a, meter.WatchAuthentication(outcomes)}
}

func (a countedAuth) Verify(ctx context.Context, token string) (auth.Identity, error) {
	identity, err := a.Authenticator.Verify(ctx, token)
	outcome := authOK
	if err != nil {
		outcome = authOther
		if refusal, ok := errors.AsType[*auth.Error](err); ok {
			outcome = string(refusal.Reason)
		}
	}
	a.count(outcome)
	return identity, err
}
