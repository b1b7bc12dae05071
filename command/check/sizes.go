package check

import (
	"fmt"
	"net"
	"strconv"
)

func splitAddr(addr string) (host string, port uint16) {
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0
	}
	n, _ := strconv.ParseUint(service, 10, 16) // 0 is any free port
	return host, uint16(n)
}

func ports(v view) (warnings, notes []finding) {
	_, metrics := splitAddr(v.MetricsAddr)
	if isUnix(v.Bind) {
		v.Port = 0 // it has none
	} else if v.Port == 0 {
		notes = append(notes, say("PORT", "0 takes any free port, which the log tells; wsproxy healthcheck can't know it"))
	} else if metrics == v.Port {
		warnings = append(warnings, say("METRICS_ADDR", "its port is that of PORT, %d: the server won't start unless their addresses differ", v.Port))
	}
	if v.TunnelDomain == "" {
		return warnings, notes
	}
	for _, own := range []struct {
		name string
		port uint16
	}{{"PORT", v.Port}, {"METRICS_ADDR", metrics}} {
		if own.port != 0 && own.port >= v.TunnelPortMin && own.port <= v.TunnelPortMax {
			warnings = append(warnings, say(own.name, "%d is among the raw ports of tunnels, %d to %d: take it out of them", own.port, v.TunnelPortMin, v.TunnelPortMax))
		}
	}
	if low, high, known := v.machine.ephemeralPorts(); known && v.TunnelPortMin <= high && v.TunnelPortMax >= low {
		notes = append(notes, say("TUNNEL_PORT_MAX", "raw ports from %d to %d overlap with %d to %d, which this machine takes for connections of its own: a tunnel may not get one", v.TunnelPortMin, v.TunnelPortMax, low, high))
	}
	return warnings, notes
}

// limits tells what each 0 gives away.
func limits(v view) (warnings, notes []finding) {
	for _, limit := range []struct {
		name    string
		bound   int
		tunnels bool
		text    string
	}{
		{"MAX_CONNS_PER_IP", v.MaxConnsPerIP, false, "one source address can have all sessions"},
		{"MAX_CONNS_PER_USER", v.MaxConnsPerUser, false, "one user can have all sessions"},
		{"MAX_HTTP_CONNS", v.MaxHTTPConns, false, "strangers can use up all descriptors"},
		{"MAX_HTTP_CONNS_PER_IP", v.MaxHTTPConnsPerIP, false, "one stranger can have all of MAX_HTTP_CONNS"},
		{"MAX_TUNNEL_HTTP", v.MaxTunnelHTTP, true, "one tunnel can have any number of requests under way"},
		{"MAX_TUNNEL_HTTP_PER_IP", v.MaxTunnelHTTPPerIP, true, "one outside address can have any number of requests under way"},
		{"MAX_TUNNEL_TCP_CONNS", v.MaxTunnelTCPConns, true, "one tunnel can have all raw connections"},
		{"MAX_TUNNEL_TCP_CONNS_GLOBAL", v.MaxTunnelTCPConnsGlobal, true, "outside clients can use up all descriptors"},
		{"MAX_TUNNEL_TCP_PER_IP", v.MaxTunnelTCPPerIP, true, "one outside address can have all raw connections of a tunnel"},
	} {
		if limit.bound == 0 && (!limit.tunnels || v.TunnelDomain != "") {
			warnings = append(warnings, say(limit.name, "0 is no limit: %s", limit.text))
		}
	}
	return warnings, nil
}

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// processMemory is what the process takes beside what the budgets count, sessions
// and connections apart: fixed by the protocol, section 12.
const processMemory = 128 * mib

func memory(v view) (warnings, notes []finding) {
	need := v.TunnelBufferTotal + processMemory
	parts := "TUNNEL_BUFFER_TOTAL and 128MiB"
	if v.ResumeTimeout > 0 {
		need += v.ResumeBufferTotal
		parts = "TUNNEL_BUFFER_TOTAL, RESUME_BUFFER_TOTAL and 128MiB"
	}
	limit, whose := v.machine.memoryLimit()
	if limit > 0 && need > limit {
		warnings = append(warnings, say("TUNNEL_BUFFER_TOTAL", "%s are %s, and more with each session, but %s has %s: whoever makes the server use it up has it killed; lower TUNNEL_BUFFER_TOTAL and RESUME_BUFFER_TOTAL", parts, size(need), whose, size(limit)))
	}
	given := v.environ.Getenv("GOMEMLIMIT")
	set, err := parseGoSize(given)
	switch {
	case given == "" || given == "off":
		if limit > 0 && whose == ofGroup {
			notes = append(notes, say("GOMEMLIMIT", "it is not set, and Go doesn't know of the limit of %s here: set it to some 70%% of that", size(limit)))
		}
	case err != nil:
		warnings = append(warnings, say("GOMEMLIMIT", "Go can't read it, and no server starts with it: it must be like 700MiB"))
	case limit > 0 && set > limit:
		warnings = append(warnings, say("GOMEMLIMIT", "it is above the %s that %s has", size(limit), whose))
	case set < need:
		notes = append(notes, say("GOMEMLIMIT", "it is below the %s that %s come to: when they are used up the collector takes all of the processor", size(need), parts))
	}
	return warnings, notes
}

