package metrics

import (
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"wsproxy/messages"
)

// times are histograms of what clients wait for.
type times struct {
	lookup    *prometheus.HistogramVec
	dial      *prometheus.HistogramVec
	handshake *prometheus.HistogramVec
	first     prometheus.Histogram
	whole     prometheus.Histogram
}

// waitBuckets are in seconds: from one machine to the time-outs' defaults.
var waitBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// What comes of a look-up and of a dial.
const (
	outcomeOK      = "ok"
	outcomeRefused = "refused"
)

func newTimes(registry *prometheus.Registry) times {
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: waitBuckets}, labels)
		registry.MustRegister(v)
		return v
	}
	t := times{
		lookup:    histogram("wsproxy_lookup_seconds", "How long look-ups of targets' names took, by what came of them.", "outcome"),
		dial:      histogram("wsproxy_dial_seconds", "How long dialling of targets took, by what came of it.", "outcome"),
		handshake: histogram("wsproxy_handshake_seconds", "How long clients waited for their WebSocket, from a request that may come in to the answer 101.", "endpoint"),
		first:     histogram("wsproxy_tunnel_http_first_byte_seconds", "How long HTTP requests to tunnels waited for the head of their answer.").WithLabelValues().(prometheus.Histogram),
		whole:     histogram("wsproxy_tunnel_http_seconds", "How long HTTP requests to tunnels took in all, those that became something else left out.").WithLabelValues().(prometheus.Histogram),
	}
	t.lookup.WithLabelValues(outcomeOK)
	t.lookup.WithLabelValues(outcomeRefused)
	for _, outcome := range words(outcomeOK, messages.ReasonTargetUnreachable, messages.ReasonTargetBlocked, messages.ReasonInternal) {
		t.dial.WithLabelValues(outcome)
	}
	for _, endpoint := range endpoints {
		t.handshake.WithLabelValues(endpoint)
	}
	return t
}

// LookedUp counts a look-up of a target's name, and how long it took.
func (m *Metrics) LookedUp(took time.Duration, refused bool) {
	outcome := outcomeOK
	if refused {
		outcome = outcomeRefused
	}
	m.times.lookup.WithLabelValues(outcome).Observe(took.Seconds())
}

// Dialed counts a dial, and how long it took. Without a failure it is "".
func (m *Metrics) Dialed(took time.Duration, failure messages.Reason) {
	outcome := outcomeOK
	if failure != "" {
		outcome = string(failure)
	}
	m.times.dial.WithLabelValues(outcome).Observe(took.Seconds())
}

// ShookHands counts a handshake of an endpoint, "relay" or "tunnel", that has led to a
// WebSocket, and how long the client has waited for it.
func (m *Metrics) ShookHands(endpoint string, took time.Duration) {
	m.times.handshake.WithLabelValues(endpoint).Observe(took.Seconds())
}

// endpointHTTP are the hosts of tunnels, endpointOwn all answers of the proxy's own that
// are no WebSocket endpoint's.
const (
	endpointHTTP = "http"
	endpointOwn  = "own"
)

// classAborted stands for answers that were cut before their head.
const classAborted = "aborted"

func newHTTP(registry *prometheus.Registry) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "wsproxy_http_responses_total", Help: "HTTP answers, by endpoint and class of status."}, []string{"endpoint", "class"})
	for _, endpoint := range append(slices.Clone(endpoints), endpointHTTP, endpointOwn) {
		for class := 1; class <= 5; class++ {
			v.WithLabelValues(endpoint, className(100*class))
		}
		v.WithLabelValues(endpoint, classAborted)
	}
	registry.MustRegister(v)
	return v
}

func className(status int) string {
	if status < 100 || status > 599 {
		return classAborted
	}
	return strconv.Itoa(status/100) + "xx"
}

// Answered counts an HTTP answer of "relay", "tunnel", "http" or "own": its final status, 101 included, or 0 if it was cut
// before one; after how long its head came, and after how long it was over.
func (m *Metrics) Answered(endpoint string, status int, first, whole time.Duration) {
	m.http.WithLabelValues(endpoint, className(status)).Inc()
	if endpoint != endpointHTTP || status == 0 {
		return
	}
	m.times.first.Observe(first.Seconds())
	if status >= 200 {
		m.times.whole.Observe(whole.Seconds())
	}
}
