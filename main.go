// Command wsproxy joins browsers to TCP: see README.md, and wsproxy --help for
// its configuration.
//
// This package picks the subcommand and nothing else. The environment is read
// by config; the server is made and run by server.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

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
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	os.Exit(run(os.Args[1:], os.Environ(), signals, os.Stdout, os.Stderr))
}

// run is the whole program; environ is like os.Environ's. It returns the exit
// code.
func run(args, environ []string, signals <-chan os.Signal, stdout, stderr io.Writer) int {
	command := ""
	if len(args) == 1 {
		command = args[0]
	}
	switch {
	case command == "--help" || command == "-h" || command == "help":
		config.WriteHelp(stdout, environ)
		return exitOK
	case command == "--version" || command == "version":
		printVersion(stdout)
		return exitOK
	case len(args) > 0 && command != "healthcheck":
		fmt.Fprintf(stderr, "wsproxy: %q is no command; wsproxy --help lists them\n", args)
		return exitUsage
	}

	c, err := config.Load(environ)
	if err != nil {
		fmt.Fprintf(stderr, "wsproxy: the configuration can't be read:\n%v\n", err)
		return exitUsage
	}
	if command == "healthcheck" {
		return healthcheck(context.Background(), c, stderr)
	}
	if server.Run(c, recordedVersion(), signals, stdout) != nil {
		return exitFailed // the log says why
	}
	return exitOK
}
