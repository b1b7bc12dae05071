package check

import (
	"fmt"
	"net/netip"
	"time"

	"wsproxy/command/cli"
	"wsproxy/config"
)

// A view is what rules judge.
type view struct {
	config.Config
	file    config.Environment // what the file of settings is odd about
	environ cli.Streams
	machine machine
}

func (v view) isSet(name string) bool { return v.environ.Getenv(name) != "" }

// authenticated says whether users have tokens.
func (v view) authenticated() bool { return v.JWKSURL != "" }

// isLocal says whether the server can be reached from its own machine alone.
func (v view) isLocal() bool { return isLoopback(v.Bind) || isUnix(v.Bind) }

// isUnix says whether an address is a Unix socket's.
func isUnix(addr string) bool {
	_, unix := config.UnixPath(addr)
	return unix
}

// isLoopback judges a host as BIND has it.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// A rule returns what is dangerous, and what is worth a thought.
type rule func(v view) (warnings, notes []finding)

// rules are in the order in which their findings are told: the worst first.
var rules = []rule{
	settingsFile, authentication, keyFile, claims, origins, targets, proxies, ownTLS, credentials, names,
	metricsListener, ports, limits, memory, tunnelBuffers, times, logs, withoutEffect, misspelled,
}

func say(variable, format string, args ...any) finding {
	return finding{variable, fmt.Sprintf(format, args...)}
}

// What is fixed by the protocol, sections 7 and 8.
const (
	closeTime  = 5 * time.Second  // of a shutdown, beside SHUTDOWN_TIMEOUT
	engineKill = 10 * time.Second // after which container engines kill
	// proxyIdle is how long front proxies let a WebSocket be silent by default: that of
	// nginx.
	proxyIdle = 60 * time.Second
)

func times(v view) (warnings, notes []finding) {
	if v.ShutdownTimeout+closeTime > engineKill {
		warnings = append(warnings, say("SHUTDOWN_TIMEOUT", "with the %s for closing, %s is beyond the %s after which container engines kill, and sessions then are cut; make the engine's time longer (stop_grace_period, terminationGracePeriodSeconds, TimeoutStopSec), and --accept this", closeTime, v.ShutdownTimeout, engineKill))
	}
	if v.ShutdownTimeout+closeTime <= engineKill && v.ShutdownDelay+v.ShutdownTimeout+closeTime > engineKill {
		warnings = append(warnings, say("SHUTDOWN_DELAY", "%s before SHUTDOWN_TIMEOUT, which is %s, and the %s for closing are beyond the %s after which container engines kill, and sessions then are cut; make the engine's time longer (stop_grace_period, terminationGracePeriodSeconds, TimeoutStopSec), and --accept this", v.ShutdownDelay, v.ShutdownTimeout, closeTime, engineKill))
	}
	if v.PingInterval >= proxyIdle {
		notes = append(notes, say("PING_INTERVAL", "many front proxies end a WebSocket that is silent for %s, so that idle sessions will be lost: stay below", proxyIdle))
	}
	return warnings, notes
}

func logs(v view) (warnings, notes []finding) {
	switch v.environ.Getenv("LOG_LEVEL") {
	case "debug":
		notes = append(notes, say("LOG_LEVEL", "debug writes many lines for each session"))
	case "warn", "error":
		notes = append(notes, say("LOG_LEVEL", "%s hides who was refused and why, which is logged at info", v.environ.Getenv("LOG_LEVEL")))
	}
	return nil, notes
}

// misspelled never repeats the value, which may be a secret.
func misspelled(v view) (warnings, notes []finding) {
	for _, l := range v.Lookalikes {
		warnings = append(warnings, say(l.Name, "it looks like %s, but is no variable of wsproxy and has no effect", l.Meant))
	}
	for _, l := range v.file.Misspelled {
		warnings = append(warnings, say(l.Name, "CONFIG_FILE sets it, and it looks like %s, but is no setting of wsproxy and has no effect", l.Meant))
	}
	return warnings, nil
}
