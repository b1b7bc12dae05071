// Command wsproxy joins browsers to TCP: see README.md, and wsproxy --help for
// its configuration.
package main

import (
	"context"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // arguments or environment can't be read
)

func main() {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	os.Exit(run(os.Args[1:], os.LookupEnv, signals, os.Stdout, os.Stderr))
}

// run is the whole program. It returns the exit code.
func run(args []string, getenv func(string) (string, bool), signals <-chan os.Signal, stdout, stderr io.Writer) int {
	command := ""
	if len(args) == 1 {
		command = args[0]
	}
	switch {
	case command == "--help" || command == "-h" || command == "help":
		printHelp(stdout, getenv)
		return exitOK
	case command == "--version" || command == "version":
		printVersion(stdout)
		return exitOK
	case len(args) > 0 && command != "healthcheck":
		fmt.Fprintf(stderr, "wsproxy: %q is no command; wsproxy --help lists them\n", args)
		return exitUsage
	}

	config, err := LoadConfig(getenv)
	if err != nil {
		fmt.Fprintf(stderr, "wsproxy: the configuration can't be read:\n%v\n", err)
		return exitUsage
	}
	if command == "healthcheck" {
		return healthcheck(context.Background(), config, stderr)
	}

	log := newLogger(config, stdout)
	stdlog.SetOutput(withholder{log})
	s, err := start(config, log)
	if err != nil {
		log.Error("wsproxy can't start", "error", err)
		return exitFailed
	}
	return s.serve(signals)
}

func newLogger(c Config, out io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.LogLevel}
	if c.LogFormat == "text" {
		return slog.New(slog.NewTextHandler(out, options))
	}
	return slog.New(slog.NewJSONHandler(out, options))
}

// A withholder is the output of the standard logger. Libraries print to it what
// they have no other place for: net/http the bytes that a service sends without
// having been asked, which are a tunnel's and no line of any log.
type withholder struct{ log *slog.Logger }

func (w withholder) Write(p []byte) (int, error) {
	w.log.Debug("a library's message is withheld")
	return len(p), nil
}
