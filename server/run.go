package server

import (
	"io"
	stdlog "log"
	"log/slog"
	"os"

	"wsproxy/config"
)

// Run runs a server with c, which was loaded from environ, until signals end it: the first one begins to drain
// it, a second one ends it at once. It logs to out, one line an event, and
// version is what it says of itself there.
//
// It returns nil after a signal, and an error when the server couldn't start
// or couldn't go on; that is logged already. When it returns nothing of the
// server runs any more. It takes over the standard logger of the process.
func Run(c config.Config, environ []string, version string, signals <-chan os.Signal, out io.Writer) error {
	log := newLogger(c, out)
	stdlog.SetOutput(withholder{log})
	s, err := startWith(c, version, log, particulars{environ: environ})
	if err != nil {
		log.Error("wsproxy can't start", "error", err)
		return err
	}
	return s.serve(signals)
}

func newLogger(c config.Config, out io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "text" {
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
