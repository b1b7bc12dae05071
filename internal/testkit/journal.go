package testkit

import (
	"context"
	"log/slog"
	"slices"
	"sync"
)

// A journalHandler is a slog.Handler that keeps what it is given.
type journalHandler struct {
	level  slog.Level
	shared *Journal
	attrs  []slog.Attr
}

// A Journal is what was logged.
type Journal struct {
	mu    sync.Mutex
	lines []JournalLine
}

// A JournalLine is one line of the log.
type JournalLine struct {
	Level   slog.Level
	Message string
	Fields  map[string]any
}

// NewJournal returns a logger of all levels, and what it keeps.
func NewJournal() (*slog.Logger, *Journal) {
	lines := &Journal{}
	return slog.New(journalHandler{level: slog.LevelDebug, shared: lines}), lines
}

func (j journalHandler) Enabled(_ context.Context, l slog.Level) bool { return l >= j.level }
func (j journalHandler) WithGroup(string) slog.Handler                { return j }
func (j journalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	j.attrs = append(append([]slog.Attr(nil), j.attrs...), attrs...)
	return j
}

func (j journalHandler) Handle(_ context.Context, r slog.Record) error {
	line := JournalLine{Level: r.Level, Message: r.Message, Fields: make(map[string]any)}
	keep := func(a slog.Attr) bool { line.Fields[a.Key] = a.Value.Resolve().Any(); return true }
	for _, a := range j.attrs {
		keep(a)
	}
	r.Attrs(keep)
	j.shared.mu.Lock()
	defer j.shared.mu.Unlock()
	j.shared.lines = append(j.shared.lines, line)
	return nil
}

// Of returns the lines with this message.
func (l *Journal) Of(message string) (lines []JournalLine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if line.Message == message {
			lines = append(lines, line)
		}
	}
	return lines
}

// All returns all lines.
func (l *Journal) All() []JournalLine {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.lines)
}
