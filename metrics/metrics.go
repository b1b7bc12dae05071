package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"wsproxy/messages"
)

// Metrics holds the counters behind /metrics. Its methods are called by many
// goroutines; none waits.
type Metrics struct {
	registry *prometheus.Registry
	refused  *prometheus.CounterVec
	relays   kind
	tunnels  kind
	raw      kind
	restarts prometheus.Counter
	resume   resume
	times    times
	http     *prometheus.CounterVec
}

// New returns counters at zero, together with those of the Go runtime and of
// the process.
func New() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wsproxy_refused_total", Help: "Requests and connections that were refused, by endpoint and reason."}, []string{"endpoint", "reason"}),
		restarts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wsproxy_tunnel_restarts_total", Help: "Times that a tunnel's handler failed and began anew."}),
	}
	m.registry.MustRegister(m.refused, m.restarts,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	lasted := newLasted(m.registry)
	m.relays = newKind(m.registry, "wsproxy_relay_sessions", "Relay sessions", lasted.WithLabelValues("relay"), relayEnds())
	m.tunnels = newKind(m.registry, "wsproxy_tunnels", "Tunnels", lasted.WithLabelValues("tunnel"), tunnelEnds())
	m.raw = newKind(m.registry, "wsproxy_raw_connections", "Raw TCP connections of tunnels", lasted.WithLabelValues("raw"), rawEnds())
	m.resume = newResume(m.registry)
	m.times = newTimes(m.registry)
	m.http = newHTTP(m.registry)
	return m
}

// Keys is what is known of the key set that tokens are checked with.
type Keys struct {
	Fetches  uint64 // fetches that have ended
	Failures uint64 // those of them that failed
	Usable   int    // keys that tokens can be checked with now

	LastSuccess time.Time // end of the last good fetch; zero = none yet
	Waiting     int       // requests that wait for a key now
}

// WatchKeys shows what read says, each time that somebody asks for /metrics. It
// is called once, and read by many goroutines after that.
func (m *Metrics) WatchKeys(read func() Keys) {
	m.registry.MustRegister(
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "wsproxy_jwks_fetches_total", Help: "Fetches of the key set."},
			func() float64 { return float64(read().Fetches) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "wsproxy_jwks_fetch_failures_total", Help: "Fetches of the key set that failed."},
			func() float64 { return float64(read().Failures) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "wsproxy_jwks_keys", Help: "Keys that tokens can be checked with."},
			func() float64 { return float64(read().Usable) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "wsproxy_jwks_last_success_timestamp_seconds", Help: "When the key set was last fetched, in seconds since 1970; 0 if it never was."},
			func() float64 {
				if last := read().LastSuccess; !last.IsZero() {
					return float64(last.UnixMilli()) / 1000
				}
				return 0
			}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "wsproxy_jwks_waiting_requests", Help: "Requests that wait for a key that is not known yet."},
			func() float64 { return float64(read().Waiting) }),
	)
}

// HTTP returns a server for /metrics, which the caller runs and ends.
func (m *Metrics) HTTP() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	return &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
}

// ShowRefused has the refusals of an endpoint shown from now on, for each of these
// reasons: an increase from nothing is none for whoever asks by rates.
func (m *Metrics) ShowRefused(endpoint string, reasons []messages.Reason) {
	for _, reason := range reasons {
		m.refused.WithLabelValues(endpoint, string(reason))
	}
}

// Refused counts a request or a connection that was refused, also after its upgrade.
func (m *Metrics) Refused(endpoint string, reason messages.Reason) {
	m.refused.WithLabelValues(endpoint, string(reason)).Inc()
}

// Served is how many sessions and raw connections have begun.
type Served struct{ Relays, Tunnels, Raw int64 }

// Served returns what has begun so far.
func (m *Metrics) Served() Served {
	return Served{m.relays.begun.Load(), m.tunnels.begun.Load(), m.raw.begun.Load()}
}

// RelayStarted counts a relay session that begins.
func (m *Metrics) RelayStarted() { m.relays.start() }

// RelayEnded counts a relay session that has ended, and how long it has lasted.
func (m *Metrics) RelayEnded(reason messages.Reason, lasted time.Duration) {
	m.relays.end(string(reason), lasted)
}

// TunnelStarted counts a tunnel that begins.
func (m *Metrics) TunnelStarted() { m.tunnels.start() }

// TunnelEnded counts a tunnel that has ended, and how long it has lasted.
func (m *Metrics) TunnelEnded(reason messages.Reason, lasted time.Duration) {
	m.tunnels.end(string(reason), lasted)
}

// HandlerRestarted counts a failure of a tunnel's handler that it began anew after.
func (m *Metrics) HandlerRestarted() { m.restarts.Inc() }

// RawStarted counts a raw connection that begins.
func (m *Metrics) RawStarted() { m.raw.start() }

// RawEnded counts a raw connection that has ended, and how long it has lasted.
func (m *Metrics) RawEnded(reason messages.CloseReason, lasted time.Duration) {
	m.raw.end(string(reason), lasted)
}
