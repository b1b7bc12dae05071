package server

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"wsproxy/messages"
)

// What a stranger can make the server write, fixed by the protocol (section 12).
const (
	logPause = time.Second // between two lines of one reason and source
	logMost  = 20          // lines of one reason in logPause, over all sources
	// logBurst is how many lines of one reason about sessions come at once before
	// these bounds hold, of one source and of all. A session has taken a slot of its
	// address's and user's, and its lines are what an operator has of who was
	// connected to what: those of what is opened or closed together are all there.
	logBurst = 100
	// logSources is how many sources are remembered, for a logBurst of logPauses each
	// at most.
	logSources = 1 << 14
	// logLater is how long at most lines are left out of which the next one does not
	// tell, because there is none.
	logLater = 10 * time.Second
)

// A limitedHandler writes no line more often than the protocol allows. What it
// leaves out is counted in the next line of that reason, as left_out.
type limitedHandler struct {
	slog.Handler
	limit *logLimit
	known logKey // what the logger's own attributes say
}

// A logKey says of what kind a line is.
type logKey struct {
	message, reason, source string
	address                 netip.Addr // in the place of source, of a refusal
	peer, refusal           bool       // it is about an outside peer, or about a refusal, and no session
}

func newLimitedHandler(h slog.Handler) *limitedHandler {
	return &limitedHandler{Handler: h, limit: &logLimit{
		out: h, reasons: make(map[logKey]*reasonLines), sources: make(map[logKey]time.Time),
	}}
}

// with returns the key that an attribute belongs to as well.
func (k logKey) with(a slog.Attr) logKey {
	switch a.Key {
	case "endpoint":
		k.refusal = true
	case "reason":
		k.reason = a.Value.String()
	case "source":
		if !k.peer { // a raw connection's line has its tunnel's source, too
			k.source = a.Value.String()
		}
	case "peer":
		k.peer = true
		if host, _, err := net.SplitHostPort(a.Value.String()); err == nil {
			k.source = host
		}
	}
	return k
}

func (h *limitedHandler) Handle(ctx context.Context, r slog.Record) error {
	key := h.known
	key.message = kindOf(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		key = key.with(a)
		return true
	})
	if key.isOfTheEnd() {
		return h.Handler.Handle(ctx, r)
	}
	leftOut, write := h.limit.admit(key, r.Time)
	if !write {
		return nil
	}
	if leftOut > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("left_out", leftOut))
	}
	return h.Handler.Handle(ctx, r)
}

// isOfTheEnd reports whether a line is about the end of a session that the server has
// ended. There is one of each that was alive, whoever they are: an operator has caused
// them, and wants all.
func (k logKey) isOfTheEnd() bool {
	return messages.Reason(k.reason).IsForced() && !k.refusal && strings.HasSuffix(k.message, " ended")
}

// kindOf returns what all messages of a kind begin with. Those of net/http have
// addresses and times in them: each would be a reason of its own, and be remembered.
func kindOf(message string) string {
	if i := strings.IndexAny(message, "[0123456789"); i >= 0 {
		return strings.Clone(message[:i])
	}
	return message
}

func (h *limitedHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	n := *h
	n.Handler = h.Handler.WithAttrs(attrs)
	for _, a := range attrs {
		n.known = n.known.with(a)
	}
	return &n
}

func (h *limitedHandler) WithGroup(name string) slog.Handler {
	n := *h
	n.Handler = h.Handler.WithGroup(name)
	return &n
}

// A logLimit counts lines. Any goroutine may use it.
type logLimit struct {
	out slog.Handler // for lines about those that were left out

	mu      sync.Mutex
	waits   bool                    // under mu: tell is about to be called
	reasons map[logKey]*reasonLines // under mu: by message and reason
	sources map[logKey]time.Time    // under mu: when the lines of a key so far are paid for
}

// reasonLines are the lines of one reason, from all sources.
type reasonLines struct {
	paid    time.Time // until when the lines so far are paid for, at logMost in a logPause
	leftOut int       // lines since the last that was written
	latest  time.Time // when the latest of these came
}

// admit reports whether a line may be written now, and how many of its reason
// were not before it.
func (l *logLimit) admit(key logKey, now time.Time) (leftOut int, write bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	reason := logKey{message: key.message, reason: key.reason}
	lines := l.reasons[reason]
	if lines == nil {
		lines = &reasonLines{}
		l.reasons[reason] = lines
	}
	ofSource, ofAll := time.Duration(1), time.Duration(logMost) // lines at once
	if !key.peer && !key.refusal {
		ofSource, ofAll = logBurst, logBurst
	}
	paid, sourcePaid := after(lines.paid, now, logPause/logMost), after(l.sources[key], now, logPause)
	if paid.Sub(now) > ofAll*logPause/logMost || sourcePaid.Sub(now) > ofSource*logPause || !l.hasRoom(key, now) {
		lines.leftOut++
		lines.latest = now
		l.tellLater()
		return 0, false
	}
	lines.paid, l.sources[key] = paid, sourcePaid
	leftOut, lines.leftOut = lines.leftOut, 0
	return leftOut, true
}

// tellLater has the lines told of in a while that are left out. l.mu is held.
func (l *logLimit) tellLater() {
	if !l.waits {
		l.waits = true
		time.AfterFunc(logLater, func() { l.tell(time.Now().Add(-logPause)) })
	}
}

// tell writes how many lines were left out of which no line has told yet, if the latest
// came before a time: in a flood there is a next line.
func (l *logLimit) tell(before time.Time) {
	ctx := context.Background()
	for reason, n := range l.untold(before) {
		if !l.out.Enabled(ctx, slog.LevelInfo) {
			continue
		}
		line := slog.NewRecord(time.Now(), slog.LevelInfo, "lines were left out", 0)
		line.AddAttrs(slog.String("of", reason.message))
		if reason.reason != "" {
			line.AddAttrs(slog.String("reason", reason.reason))
		}
		line.AddAttrs(slog.Int("left_out", n))
		_ = l.out.Handle(ctx, line)
	}
}

// untold takes what was left out before a time, by reason.
func (l *logLimit) untold(before time.Time) map[logKey]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waits = false
	all := make(map[logKey]int)
	for reason, lines := range l.reasons {
		switch {
		case lines.leftOut == 0:
		case lines.latest.Before(before):
			all[reason], lines.leftOut = lines.leftOut, 0
		default:
			l.tellLater()
		}
	}
	return all
}

// after returns until when one line more is paid for.
func after(paid, now time.Time, price time.Duration) time.Time {
	if paid.Before(now) {
		paid = now
	}
	return paid.Add(price)
}

// hasRoom reports whether a source can be remembered. It forgets those whose
// lines are long past.
func (l *logLimit) hasRoom(key logKey, now time.Time) bool {
	if _, known := l.sources[key]; known || len(l.sources) < logSources {
		return true
	}
	for k, paid := range l.sources {
		if paid.Before(now) {
			delete(l.sources, k)
		}
	}
	return len(l.sources) < logSources
}
