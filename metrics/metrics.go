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
	relays   prometheus.Gauge
	ended    *prometheus.CounterVec
	bytes    *prometheus.CounterVec
	refused  *prometheus.CounterVec

	tunnels      prometheus.Gauge
	tunnelsEnded *prometheus.CounterVec
	restarts     prometheus.Counter
	raw          prometheus.Gauge
	rawEnded     *prometheus.CounterVec
	rawBytes     *prometheus.CounterVec

	resume resume
}

// New returns counters at zero, together with those of the Go runtime and of
// the process.
func New() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		relays: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "wsproxy_relay_sessions", Help: "Relay sessions that are alive."}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wsproxy_relay_sessions_ended_total", Help: "Relay sessions that have ended, by reason."}, []string{"reason"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wsproxy_relay_bytes_total", Help: "Payload bytes of ended relay sessions, up to the target or down from it."}, []string{"direction"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wsproxy_requests_refused_total", Help: "Requests refused before any upgrade, by endpoint and reason."}, []string{"endpoint", "reason"}),
		tunnels: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "wsproxy_tunnels", Help: "Tunnels that are alive."}),
		tunnelsEnded: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wsproxy_tunnels_ended_total", Help: "Tunnels that have ended, by reason."}, []string{"reason"}),
		restarts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "wsproxy_tunnel_restarts_total", Help: "Times that a tunnel's handler failed and began anew."}),
		raw: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "wsproxy_raw_connections", Help: "Raw TCP connections of tunnels that are alive."}),
		rawEnded: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wsproxy_raw_connections_ended_total", Help: "Raw TCP connections that have ended, by reason."}, []string{"reason"}),
		rawBytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wsproxy_raw_bytes_total", Help: "Payload bytes of ended raw TCP connections, in from the outside peer or out to it."}, []string{"direction"}),
	}
	m.registry.MustRegister(m.relays, m.ended, m.bytes, m.refused,
		m.tunnels, m.tunnelsEnded, m.restarts, m.raw, m.rawEnded, m.rawBytes,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.resume = newResume(m.registry)
	return m
}

// Keys is what is known of the key set that tokens are checked with.
type Keys struct {
	Fetches  uint64 // fetches that have ended
	Failures uint64 // those of them that failed
	Usable   int    // keys that tokens can be checked with now
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
	)
}

// HTTP returns a server for /metrics, which the caller runs and ends.
func (m *Metrics) HTTP() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{}))
	return &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
}

// RelayStarted counts a relay session that begins.
func (m *Metrics) RelayStarted() { m.relays.Inc() }

// RelayEnded counts a relay session that has ended, and its payload bytes: up to
// the target, and down from it.
func (m *Metrics) RelayEnded(reason messages.Reason, up, down int64) {
	m.relays.Dec()
	m.ended.WithLabelValues(string(reason)).Inc()
	m.bytes.WithLabelValues("up").Add(float64(up))
	m.bytes.WithLabelValues("down").Add(float64(down))
}

// Refused counts a request that was refused before any upgrade.
func (m *Metrics) Refused(endpoint string, reason messages.Reason) {
	m.refused.WithLabelValues(endpoint, string(reason)).Inc()
}

// TunnelStarted counts a tunnel that begins.
func (m *Metrics) TunnelStarted() { m.tunnels.Inc() }

// TunnelEnded counts a tunnel that has ended.
func (m *Metrics) TunnelEnded(reason messages.Reason) {
	m.tunnels.Dec()
	m.tunnelsEnded.WithLabelValues(string(reason)).Inc()
}

// HandlerRestarted counts a failure of a tunnel's handler that it began anew after.
func (m *Metrics) HandlerRestarted() { m.restarts.Inc() }

// RawStarted counts a raw connection that begins.
func (m *Metrics) RawStarted() { m.raw.Inc() }

// RawEnded counts a raw connection that has ended, and its payload bytes: in from
// the outside peer, and out to it.
func (m *Metrics) RawEnded(reason messages.CloseReason, in, out int64) {
	m.raw.Dec()
	m.rawEnded.WithLabelValues(string(reason)).Inc()
	m.rawBytes.WithLabelValues("in").Add(float64(in))
	m.rawBytes.WithLabelValues("out").Add(float64(out))
}
