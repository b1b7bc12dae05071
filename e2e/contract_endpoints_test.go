package e2e

import (
	"strings"
	"syscall"
	"testing"
)

// Section 1: what answers where, and to which methods.

func TestHealth(t *testing.T) {
	t.Parallel()
	keys := newIssuer(t)
	s := start(t, allowLoopback(), "CLERK_JWKS_URL="+keys.url, "MAX_CONNS_PER_IP=1", "ALLOWED_ORIGINS=https://app.example")
	held := open(t, s, relayPath(echoServer(t), "token", keys.token(nil)))

	t.Run("GET", func(t *testing.T) {
		r := ask(t, s, "GET", "/health")
		if r.status != 200 || r.body != "ok" {
			t.Errorf("status %d, body %q; want 200, \"ok\"", r.status, r.body)
		}
	})
	t.Run("HEAD", func(t *testing.T) {
		if r := ask(t, s, "HEAD", "/health"); r.status != 200 || r.body != "" {
			t.Errorf("status %d, body %q; want 200 without a body", r.status, r.body)
		}
	})
	t.Run("no limit, no origin, no token", func(t *testing.T) {
		for range 50 {
			if r := ask(t, s, "GET", "/health", "Origin: https://evil.example", "Authorization: Bearer rubbish"); r.status != 200 {
				t.Fatalf("status %d", r.status)
			}
		}
	})
	t.Run("draining", func(t *testing.T) {
		s.signal(syscall.SIGTERM)
		s.waitLog(t, "draining")
		eventually(t, patience, "/health says draining", func() bool {
			r := ask(t, s, "GET", "/health")
			return r.status == 503 && r.body == "draining"
		})
		if r := ask(t, s, "HEAD", "/health"); r.status != 503 {
			t.Errorf("HEAD: status %d, want 503", r.status)
		}
	})
	goodbye(t, held)
	if code := s.wait(patience); code != 0 {
		t.Errorf("exit code %d after the last session, want 0", code)
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	t.Parallel()
	s, tunnels := start(t), tunnelServer(t)
	for _, path := range []string{"/", "/healthz", "/health/", "/health/x", "/HEALTH", "/relay/", "/relay/x", "/tunnel/", "//health", "/./health", "/metrics", "/debug/pprof/", "/index.html", "/%68ealth/x", "/..%2fhealth"} {
		t.Run("path "+path, func(t *testing.T) {
			r := ask(t, s, "GET", path)
			if r.status != 404 {
				t.Errorf("status %d, want 404", r.status)
			}
			oneSentence(t, r)
		})
	}
	for _, path := range []string{"/health", "/relay", "/tunnel"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "BREW"} {
			t.Run(method+" "+path, func(t *testing.T) {
				at := s
				if path == "/tunnel" {
					at = tunnels
				}
				r := ask(t, at, method, path, "Content-Length: 0")
				if r.status != 405 || !strings.Contains(r.header.Get("Allow"), "GET") {
					t.Errorf("status %d, Allow %q; want 405 and GET", r.status, r.header.Get("Allow"))
				}
				oneSentence(t, r)
				if r := ask(t, s, method, "/tunnel", "Content-Length: 0"); r.status != 404 {
					t.Errorf("without tunnels: status %d; want 404 before any other check", r.status)
				}
			})
		}
	}
	t.Run("a body that doesn't come", func(t *testing.T) {
		for path, want := range map[string]int{"/health": 405, "/relay": 405, "/other": 404} {
			for _, length := range []string{"Content-Length: 1000", "Transfer-Encoding: chunked"} {
				if r := ask(t, s, "POST", path, length); r.status != want {
					t.Errorf("%s with %s: status %d, want %d", path, length, r.status, want)
				}
			}
		}
	})
	t.Run("absolute form", func(t *testing.T) {
		// A proxy's request line does not turn this server into an HTTP proxy.
		if r := ask(t, s, "GET", "http://example.com/other"); r.status != 404 {
			t.Errorf("status %d, want 404", r.status)
		}
		if r := ask(t, s, "CONNECT", "example.com:443"); r.status < 400 {
			t.Errorf("CONNECT: status %d", r.status)
		}
	})
}

