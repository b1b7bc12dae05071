package e2e

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// Section 7 and the command line: what the process says and how it ends when it
// is not to run as a server.

// runCommand starts the binary with nothing but env and waits for its end.
func runCommand(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binaryPath, args...)
	cmd.Env = append([]string{"GORACE=atexit_sleep_ms=0", "PORT=0", "BIND=127.0.0.1"}, env...)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	ended := cmd.Run()
	var exit *exec.ExitError
	if ended != nil && !errors.As(ended, &exit) || ctx.Err() != nil {
		t.Fatalf("%v %v: %v (%v)", env, args, ended, ctx.Err())
	}
	return cmd.ProcessState.ExitCode(), out.String(), err.String()
}

// A value that can't be read ends the start with 2, and the message names the
// variable, the value and what is expected.
func TestConfigurationErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ variable, value, expected string }{
		{"PORT", "http", "0 to 65535"},
		{"PORT", "65536", "0 to 65535"},
		{"PORT", "-1", "0 to 65535"},
		{"BIND", "example.com", "IP address"},
		{"BIND", "127.0.0.1:80", "IP address"},
		{"CLERK_JWKS_URL", "http://keys.example/jwks", "https"},
		{"CLERK_JWKS_URL", "http://192.0.2.1/jwks", "https"},
		{"CLERK_JWKS_URL", "http://localhost.example/jwks", "https"},
		{"CLERK_JWKS_URL", "ftp://127.0.0.1/jwks", "https"},
		{"CLERK_JWKS_URL", "keys.example", "https"},
		{"JWT_AUTHORIZED_PARTIES", "https://*.example", "origin"},
		{"JWT_AUTHORIZED_PARTIES", "client_id", "origin"},
		{"ALLOWED_ORIGINS", "none", "origin"},
		{"ALLOWED_ORIGINS", "https://app.example/path", "origin"},
		{"ALLOWED_ORIGINS", "https://app.*.example", "origin"},
		{"TUNNEL_DOMAIN", "https://tunnel.example", "DNS name"},
		{"TUNNEL_DOMAIN", "a.*.tunnel.example", "DNS name"},
		{"TUNNEL_RAW_HOST", "raw.example:22", "DNS name"},
		{"TUNNEL_PUBLIC_URL", "tunnel.example", "URL"},
		{"TUNNEL_PORT_MIN", "0", "1 to 65535"},
		{"TUNNEL_PORT_MAX", "70000", "1 to 65535"},
		{"TUNNEL_BIND", "eth0", "IP address"},
		{"MAX_CONNS_PER_IP", "-1", "whole number"},
		{"MAX_CONNS_PER_IP", "ten", "whole number"},
		{"MAX_CONNS_PER_USER", "1.5", "whole number"},
		{"MAX_TUNNEL_HTTP_PER_IP", "x", "whole number"},
		{"MAX_TUNNEL_HTTP", "x", "whole number"},
		{"MAX_TUNNEL_TCP_CONNS", "x", "whole number"},
		{"MAX_TUNNEL_TCP_CONNS_GLOBAL", "x", "whole number"},
		{"MAX_TUNNEL_TCP_PER_IP", "x", "whole number"},
		{"TUNNEL_TCP_IDLE_TIMEOUT", "60", "or 0s"},
		{"BLOCKED_TARGETS", "10.0.0.0/33", "CIDR"},
		{"BLOCKED_TARGETS", ",", "CIDR"},
		{"BLOCKED_TARGETS", "none,10.0.0.0/8", "CIDR"},
		{"BLOCKED_TARGETS", "localhost", "CIDR"},
		{"ALLOWED_TARGETS", "10.0.0.1/33", "CIDR"},
		{"ALLOWED_TARGETS", "none", "CIDR"},
		{"ALLOWED_PORTS", "0", "port"},
		{"ALLOWED_PORTS", "22-", "port"},
		{"ALLOWED_PORTS", "30-20", "port"},
		{"ALLOWED_PORTS", "ssh", "port"},
		{"ALLOWED_PORTS", "65536", "port"},
		{"TRUSTED_PROXIES", "proxy.example", "CIDR"},
		{"TUNNEL_CONTROL_FRAMES", "json", "text, binary or gossh"},
		{"TUNNEL_BUFFER", "32MB", "size"},
		{"TUNNEL_BUFFER_TOTAL", "many", "size"},
		{"TUNNEL_STALL_TIMEOUT", "3", "duration"},
		{"TUNNEL_FORWARD_CREDENTIALS", "yes", "true"},
		{"TUNNEL_HTTP_TIMEOUT", "-1s", "duration"},
		{"TUNNEL_MAX_BODY", "10 MiB", "size"},
		{"RESUME_TIMEOUT", "900", "or 0s"},
		{"RESUME_BUFFER", "63KiB", "64KiB"},
		{"RESUME_BUFFER_TOTAL", "much", "size"},
		{"DIAL_TIMEOUT", "10", "duration"},
		{"PING_INTERVAL", "0s", "duration"},
		{"SHUTDOWN_TIMEOUT", "soon", "duration"},
		{"METRICS_ADDR", "9090", "host:port"},
		{"METRICS_ADDR", "example.com:9090", "host:port"},
		{"LOG_LEVEL", "loud", "debug, info, warn or error"},
		{"LOG_FORMAT", "xml", "json"},
	} {
		t.Run(c.variable+"="+c.value, func(t *testing.T) {
			code, stdout, stderr := runCommand(t, []string{c.variable + "=" + c.value})
			if code != 2 || stdout != "" {
				t.Errorf("exit code %d, stdout %q; want 2 and nothing", code, stdout)
			}
			for _, want := range []string{c.variable, `"` + c.value + `"`, c.expected} {
				if !strings.Contains(stderr, want) {
					t.Errorf("the message doesn't say %s:\n%s", want, stderr)
				}
			}
		})
	}
	t.Run("all at once", func(t *testing.T) {
		code, _, stderr := runCommand(t, []string{"PORT=x", "LOG_LEVEL=loud", "MAX_CONNS_PER_IP=-1"})
		for _, want := range []string{"PORT", "LOG_LEVEL", "MAX_CONNS_PER_IP"} {
			if code != 2 || !strings.Contains(stderr, want) {
				t.Errorf("exit code %d, without a word about %s:\n%s", code, want, stderr)
			}
		}
	})
	t.Run("no secrets", func(t *testing.T) {
		_, _, stderr := runCommand(t, []string{"CLERK_JWKS_URL=http://user:s3cr3t-pw@keys.example/jwks"})
		if strings.Contains(stderr, "s3cr3t-pw") {
			t.Errorf("the message has the password in it:\n%s", stderr)
		}
		code, _, stderr := runCommand(t, []string{"TUNNEL_NAME_SECRET=s3cr3t-too-short"})
		if code != 2 || !strings.Contains(stderr, "TUNNEL_NAME_SECRET") || !strings.Contains(stderr, "32 bytes") || strings.Contains(stderr, "s3cr3t") {
			t.Errorf("exit code %d, and the message is\n%s", code, stderr)
		}
	})
}

