package e2e

import (
	"strings"
	"testing"
)

// Which pages may use the server, and what they may read of its answers. A
// request that passes is answered 426, for it is no upgrade.

func TestOrigins(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback(), "ALLOWED_ORIGINS=https://app.example.com, http://localhost:*,https://*.example.org,https://shop.example:8443")
	everyone := start(t, allowLoopback())
	path := relayPath(echoServer(t))
	for origin, allowed := range map[string]bool{
		"https://app.example.com":                         true,
		"https://APP.example.com":                         true,
		"https://app.example.com:443":                     true,
		"http://app.example.com":                          false,
		"https://app.example.com:8443":                    false,
		"https://app.example.com.evil.example":            false,
		"https://evil.example/app.example.com":            false,
		"https://xapp.example.com":                        false,
		"https://x.app.example.com":                       false,
		"https://app.example.com/":                        false,
		"https://app.example.com@evil.example":            false,
		"http://localhost":                                true,
		"http://localhost:3000":                           true,
		"http://localhost:65535":                          true,
		"https://localhost:3000":                          false,
		"http://localhost.evil.example:3000":              false,
		"http://localhost:3000.evil.example":              false,
		"http://127.0.0.1:3000":                           false,
		"https://a.example.org":                           true,
		"https://a.b.c.example.org":                       true,
		"https://example.org":                             false,
		"https://evilexample.org":                         false,
		"https://.example.org":                            false,
		"https://a.example.org:444":                       false,
		"https://a.example.org.evil.example":              false,
		"https://shop.example:8443":                       true,
		"https://shop.example":                            false,
		"null":                                            false,
		"rubbish":                                         false,
		"*":                                               false,
		"https://app.example.com https://app.example.com": false,
		"": false,
	} {
		t.Run(origin, func(t *testing.T) {
			r := ask(t, s, "GET", path, "Origin: "+origin)
			want, readable := 403, ""
			if allowed {
				want, readable = 426, origin
			}
			if r.status != want {
				t.Errorf("status %d, want %d", r.status, want)
			}
			if got := r.header.Get("Access-Control-Allow-Origin"); got != readable {
				t.Errorf("Access-Control-Allow-Origin %q, want %q", got, readable)
			}
			if !strings.Contains(strings.Join(r.header.Values("Vary"), ","), "Origin") {
				t.Errorf("Vary %q, want Origin: a cache would give one page's answer to another", r.header.Values("Vary"))
			}
			oneSentence(t, r)
			if r := ask(t, everyone, "GET", path, "Origin: "+origin); r.status != 426 {
				t.Errorf("where all are allowed: status %d, want 426", r.status)
			}
		})
	}
	t.Run("no origin", func(t *testing.T) {
		if r := ask(t, s, "GET", path); r.status != 426 || r.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("status %d with Access-Control-Allow-Origin %q; want 426 without", r.status, r.header.Get("Access-Control-Allow-Origin"))
		}
		goodbye(t, open(t, s, path))
	})
	t.Run("two origins", func(t *testing.T) {
		if r := ask(t, s, "GET", path, upgrading("Origin: https://app.example.com", "Origin: https://app.example.com")...); r.status != 403 {
			t.Errorf("status %d, want 403", r.status)
		}
		if r := ask(t, s, "GET", path, upgrading("Origin: https://app.example.com", "Origin: https://evil.example")...); r.status != 403 {
			t.Errorf("status %d, want 403", r.status)
		}
		if r := ask(t, s, "GET", path, upgrading("Origin: https://evil.example", "Origin: https://app.example.com")...); r.status != 403 {
			t.Errorf("status %d, want 403", r.status)
		}
	})
	t.Run("upgrade", func(t *testing.T) {
		goodbye(t, open(t, s, path, "Origin: https://app.example.com"))
		if r := ask(t, s, "GET", path, upgrading("Origin: https://evil.example")...); r.status != 403 {
			t.Errorf("status %d, want 403", r.status)
		}
	})
}

// A page that may connect may also read why it was refused; no other may.
func TestRefusalsAreReadableForAllowedOrigins(t *testing.T) {
	t.Parallel()
	keys := newIssuer(t)
	s := start(t, "ALLOWED_TARGETS=127.0.0.1/32", "CLERK_JWKS_URL="+keys.url, "ALLOWED_ORIGINS=https://app.example", "MAX_CONNS_PER_IP=1")
	target := echoServer(t)
	token := keys.token(nil)
	open(t, s, relayPath(target, "token", token))
	for status, path := range map[int]string{
		200: "/health",
		400: "/relay?token=" + token,
		401: relayPath(target),
		403: relayPathTo("127.0.0.2", "22", "token", token),
		404: "/tunnel",
		429: relayPath(target, "token", token),
	} {
		r := ask(t, s, "GET", path, "Origin: https://app.example")
		if r.status != status || r.header.Get("Access-Control-Allow-Origin") != "https://app.example" {
			t.Errorf("%s: status %d, Access-Control-Allow-Origin %q; want %d, the origin", path, r.status, r.header.Get("Access-Control-Allow-Origin"), status)
		}
		r = ask(t, s, "GET", path, "Origin: https://evil.example")
		if got := r.header.Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("%s: Access-Control-Allow-Origin %q for another origin", path, got)
		}
		if got := r.header.Get("Access-Control-Allow-Credentials"); got != "" {
			t.Errorf("%s: Access-Control-Allow-Credentials %q: nobody's cookies matter here", path, got)
		}
	}
}

// A page that sends Authorization or a Content-Type by fetch asks first; that
// takes no token.
func TestPreflight(t *testing.T) {
	t.Parallel()
	keys := newIssuer(t)
	some := start(t, "CLERK_JWKS_URL="+keys.url, "ALLOWED_ORIGINS=https://app.example")
	all := start(t, "CLERK_JWKS_URL="+keys.url)
	question := []string{"Access-Control-Request-Method: GET", "Access-Control-Request-Headers: authorization,content-type"}
	for _, c := range []struct {
		name    string
		s       *server
		origin  string
		allowed bool
	}{
		{"allowed", some, "https://app.example", true},
		{"not allowed", some, "https://evil.example", false},
		{"everyone is", all, "https://anyone.example", true},
	} {
		for _, path := range []string{"/relay?host=example.com&port=22", "/health"} {
			t.Run(c.name+" "+path, func(t *testing.T) {
				r := ask(t, c.s, "OPTIONS", path, append(question, "Origin: "+c.origin)...)
				if r.status != 200 && r.status != 204 {
					t.Errorf("status %d, want 204", r.status)
				}
				origin := r.header.Get("Access-Control-Allow-Origin")
				methods, headers := r.header.Get("Access-Control-Allow-Methods"), r.header.Get("Access-Control-Allow-Headers")
				if c.allowed && (origin != c.origin && origin != "*" || !strings.Contains(methods, "GET") || !strings.EqualFold(headers, "authorization, content-type")) {
					t.Errorf("origin %q, methods %q, headers %q; want them allowed", origin, methods, headers)
				}
				if !c.allowed && origin+methods+headers != "" {
					t.Errorf("origin %q, methods %q, headers %q; want nothing", origin, methods, headers)
				}
			})
		}
	}
}
