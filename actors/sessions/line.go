package sessions

import (
	"context"
	"log/slog"
	"time"
)

// A Line is what the lines of the log about one session have in common. A logger's With
// formats that at once, also for a line that the log then leaves out because there are too
// many of its kind: of each session that was opened and closed that took a tenth of the
// processor time that is the server's own.
type Line struct {
	log   *slog.Logger
	attrs []slog.Attr
}

// lineAttrs is how many attributes most lines have at most.
const lineAttrs = 10

// NewLine returns a line of log with such attributes.
func NewLine(log *slog.Logger, attrs ...slog.Attr) Line {
	return Line{log, append(make([]slog.Attr, 0, lineAttrs), attrs...)}
}

// With returns the line with more attributes. The line is used no more.
func (l Line) With(attrs ...slog.Attr) Line { return Line{l.log, append(l.attrs, attrs...)} }

// Info writes the line with a message and more attributes. The line is used no more.
func (l Line) Info(message string, attrs ...slog.Attr) {
	ctx, out := context.Background(), l.log.Handler()
	if !out.Enabled(ctx, slog.LevelInfo) {
		return
	}
	// A logger would look for its caller in the stack, also for a line that is left out. No
	// line has it.
	line := slog.NewRecord(time.Now(), slog.LevelInfo, message, 0)
	line.AddAttrs(append(l.attrs, attrs...)...)
	_ = out.Handle(ctx, line)
}