// tunnelBufferParts is what part of TUNNEL_BUFFER_TOTAL a tunnel may hold: fixed by
// the protocol, section 12.
const tunnelBufferParts = 4

func tunnelBuffers(v view) (warnings, notes []finding) {
	if v.ResumeTimeout > 0 && v.isSet("RESUME_BUFFER") && v.ResumeBuffer > v.ResumeBufferTotal {
		warnings = append(warnings, say("RESUME_BUFFER", "it is above RESUME_BUFFER_TOTAL, so that no session ever has it"))
	}
	if v.TunnelDomain == "" {
		return warnings, notes
	}
	part := v.TunnelBufferTotal / tunnelBufferParts
	if v.TunnelMaxBody > part {
		warnings = append(warnings, say("TUNNEL_MAX_BODY", "%s is above a quarter of TUNNEL_BUFFER_TOTAL, %s, which is the most that a tunnel may hold: larger bodies are refused all the same", size(v.TunnelMaxBody), size(part)))
	}
	if v.isSet("TUNNEL_BUFFER") && v.TunnelBuffer > part {
		notes = append(notes, say("TUNNEL_BUFFER", "%s is above a quarter of TUNNEL_BUFFER_TOTAL, %s, which is the most that a tunnel may hold", size(v.TunnelBuffer), size(part)))
	}
	return warnings, notes
}

// ofTunnels are the variables that are about nothing but tunnels, the secret apart,
// which has a rule of its own.
var ofTunnels = []string{
	"TUNNEL_PUBLIC_URL", "TUNNEL_PORT_MIN", "TUNNEL_PORT_MAX", "TUNNEL_BIND", "TUNNEL_RAW_HOST",
	"MAX_TUNNEL_HTTP_PER_IP", "MAX_TUNNEL_HTTP", "MAX_TUNNEL_TCP_CONNS", "MAX_TUNNEL_TCP_CONNS_GLOBAL",
	"MAX_TUNNEL_TCP_PER_IP", "TUNNEL_TCP_IDLE_TIMEOUT", "TUNNEL_CONTROL_FRAMES", "TUNNEL_BUFFER",
	"TUNNEL_STALL_TIMEOUT", "TUNNEL_FORWARD_CREDENTIALS", "TUNNEL_HTTP_TIMEOUT", "TUNNEL_MAX_BODY",
}

func withoutEffect(v view) (warnings, notes []finding) {
	if v.TunnelDomain == "" {
		for _, name := range ofTunnels {
			if v.isSet(name) {
				notes = append(notes, say(name, "it has no effect without TUNNEL_DOMAIN"))
			}
		}
	}
	if v.isSet("WEB_TERMINAL_ANCESTORS") && !v.WebTerminal {
		notes = append(notes, say("WEB_TERMINAL_ANCESTORS", "it has no effect without WEB_TERMINAL=on"))
	}
	if v.AdminToken != "" && v.MetricsAddr == "" {
		notes = append(notes, say("ADMIN_TOKEN", "it has no effect without METRICS_ADDR"))
	}
	if v.isSet("MAX_CONNS_PER_USER") && !v.authenticated() {
		notes = append(notes, say("MAX_CONNS_PER_USER", "it has no effect without CLERK_JWKS_URL: there are no users"))
	}
	if v.ResumeTimeout == 0 {
		for _, name := range []string{"RESUME_BUFFER", "RESUME_BUFFER_TOTAL"} {
			if v.isSet(name) {
				notes = append(notes, say(name, "it has no effect with RESUME_TIMEOUT=0"))
			}
		}
	}
	return nil, notes
}

// size writes bytes in the largest unit that leaves little behind the point.
func size(n int64) string {
	for _, unit := range []struct {
		bytes int64
		name  string
	}{{gib, "GiB"}, {mib, "MiB"}, {kib, "KiB"}} {
		if n >= unit.bytes {
			return strconv.FormatFloat(float64(n*10/unit.bytes)/10, 'f', -1, 64) + unit.name
		}
	}
	return fmt.Sprint(n, " bytes")
}
