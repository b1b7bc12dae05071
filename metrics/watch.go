package metrics

import (
	"runtime"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// Each Watch function is called once, before anybody asks for /metrics. The functions
// that it is given are called by many goroutines, each time that somebody asks.

// A Flow says how many bytes have moved, from WebSockets and to them.
type Flow func() (fromClient, toClient int64)

// WatchBytes shows what relay sessions, raw connections and tunnels have moved, those
// that live included.
func (m *Metrics) WatchBytes(relays, raw, tunnels Flow) {
	m.watchFlow("wsproxy_relay_bytes_total", "Payload bytes of relay sessions, up to the target or down from it.", "up", "down", relays)
	m.watchFlow("wsproxy_raw_bytes_total", "Payload bytes of raw TCP connections, in from the outside peer or out to it.", "out", "in", raw)
	m.watchFlow("wsproxy_tunnel_bytes_total", "Bytes of the WebSockets of tunnels, HTTP, raw connections and control messages together.", "from_client", "to_client", tunnels)
}

func (m *Metrics) watchFlow(name, help, from, to string, read Flow) {
	counter := func(direction string, value func() int64) {
		m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: name, Help: help, ConstLabels: prometheus.Labels{"direction": direction}}, func() float64 { return float64(value()) }))
	}
	counter(from, func() int64 { n, _ := read(); return n })
	counter(to, func() int64 { _, n := read(); return n })
}

func (m *Metrics) gauge(name, help string, read func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read))
}

// WatchServer shows which build this is, whether it drains, and how many connections
// to the HTTP listener are no sessions.
func (m *Metrics) WatchServer(version string, draining func() bool, conns func() int) {
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "wsproxy_build_info", Help: "1, of the version that runs.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()}})
	build.Set(1)
	m.registry.MustRegister(build)
	m.gauge("wsproxy_draining", "1 once shutdown has begun, else 0.", func() float64 {
		if draining() {
			return 1
		}
		return 0
	})
	m.gauge("wsproxy_http_connections", "Connections to the HTTP listener that are no sessions.", func() float64 { return float64(conns()) })
}

// WatchTunnelBuffer shows how many bytes of TUNNEL_BUFFER_TOTAL are held.
func (m *Metrics) WatchTunnelBuffer(held func() int64) {
	m.gauge("wsproxy_tunnel_buffer_bytes", "Bytes of TUNNEL_BUFFER_TOTAL that are held.", func() float64 { return float64(held()) })
}

// WatchPorts shows how many raw ports there are to lend; it returns what is to be
// told how many of them are free.
func (m *Metrics) WatchPorts(all int) (free func(n int)) {
	m.gauge("wsproxy_raw_ports", "Raw ports that tunnels can have.", func() float64 { return float64(all) })
	left := prometheus.NewGauge(prometheus.GaugeOpts{Name: "wsproxy_raw_ports_free", Help: "Raw ports that no tunnel has."})
	left.Set(float64(all))
	m.registry.MustRegister(left)
	return func(n int) { left.Set(float64(n)) }
}

// WatchHTTP shows how many HTTP requests to tunnels are under way.
func (m *Metrics) WatchHTTP(underWay func() int64) {
	m.gauge("wsproxy_tunnel_http_requests", "HTTP requests to tunnels that are under way, upgraded connections included.",
		func() float64 { return float64(underWay()) })
}

// WatchWaiting returns what is to be told how many HTTP requests wait for a slot.
func (m *Metrics) WatchWaiting() (waiting func(n int)) {
	g := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "wsproxy_tunnel_http_waiting", Help: "HTTP requests to tunnels that wait for a slot of a limit."})
	m.registry.MustRegister(g)
	return func(n int) { g.Set(float64(n)) }
}

// actorKinds are the labels of failures.
var actorKinds = []string{"conn", "handler", "limits", "ports", "relay", "relays", "tunnel", "tunnels"}

// WatchFailures returns what counts actors that have failed, by what they are.
func (m *Metrics) WatchFailures() (failed func(kind string)) {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wsproxy_actor_failures_total", Help: "Panics of actors, by what they are."}, []string{"actor"})
	for _, kind := range append([]string{"other"}, actorKinds...) {
		v.WithLabelValues(kind)
	}
	m.registry.MustRegister(v)
	return func(kind string) {
		if !slices.Contains(actorKinds, kind) {
			kind = "other"
		}
		v.WithLabelValues(kind).Inc()
	}
}

// WatchAuthentication returns what counts how the checks of tokens end. All outcomes
// that there are must be given.
func (m *Metrics) WatchAuthentication(outcomes []string) (count func(outcome string)) {
	return m.counters("wsproxy_authentications_total", "Checks of tokens, by outcome: ok, or why the token was refused.", outcomes)
}

// WatchAdmin returns what counts the requests to the admin endpoints. All outcomes that
// there are must be given.
func (m *Metrics) WatchAdmin(outcomes []string) (count func(outcome string)) {
	return m.counters("wsproxy_admin_requests_total", "Requests to /debug/ of METRICS_ADDR, by outcome.", outcomes)
}

// counters returns what counts by outcome, each of which is there from the start.
func (m *Metrics) counters(name, help string, outcomes []string) (count func(outcome string)) {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"outcome"})
	for _, outcome := range outcomes {
		v.WithLabelValues(outcome)
	}
	m.registry.MustRegister(v)
	return func(outcome string) { v.WithLabelValues(outcome).Inc() }
}

// A Limit is what one variable of the configuration bounds.
type Limit struct {
	Variable string
	Value    float64
	Unit     string // "bytes", "seconds", or "" for a number of things
}

var limitDescs = map[string]*prometheus.Desc{
	"":        prometheus.NewDesc("wsproxy_limit", "Configured bounds, by variable; 0 = none.", []string{"variable"}, nil),
	"bytes":   prometheus.NewDesc("wsproxy_limit_bytes", "Configured bounds in bytes, by variable.", []string{"variable"}, nil),
	"seconds": prometheus.NewDesc("wsproxy_limit_seconds", "Configured times, by variable; of some 0 is never.", []string{"variable"}, nil),
}

// WatchLimits shows the bounds that hold when somebody asks.
func (m *Metrics) WatchLimits(read func() []Limit) { m.registry.MustRegister(limits{read}) }

type limits struct{ read func() []Limit }

// Describe implements [prometheus.Collector].
func (l limits) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range limitDescs {
		to <- desc
	}
}

// Collect implements [prometheus.Collector].
func (l limits) Collect(to chan<- prometheus.Metric) {
	for _, limit := range l.read() {
		to <- prometheus.MustNewConstMetric(limitDescs[limit.Unit], prometheus.GaugeValue, limit.Value, limit.Variable)
	}
}
