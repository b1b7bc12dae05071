// Command wsproxy joins browsers to TCP: see README.md, and wsproxy --help for
// its configuration.
//
// This package picks the subcommand and nothing else. The environment is read
// by config; the server is made and run by server, all else by command.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"wsproxy/command"
	"wsproxy/config"
	"wsproxy/server"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // arguments or environment can't be read
)

func main() {
	signals, reload := make(chan os.Signal, 2), make(chan os.Signal, 1) // of many that come at once one is left to be done
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if len(os.Args) == 1 {
		signal.Notify(reload, syscall.SIGHUP) // before all else, for without it SIGHUP ends the process
	}
	if len(os.Args) > 1 && command.Known(os.Args[1]) {
		if !signal.Ignored(syscall.SIGHUP) {
			signal.Notify(signals, syscall.SIGHUP) // OpenSSH's word to its ProxyCommand that the session is over
		}
		// Output that nobody reads is an error to be handled like others: who dies of it
		// leaves the server waiting.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	}
	os.Exit(run(os.Args[1:], os.Environ(), server.Signals{End: signals, Reload: reload}, os.Stdout, os.Stderr))
}

// run is the whole program; environ is like os.Environ's. It returns the exit
// code.
func run(args, environ []string, signals server.Signals, stdout, stderr io.Writer) int {
	only := ""
	if len(args) == 1 {
		only = args[0]
	}
	switch {
	case only == "--help" || only == "-h" || only == "help":
		config.WriteHelp(stdout, environ, command.List())
		return exitOK
	case only == "--version" || only == "version":
		printVersion(stdout)
		return exitOK
	case len(args) == 2 && args[0] == "help" && command.Known(args[1]):
		return runCommand([]string{args[1], "--help"}, environ, signals.End, stdout, stderr)
	case len(args) > 0 && command.Known(args[0]):
		return runCommand(args, environ, signals.End, stdout, stderr)
	case len(args) > 0 && only != "healthcheck":
		fmt.Fprintf(stderr, "wsproxy: %q is no command; wsproxy --help lists them\n", strings.Join(args, " "))
		return exitUsage
	}

	env, err := config.ReadEnvironment(environ)
	var c config.Config
	if err == nil {
		c, err = config.Load(env.Pairs)
	}
	if err != nil {
		fmt.Fprintf(stderr, "wsproxy: the configuration can't be read:\n%v\n", err)
		return exitUsage
	}
	if only == "healthcheck" {
		return healthcheck(context.Background(), c, stderr)
	}
	if runtime.GOOS == "windows" {
		fmt.Fprintln(stderr, "wsproxy: the server doesn't run on Windows, only the commands of a client do; wsproxy --help lists them")
		return exitUsage
	}
	if server.Run(c, env, recordedVersion(), signals, stdout) != nil {
		return exitFailed // the log says why
	}
	return exitOK
}

// runCommand runs a command of the table. The first signal asks it to end in order;
// the second one ends it as if nobody caught it.
func runCommand(args, environ []string, signals <-chan os.Signal, stdout, stderr io.Writer) int {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-signals:
			signal.Reset(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
			cancel()
		case <-ctx.Done():
		}
	}()
	return command.Run(ctx, args, environ, os.Stdin, stdout, stderr)
}
