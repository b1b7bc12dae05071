package metrics

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"wsproxy/messages"
)

// resume counts what becomes of sessions that outlive their WebSocket.
type resume struct {
	detached *prometheus.GaugeVec
	resumed  *prometheus.CounterVec
	away     *prometheus.HistogramVec
}

// The labels, all of which are there from the start.
var (
	endpoints = []string{"relay", "tunnel"}
	// outcomes are what becomes of a session that has lost its WebSocket, beside
	// being resumed.
	outcomes = []messages.Reason{messages.ReasonResumeTimeout, messages.ReasonGaveWay, messages.ReasonShutdown}
)

const (
	outcomeResumed = "resumed"
	outcomeOther   = "other"
)

// awayBuckets are in seconds: from a front proxy that reloads to a day, which is as
// long as RESUME_TIMEOUT can be. Its default is among them.
var awayBuckets = []float64{1, 2, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600}

func newResume(registry *prometheus.Registry) resume {
	r := resume{
		detached: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "wsproxy_sessions_detached", Help: "Sessions that have lost their WebSocket and wait for another one."}, []string{"endpoint"}),
		resumed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "wsproxy_sessions_resumed_total", Help: "Times that a session was taken up by another WebSocket."}, []string{"endpoint"}),
		away: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "wsproxy_session_away_seconds", Help: "How long sessions were without a WebSocket, by endpoint and by what became of them.",
			Buckets: awayBuckets}, []string{"endpoint", "outcome"}),
	}
	for _, endpoint := range endpoints {
		r.detached.WithLabelValues(endpoint)
		r.resumed.WithLabelValues(endpoint)
		r.away.WithLabelValues(endpoint, outcomeResumed)
		r.away.WithLabelValues(endpoint, outcomeOther)
		for _, outcome := range outcomes {
			r.away.WithLabelValues(endpoint, string(outcome))
		}
	}
	registry.MustRegister(r.detached, r.resumed, r.away)
	return r
}

// WatchResume shows how many bytes sessions hold for their next WebSocket, beyond
// what each has for certain, each time that somebody asks for /metrics. It is called
// once, and read by many goroutines after that.
func (m *Metrics) WatchResume(read func() (heldBytes int64)) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "wsproxy_resume_buffer_bytes", Help: "Bytes of RESUME_BUFFER_TOTAL that sessions hold."},
		func() float64 { return float64(read()) }))
}

// SessionDetached counts a session of an endpoint, "relay" or "tunnel", that has lost
// its WebSocket and waits for another one. Each is followed by one SessionResumed or
// SessionGivenUp.
func (m *Metrics) SessionDetached(endpoint string) { m.resume.detached.WithLabelValues(endpoint).Inc() }

// SessionResumed counts a session that has another WebSocket, after so long without
// one. One that is taken over from a WebSocket that still seemed alive is detached
// for no time.
func (m *Metrics) SessionResumed(endpoint string, away time.Duration) {
	m.resume.resumed.WithLabelValues(endpoint).Inc()
	m.back(endpoint, outcomeResumed, away)
}

// SessionGivenUp counts a session that has ended without another WebSocket, and for
// how long it has waited.
func (m *Metrics) SessionGivenUp(endpoint string, reason messages.Reason, away time.Duration) {
	outcome := outcomeOther
	if slices.Contains(outcomes, reason) {
		outcome = string(reason)
	}
	m.back(endpoint, outcome, away)
}

func (m *Metrics) back(endpoint, outcome string, away time.Duration) {
	m.resume.detached.WithLabelValues(endpoint).Dec()
	m.resume.away.WithLabelValues(endpoint, outcome).Observe(away.Seconds())
}