// What the public server takes, and can mean one thing only, starts.
func TestLenientConfiguration(t *testing.T) {
	t.Parallel()
	s := start(t, "BIND= 127.0.0.1 ", "LOG_FORMAT=json\r", "MAX_CONNS_PER_IP= 0", "TUNNEL_DOMAIN=*.tunnel.example.",
		"ALLOWED_ORIGINS=app.example, https://other.example/, ,app://-,", "TRUSTED_PROXIES=127.0.0.1/8,,", "ALLOWED_PORTS=,22,",
		"ALLOWED_TARGETS=198.51.100.7/24,", "BLOCKED_TARGETS=203.0.113.9/24,", "MAX_TUNNEL_HTTP=0", "MAX_TUNNEL_HTTP_PER_IP=0",
		"MAX_TUNNEL_TCP_CONNS=0", "MAX_TUNNEL_TCP_CONNS_GLOBAL=0", "MAX_CONN_PER_IP=s3cr3t-value", "TUNNEL_RAW_HOST=Raw.Example")
	for origin, want := range map[string]int{
		"http://app.example": 400, "https://app.example": 400, "https://other.example": 400, "app://-": 400,
		"http://other.example": 403, "app://x": 403, "null": 403,
	} {
		if r := ask(t, s, "GET", "/relay", upgrading("Origin: "+origin)...); r.status != want {
			t.Errorf("%s: status %d, want %d", origin, r.status, want)
		}
	}
	line := s.waitLog(t, "an environment variable has no effect: its name looks like one of wsproxy's, but is none")
	if line["level"] != "WARN" || line["variable"] != "MAX_CONN_PER_IP" || line["looks_like"] != "MAX_CONNS_PER_IP" {
		t.Errorf("the warning is %v", line)
	}
	if strings.Contains(s.log(), "s3cr3t-value") {
		t.Error("the value of a variable that nobody knows is logged")
	}
}

