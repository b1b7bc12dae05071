package server

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"wsproxy/messages"
	"wsproxy/messages/refused"
	"wsproxy/metrics"
)

// refusals counts what was refused, and writes it to the log. Any goroutine may use
// them.
type refusals struct {
	meter *metrics.Metrics
	log   *slog.Logger
	all   atomic.Int64
}

// newRefusals has every refusal that there can be shown from the start.
func newRefusals(meter *metrics.Metrics, log *slog.Logger) *refusals {
	for _, endpoint := range refused.Endpoints() {
		meter.ShowRefused(string(endpoint), refused.Reasons(endpoint))
	}
	return &refusals{meter: meter, log: log}
}

// refusedLine is the message of all lines about refusals.
const refusedLine = "refused"

// Refused counts a refusal, and writes its line if the log has room for it. That is
// asked first: a flood costs no more than that.
func (r *refusals) Refused(no refused.Refusal) {
	r.meter.Refused(string(no.Endpoint), no.Reason)
	r.all.Add(1)
	ctx, handler := context.Background(), r.log.Handler()
	if !handler.Enabled(ctx, slog.LevelInfo) {
		return
	}
	now, leftOut := time.Now(), 0
	if limited, ok := handler.(*limitedHandler); ok {
		var write bool
		key := logKey{message: refusedLine, reason: string(no.Reason), address: no.Source, refusal: true}
		if leftOut, write = limited.limit.admit(key, now); !write {
			return
		}
		handler = limited.Handler
	}
	line := slog.NewRecord(now, slog.LevelInfo, refusedLine, 0)
	line.AddAttrs(slog.String("endpoint", string(no.Endpoint)), slog.String("reason", string(no.Reason)), slog.String("source", no.Source.String()))
	add := func(field, value string) {
		if value != "" {
			line.AddAttrs(slog.String(field, value))
		}
	}
	add("user", no.User)
	if no.Target != nil {
		add("target", no.Target())
	}
	if messages.IsSubdomain(no.Subdomain) { // else it is what a stranger has written
		add("subdomain", no.Subdomain)
	}
	add("origin", refused.Origin(no.Origin))
	if no.Cause != nil {
		add("error", no.Cause.Error())
	}
	if leftOut > 0 {
		line.AddAttrs(slog.Int("left_out", leftOut))
	}
	_ = handler.Handle(ctx, line)
}
