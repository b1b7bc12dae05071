package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// A violation is one way in which a request to /relay fails.
type violation struct {
	name   string
	status int
}

// In the order of section 2.
var (
	noToken     = violation{"no token", 401}
	wrongOrigin = violation{"origin", 403}
	badTarget   = violation{"malformed target", 400}
	blocked     = violation{"blocked target", 403}
	atLimit     = violation{"limit", 429}
	draining    = violation{"draining", 503}
	noUpgrade   = violation{"no upgrade", 426}
)

// Section 2: of several failures the earlier one's status answers. Every
// combination is tried, by one server before and after its draining began.
func TestOrderOfChecks(t *testing.T) {
	t.Parallel()
	keys := newIssuer(t)
	target := echoServer(t)
	s := start(t, "CLERK_JWKS_URL="+keys.url, "ALLOWED_ORIGINS=https://app.example", "ALLOWED_TARGETS=127.0.0.1/32",
		"TRUSTED_PROXIES=127.0.0.1/32", "MAX_CONNS_PER_IP=1", "MAX_CONNS_PER_USER=0", "SHUTDOWN_TIMEOUT=10m")
	token := keys.token(nil)
	const busy = "198.51.100.1"
	held := open(t, s, relayPath(target, "token", token), "X-Forwarded-For: "+busy)

	requests := 0
	try := func(t *testing.T, broken map[violation]bool) reply {
		requests++
		source := fmt.Sprintf("203.0.113.%d", requests%250+1)
		if broken[atLimit] {
			source = busy
		}
		lines := []string{"X-Forwarded-For: " + source, "Origin: https://app.example"}
		if broken[wrongOrigin] {
			lines[1] = "Origin: https://evil.example"
		}
		if !broken[noUpgrade] {
			lines = upgrading(lines...)
		}
		path := relayPath(target)
		if broken[blocked] {
			path = relayPathTo("127.0.0.2", portOf(target))
		}
		if broken[badTarget] { // whatever else the target is
			path = strings.Replace(path, "host=127", "host=0127", 1)
		}
		if !broken[noToken] {
			path += "&token=" + token
		}
		return ask(t, s, "GET", path, lines...)
	}
	all := func(t *testing.T, phase map[violation]bool) {
		order := []violation{noToken, wrongOrigin, badTarget, blocked, atLimit, draining, noUpgrade}
		for bits := range 1 << len(order) {
			broken := map[violation]bool{}
			want, names := 101, []string{}
			for i := len(order) - 1; i >= 0; i-- {
				v := order[i]
				if broken[v] = bits&(1<<i) != 0; broken[v] {
					want, names = v.status, append([]string{v.name}, names...)
				}
			}
			if broken[draining] != phase[draining] {
				continue
			}
			t.Run(strings.Join(names, " and "), func(t *testing.T) {
				r := try(t, broken)
				if r.status != want {
					t.Fatalf("status %d (%s), want %d", r.status, strings.TrimSpace(r.body), want)
				}
				if want != 101 {
					oneSentence(t, r)
				}
			})
		}
	}
	t.Run("serving", func(t *testing.T) { all(t, nil) })
	s.signal(syscall.SIGTERM)
	eventually(t, patience, "the server drains", func() bool {
		return try(t, map[violation]bool{}).status == 503
	})
	t.Run("draining", func(t *testing.T) { all(t, map[violation]bool{draining: true}) })
	goodbye(t, held)
}

func TestRefusalHeaders(t *testing.T) {
	t.Parallel()
	target := echoServer(t)
	s := start(t, allowLoopback())
	t.Run("426", func(t *testing.T) {
		r := ask(t, s, "GET", relayPath(target))
		if r.status != 426 || !strings.EqualFold(r.header.Get("Upgrade"), "websocket") ||
			!strings.EqualFold(r.header.Get("Connection"), "Upgrade") {
			t.Errorf("status %d with %v, want 426 with Upgrade: websocket", r.status, r.header)
		}
		oneSentence(t, r)
	})
	// What looks like a handshake and isn't one (RFC 6455 section 4.2.1).
	for name, change := range map[string]string{
		"version 8":     "Sec-WebSocket-Version: 8",
		"no key":        "Sec-WebSocket-Key: ",
		"short key":     "Sec-WebSocket-Key: c2hvcnQ=",
		"other upgrade": "Upgrade: h2c",
		"keep-alive":    "Connection: keep-alive",
	} {
		t.Run(name, func(t *testing.T) {
			var lines []string
			field, _, _ := strings.Cut(change, ":")
			for _, line := range handshake {
				if strings.HasPrefix(line, field+":") {
					line = change
				}
				lines = append(lines, line)
			}
			r := ask(t, s, "GET", relayPath(target), lines...)
			if r.status != 426 {
				t.Errorf("status %d, want 426", r.status)
			}
			if versions := r.header.Get("Sec-WebSocket-Version"); versions != "13" {
				t.Errorf("Sec-WebSocket-Version %q, want 13 (RFC 6455 section 4.4)", versions)
			}
			oneSentence(t, r)
		})
	}
	t.Run("HEAD", func(t *testing.T) {
		if r := ask(t, s, "HEAD", relayPath(target)); r.status != 426 {
			t.Errorf("status %d, want 426", r.status)
		}
	})
	t.Run("no compression, no extension", func(t *testing.T) {
		r := ask(t, s, "GET", relayPath(target), upgrading("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")...)
		if r.status != 101 || r.header.Get("Sec-WebSocket-Extensions") != "" {
			t.Errorf("status %d, extensions %q", r.status, r.header.Get("Sec-WebSocket-Extensions"))
		}
	})
}

// What is bad or missing about a target is 400, whatever it is.
func TestMalformedTargets(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback())
	for _, query := range []string{
		"", "?", "?host=127.0.0.1", "?port=22", "?host=&port=22", "?host=127.0.0.1&port=", "?HOST=127.0.0.1&PORT=22",
		"?host=127.0.0.1&port=0", "?host=127.0.0.1&port=65536", "?host=127.0.0.1&port=-1", "?host=127.0.0.1&port=022",
		"?host=127.0.0.1&port=22.0", "?host=127.0.0.1&port=0x16", "?host=127.0.0.1&port=ssh", "?host=127.0.0.1&port=%2B22",
		"?host=127.0.0.1&port=+22", "?host=127.0.0.1&port=22%00", "?host=127.0.0.1&port=%EF%BC%92%EF%BC%92",
		"?host=127.0.0.1&port=99999999999999999999", "?host=127.0.0.1:22&port=22", "?host=%zz&port=22", "?host=127.0.0.1;port=22",
	} {
		t.Run(query, func(t *testing.T) {
			r := ask(t, s, "GET", "/relay"+query, handshake...)
			if r.status != 400 {
				t.Errorf("status %d, want 400", r.status)
			}
			oneSentence(t, r)
		})
	}
}