// helpTable is what section 7 says of each variable's default.
var helpTable = map[string]string{
	"PORT": "8080", "BIND": "all interfaces", "CLERK_JWKS_URL": "", "JWT_ISSUER": "", "JWT_AUDIENCE": "",
	"JWT_AUTHORIZED_PARTIES": "", "ALLOWED_ORIGINS": "*", "TUNNEL_DOMAIN": "", "TUNNEL_PUBLIC_URL": "https://*.<TUNNEL_DOMAIN>",
	"TUNNEL_PORT_MIN": "10000", "TUNNEL_PORT_MAX": "10100", "TUNNEL_BIND": "all interfaces", "TUNNEL_RAW_HOST": "TUNNEL_DOMAIN", "MAX_CONNS_PER_IP": "10",
	"MAX_CONNS_PER_USER": "20", "MAX_TUNNEL_HTTP_PER_IP": "50", "MAX_TUNNEL_HTTP": "100", "MAX_TUNNEL_TCP_CONNS": "100",
	"MAX_TUNNEL_TCP_CONNS_GLOBAL": "1000", "MAX_TUNNEL_TCP_PER_IP": "32", "TUNNEL_TCP_IDLE_TIMEOUT": "0s",
	"MAX_HTTP_CONNS_PER_IP": "256", "MAX_HTTP_CONNS": "4096",
	"BLOCKED_TARGETS": "special-purpose", "ALLOWED_TARGETS": "", "ALLOWED_PORTS": "any",
	"TRUSTED_PROXIES": "", "TUNNEL_CONTROL_FRAMES": "text", "TUNNEL_BUFFER": "32MiB", "TUNNEL_BUFFER_TOTAL": "256MiB",
	"TUNNEL_STALL_TIMEOUT": "3s", "TUNNEL_FORWARD_CREDENTIALS": "false", "TUNNEL_HTTP_TIMEOUT": "60s", "TUNNEL_MAX_BODY": "10MiB", "TUNNEL_NAME_SECRET": "ignored",
	"RESUME_TIMEOUT": "15m", "RESUME_BUFFER": "1MiB", "RESUME_BUFFER_TOTAL": "256MiB",
	"DIAL_TIMEOUT": "10s", "PING_INTERVAL": "30s", "SHUTDOWN_TIMEOUT": "4s", "METRICS_ADDR": "off", "ADMIN_TOKEN": "off", "MAX_SESSION_AGE": "0s", "LOG_LEVEL": "info", "LOG_FORMAT": "json",
}

func TestHelp(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := runCommand(t, []string{"MAX_CONNS_PER_IP=77", "LOG_LEVEL=loud"}, "--help")
	if code != 0 || stderr != "" {
		t.Errorf("exit code %d, stderr %q; want 0 and nothing, whatever is set", code, stderr)
	}
	for name, shown := range helpTable {
		row := regexp.MustCompile(`(?m)^\s*` + name + `\s.*$`).FindString(stdout)
		if row == "" || !strings.Contains(row, shown) {
			t.Errorf("%s: the row %q doesn't show the default %q", name, row, shown)
		}
	}
	for _, set := range []string{"77", "loud"} {
		if !strings.Contains(stdout, set) {
			t.Errorf("that a variable is set to %q is not shown", set)
		}
	}
	if strings.Contains(stdout, `"0"`) == false {
		t.Errorf("that PORT is set to 0 is not shown")
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	t.Run("--version", func(t *testing.T) {
		code, stdout, _ := runCommand(t, nil, "--version")
		if code != 0 || !strings.HasPrefix(stdout, "wsproxy ") || strings.Count(stdout, "\n") != 1 {
			t.Errorf("exit code %d, %q; want 0 and one line", code, stdout)
		}
	})
	for _, args := range [][]string{{"serve"}, {"--prot=8080"}, {"-x"}, {""}, {"healthcheck", "now"}, {"--help", "me"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			code, stdout, stderr := runCommand(t, nil, args...)
			if code != 2 || stdout != "" || !strings.Contains(stderr, args[0]) || !strings.Contains(stderr, "--help") {
				t.Errorf("exit code %d, stdout %q, stderr %q; want 2 and a hint at --help", code, stdout, stderr)
			}
		})
	}
}

func TestHealthcheck(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback(), "SHUTDOWN_TIMEOUT=1m")
	_, port, _ := net.SplitHostPort(s.addr)
	env := []string{"PORT=" + port}
	if code, _, stderr := runCommand(t, env, "healthcheck"); code != 0 {
		t.Errorf("a server that is well: exit code %d, want 0 (%s)", code, stderr)
	}
	held := open(t, s, relayPath(echoServer(t)))
	s.signal(syscall.SIGTERM)
	s.waitLog(t, "draining")
	eventually(t, patience, "draining is unhealthy", func() bool {
		code, _, _ := runCommand(t, env, "healthcheck")
		return code == 1
	})
	goodbye(t, held)
	if code := s.wait(patience); code != 0 {
		t.Errorf("the server's exit code is %d", code)
	}
	if code, _, stderr := runCommand(t, []string{"PORT=" + portOf(closedPort(t))}, "healthcheck"); code != 1 || stderr == "" {
		t.Errorf("nobody there: exit code %d, stderr %q; want 1 and a sentence", code, stderr)
	}
	if code, _, _ := runCommand(t, []string{"PORT=x"}, "healthcheck"); code != 2 {
		t.Errorf("a configuration that can't be read: exit code %d, want 2", code)
	}
}

// A port that is taken is a failure of the start, not of the configuration.
func TestPortIsTaken(t *testing.T) {
	t.Parallel()
	_, port, _ := net.SplitHostPort(start(t).addr)
	if code, stdout, _ := runCommand(t, []string{"PORT=" + port}); code != 1 || !strings.Contains(stdout, "PORT") {
		t.Errorf("exit code %d, %q; want 1 and a word about PORT", code, stdout)
	}
	if code, stdout, _ := runCommand(t, []string{"METRICS_ADDR=127.0.0.1:" + port}); code != 1 || !strings.Contains(stdout, "METRICS_ADDR") {
		t.Errorf("exit code %d, %q; want 1 and a word about METRICS_ADDR", code, stdout)
	}
}