// Without TUNNEL_DOMAIN /tunnel is 404 before any other check.
// What the HTTP library answers by itself, because it can't read it, is counted
// as all that is refused is.
func TestUnreadableRequests(t *testing.T) {
	t.Parallel()
	s := start(t, "METRICS_ADDR=127.0.0.1:0")
	long := "X-Long: " + strings.Repeat("x", 64<<10)
	for _, c := range []struct {
		path, line, reason string
		status             int
	}{
		{"/100%", "X: y", "bad_request", 400},
		{"/%zz", "X: y", "bad_request", 400},
		{"/health", "no header", "bad_request", 400},
		{"/health", long, "header_too_big", 431},
	} {
		before := s.refusals(t, "http", c.reason)
		if r := ask(t, s, "GET", c.path, c.line); r.status != c.status {
			t.Errorf("%s, %.20s: status %d, want %d", c.path, c.line, r.status, c.status)
		}
		if n := s.refusals(t, "http", c.reason) - before; n != 1 {
			t.Errorf("%s, %.20s: counted %d times as %s", c.path, c.line, n, c.reason)
		}
	}
	if r := ask(t, s, "GET", "/health%20"); r.status != 404 {
		t.Errorf("an escape: status %d, want 404", r.status)
	}
}

func TestTunnelIsOffByDefault(t *testing.T) {
	t.Parallel()
	keys := newIssuer(t)
	s := start(t, allowLoopback(), "CLERK_JWKS_URL="+keys.url, "ALLOWED_ORIGINS=https://app.example", "MAX_CONNS_PER_IP=1")
	held := open(t, s, relayPath(echoServer(t), "token", keys.token(nil)))
	check := func(t *testing.T) {
		for name, lines := range map[string][]string{
			"plain":        nil,
			"upgrade":      handshake,
			"wrong origin": upgrading("Origin: https://evil.example"),
			"bad token":    upgrading("Authorization: Bearer rubbish"),
		} {
			t.Run(name, func(t *testing.T) {
				r := ask(t, s, "GET", "/tunnel?control=nonsense", lines...)
				if r.status != 404 || !strings.Contains(strings.ToLower(r.body), "tunnel") {
					t.Errorf("status %d, %q; want 404 and a word about tunnels", r.status, r.body)
				}
				oneSentence(t, r)
			})
		}
		for _, method := range []string{"POST", "PUT", "DELETE", "TRACE"} {
			if r := ask(t, s, method, "/tunnel"); r.status != 404 || !strings.Contains(strings.ToLower(r.body), "tunnel") {
				t.Errorf("%s: status %d, %q; want 404 and a word about tunnels", method, r.status, r.body)
			}
		}
	}
	t.Run("at the limit", check)
	s.signal(syscall.SIGTERM)
	s.waitLog(t, "draining")
	t.Run("draining", check)
	goodbye(t, held)
}

// Whoever may ask for a certificate, or probes for life, is told so without a token, and
// while the server drains.
func TestAskAndLive(t *testing.T) {
	t.Parallel()
	keys := newIssuer(t)
	s := start(t, allowLoopback(), "CLERK_JWKS_URL="+keys.url, "TUNNEL_DOMAIN="+tunnelDomain, "TUNNEL_BIND=127.0.0.1", "ALLOWED_ORIGINS=https://app.example", "SHUTDOWN_TIMEOUT=1m")
	want := func(path string, status int) {
		t.Helper()
		if r := ask(t, s, "GET", path, "Origin: https://evil.example"); r.status != status {
			t.Errorf("%s answers %d, want %d", path, r.status, status)
		}
	}
	c := tunnelOpen(t, s, tunnelScript{query: "token=" + keys.token(nil)})
	host, _, _ := strings.Cut(c.host, ":")
	for _, draining := range []bool{false, true} {
		if draining {
			s.signal(syscall.SIGTERM)
			eventually(t, patience, "the drain", func() bool { return ask(t, s, "GET", "/health").status == 503 })
		}
		want("/health/live", 200)
		want("/tunnel/ask?domain="+host, 200)
		want("/tunnel/ask?domain="+strings.ToUpper(host)+".", 200)
		for _, stranger := range []string{"", "0000000000000000." + tunnelDomain, tunnelDomain, "a." + host, strings.Replace(host, tunnelDomain, "example.com", 1), "%00"} {
			want("/tunnel/ask?domain="+stranger, 404)
		}
	}
	s.signal(syscall.SIGTERM)

	off := start(t)
	if r := ask(t, off, "GET", "/tunnel/ask?domain="+host); r.status != 404 {
		t.Errorf("without tunnels: %d", r.status)
	}
}
