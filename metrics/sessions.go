package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"wsproxy/messages"
)

// A kind counts all that there are of one kind: relay sessions, tunnels, or raw
// connections.
type kind struct {
	alive   prometheus.Gauge
	started prometheus.Counter
	begun   *atomic.Int64 // what started says
	ended   *prometheus.CounterVec
	lasted  prometheus.Observer
}

// newKind returns a kind at zero, each of its reasons included: an increase from
// nothing is none for whoever asks by rates.
func newKind(registry *prometheus.Registry, name, what string, lasted prometheus.Observer, reasons []string) kind {
	k := kind{
		alive: prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: what + " that are alive."}),
		started: prometheus.NewCounter(prometheus.CounterOpts{
			Name: name + "_started_total", Help: what + " that have begun."}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: name + "_ended_total", Help: what + " that have ended, by reason."}, []string{"reason"}),
		begun: new(atomic.Int64), lasted: lasted,
	}
	for _, reason := range reasons {
		k.ended.WithLabelValues(reason)
	}
	registry.MustRegister(k.alive, k.started, k.ended)
	return k
}

func (k *kind) start() {
	k.alive.Inc()
	k.begun.Add(1)
	k.started.Inc()
}

func (k *kind) end(reason string, lasted time.Duration) {
	k.alive.Dec()
	k.ended.WithLabelValues(reason).Inc()
	k.lasted.Observe(lasted.Seconds())
}

// lastedBuckets are in seconds: from a request's worth to a day.
var lastedBuckets = []float64{1, 10, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600}

func newLasted(registry *prometheus.Registry) *prometheus.HistogramVec {
	lasted := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "wsproxy_session_seconds", Help: "How long relay sessions, tunnels and raw connections have lasted that have ended.",
		Buckets: lastedBuckets}, []string{"endpoint"})
	registry.MustRegister(lasted)
	return lasted
}

// clientEnds are the reasons for which whatever has a WebSocket ends.
func clientEnds() []string {
	return words(
		messages.ReasonClientClosed, messages.ReasonClientAborted, messages.ReasonClientGone, messages.ReasonClientSilent, messages.ReasonClientStalled,
		messages.ReasonProtocolError, messages.ReasonBadAck, messages.ReasonBeyondLimit, messages.ReasonUnknownMessage,
		messages.ReasonResumeTimeout, messages.ReasonGaveWay, messages.ReasonShutdown, messages.ReasonOperator, messages.ReasonTooOld, messages.ReasonTokenExpired, messages.ReasonInternal, messages.ReasonAbandoned,
	)
}

func relayEnds() []string {
	return append(clientEnds(), words(
		messages.ReasonTargetEnded, messages.ReasonTargetReset, messages.ReasonTargetUnreachable, messages.ReasonTargetBlocked, messages.ReasonTextMessage,
	)...)
}

func tunnelEnds() []string {
	return append(clientEnds(), words(messages.ReasonMessageTooBig, messages.ReasonNameTaken)...)
}

func rawEnds() []string {
	return words(
		messages.CloseEOF, messages.CloseReset, messages.CloseLimit, messages.CloseSlow, messages.CloseRestart, messages.CloseShutdown,
		messages.CloseClient, messages.CloseClientReset, messages.CloseRefused, messages.CloseTunnelEnded, messages.CloseIdle,
	)
}

func words[R ~string](reasons ...R) []string {
	all := make([]string, len(reasons))
	for i, reason := range reasons {
		all[i] = string(reason)
	}
	return all
}
