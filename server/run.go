package server

import (
	"io"
	stdlog "log"
	"log/slog"
	"os"

	"wsproxy/config"
)

// Signals are what the process of a server is told.
type Signals struct {
	// End is told to end: the first signal begins to drain the server, a second one
	// ends it at once.
	End <-chan os.Signal
	// Reload is told to read the configuration again. It never ends anything.
	Reload <-chan os.Signal
}

// Run runs a server with c, which was loaded from env, until signals end it. It logs to
// out, one line an event, and version is what it says of itself there.
//
// It returns nil after a signal, and an error when the server couldn't start
// or couldn't go on; that is logged already. When it returns nothing of the
// server runs any more. It takes over the standard logger of the process.
func Run(c config.Config, env config.Environment, version string, signals Signals, out io.Writer) error {
	level := new(slog.LevelVar)
	level.Set(c.LogLevel)
	log := newLogger(level, c.LogFormat, out)
	stdlog.SetOutput(withholder{log})
	s, err := startWith(c, version, log, particulars{environ: env.Pairs})
	if err != nil {
		log.Error("wsproxy can't start", "error", err)
		return err
	}
	warnOfFile(log, env)
	reloading := &reloader{service: s, level: level, env: env}
	go reloading.run(signals.Reload)
	return s.serve(signals.End)
}

func newLogger(level slog.Leveler, format string, out io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == "text" {
		return slog.New(newLimitedHandler(slog.NewTextHandler(out, options)))
	}
	return slog.New(newLimitedHandler(slog.NewJSONHandler(out, options)))
}

// A withholder is the output of the standard logger. Libraries print to it what
// they have no other place for: net/http the bytes that a service sends without
// having been asked, which are a tunnel's and no line of any log.
type withholder struct{ log *slog.Logger }

func (w withholder) Write(p []byte) (int, error) {
	w.log.Debug("a library's message is withheld")
	return len(p), nil
}
