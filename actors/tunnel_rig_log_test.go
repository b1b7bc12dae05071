package actors

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"wsproxy/messages"
	"wsproxy/messages/refused"
)

// A rigLog keeps the lines of the log.
type rigLog struct {
	mu      sync.Mutex
	lines   []rigLine
	refused []refused.Refusal
}

type rigLine struct {
	level   slog.Level
	message string
	fields  map[string]any
}

// of returns the lines that begin so.
func (l *rigLog) of(message string) (lines []rigLine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.HasPrefix(line.message, message) {
			lines = append(lines, line)
		}
	}
	return lines
}

// forget forgets the lines so far.
func (l *rigLog) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = nil
}

// wantLine fails unless one line begins so, and has these fields and no other.
func (r *tunnelRig) wantLine(level slog.Level, message string, fields map[string]any) {
	r.t.Helper()
	found := r.log.of(message)
	if len(found) != 1 {
		r.t.Errorf("%d lines say %q", len(found), message)
		return
	}
	if found[0].level != level {
		r.t.Errorf("%q has level %v", message, found[0].level)
	}
	if got, want := fmt.Sprint(found[0].fields), fmt.Sprint(fields); got != want {
		r.t.Errorf("%q has the fields\n%s, want\n%s", message, got, want)
	}
}

type rigHandler struct {
	log   *rigLog
	attrs []slog.Attr
}

func (h rigHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h rigHandler) WithGroup(string) slog.Handler            { return h }
func (h rigHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.attrs = append(append([]slog.Attr(nil), h.attrs...), attrs...)
	return h
}

func (h rigHandler) Handle(_ context.Context, r slog.Record) error {
	line := rigLine{level: r.Level, message: r.Message, fields: make(map[string]any)}
	for _, a := range h.attrs {
		line.fields[a.Key] = a.Value.Resolve().Any()
	}
	r.Attrs(func(a slog.Attr) bool { line.fields[a.Key] = a.Value.Resolve().Any(); return true })
	h.log.mu.Lock()
	defer h.log.mu.Unlock()
	h.log.lines = append(h.log.lines, line)
	return nil
}

// Refused is told of raw connections that are refused.
func (l *rigLog) Refused(no refused.Refusal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused = append(l.refused, no)
}

// wantRefused fails unless raw connections of tunnels that are there were refused, for
// these reasons.
func (r *tunnelRig) wantRefused(reasons ...messages.Reason) {
	r.t.Helper()
	r.settle()
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	var got []messages.Reason
	for _, no := range r.log.refused {
		if got = append(got, no.Reason); !refused.IsKnown(refused.Raw, no.Reason) || no.Endpoint != refused.Raw ||
			no.Source.String() != "203.0.113.9" || !messages.IsSubdomain(no.Subdomain) {
			r.t.Errorf("it is told of %+v", no)
		}
	}
	if !slices.Equal(got, reasons) {
		r.t.Errorf("refused for %q, want %q", got, reasons)
	}
}
