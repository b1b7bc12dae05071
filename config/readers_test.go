package config

import (
	"strconv"
	"strings"
	"testing"
)

func TestLoadErrors(t *testing.T) {
	const (
		anyPort  = "must be a port from 0 to 65535"
		somePort = "must be a port from 1 to 65535"
		noLimit  = "must be a whole number from 0 to 10000000, where 0 means no limit"
		buffer   = "must be a size such as 512KiB, 32MiB or 1GiB, from 64KiB to 1024GiB"
		body     = "must be a size such as 512KiB, 32MiB or 1GiB, from 1 to 1GiB"
		timeout  = "must be a duration such as 500ms, 30s or 2m, from 10ms to 1h"
		host     = "must be an IP address, localhost, or unix: and an absolute path"
		text     = "must be text without blanks or control characters"
		domain   = "must be a DNS name such as tunnel.example.com, without scheme or port"
		public   = "must be an http or https URL whose first host label is * and that has no path"
		listen   = "must be host:port with an IP address, localhost or nothing as the host"
		cidrs    = "must be CIDRs such as"
		origins  = "must be origins such as https://app.example.com"
	)
	for _, test := range []struct {
		name   string
		values []string
		// expected is what follows "NAME is VALUE, but ".
		expected string
	}{
		{"PORT", []string{"http", "-1", "65536", "8 0", "+80", "0x50"}, anyPort},
		{"BIND", []string{"example.com", "*", "127.0.0.1:80", "[127.0.0.1]", "[::1", "127.1", "300.0.0.1", "[localhost]", "unix:", "unix:s", "unix:/", "unix:/a/../b", "unix:/" + strings.Repeat("x", 90)}, host},
		{"TLS_CERT_FILE", []string{"cert.pem", "./c"}, "must be an absolute path"}, {"TLS_KEY_FILE", []string{"key.pem"}, "must be an absolute path"},
		{"ACME_DOMAINS", []string{",", "localhost", "a b.example", "*", "**.example.com", "x.*.example.com", "10.0.0.1", "https://a.example"}, "must be DNS names such as"},
		{"ACME_EMAIL", []string{"a b"}, text}, {"ACME_CACHE_DIR", []string{"acme"}, "must be an absolute path"},
		{"ACME_DIRECTORY", []string{"http://ca.example/d", "file:///d", "ca.example"}, "must be an https URL"},
		{"UNIX_SOCKET_MODE", []string{"rw", "0668", "1777", "-1"}, "must be an octal mode such as"},
		{"CLERK_JWKS_URL", []string{"http://clerk.example.com/jwks", "clerk.example.com", "ftp://clerk.example.com/jwks", "https://", ":"}, "must be an https URL, or an http URL of a loopback host, or a file URL such as file:///etc/wsproxy/jwks.json"},
		{"CLERK_JWKS_URL", []string{"file://keys/jwks.json", "file:jwks.json", "file:///", "file:///a?b"}, "must be an https URL, or an http URL of a loopback host, or a file URL such as file:///etc/wsproxy/jwks.json: "},
		{"JWT_ISSUER", []string{"https://clerk.example.com me", "a\nb"}, text},
		{"JWT_AUDIENCE", []string{"ws proxy", "\x00"}, text},
		{"JWT_AUTHORIZED_PARTIES", []string{"client_id", "https://app.example.com/path", "https://*.example.com", "*", "https://u@app.example.com", "https://app.example.com?x", "null", ","}, origins},
		{"ALLOWED_ORIGINS", []string{"none", "https://app.example.com/path", "https://app.example.com//", "app.example.com/path", ","}, origins},
		{"WEB_TERMINAL", []string{"true", "1", "On", "yes"}, "must be on or off"},
		{"WEB_TERMINAL_ANCESTORS", []string{"*", "https://*.example.com", "http://localhost:*", "null", "none", "app://-", "http://[::1]:80", "https://a.example/x", "https://a.example;script-src *", ","}, origins},
		{"TUNNEL_DOMAIN", []string{".example.com", "example.com..", "https://example.com", "example.com:80", "*", "*.", "*.*.example.com", "a.*.example.com", "a..b", "-a.com", "a-.com", "ex_ample.com", "bücher.example", "127.0.0.1", "::1", strings.Repeat("a", 64) + ".com"}, domain},
		{"TUNNEL_PUBLIC_URL", []string{"*.example.com", "https://example.com", "https://a.*.example.com", "https://*", "https://*.*.example.com", "https://x*.example.com", "https://*.example.com/path", "https://*.example.com?q", "https://*.example.com#f", "https://u@*.example.com", "ws://*.example.com", "https://*.example.com:0", "https://*.example.com:65536", "https://*.example.com:", "https://*.127.0.0.1"}, public},
		{"TUNNEL_PORT_MIN", []string{"0", "65536", "low"}, somePort},
		{"TUNNEL_PORT_MAX", []string{"0", "65536", "high"}, somePort},
		{"TUNNEL_BIND", []string{"localhost", "eth0", "10.0.0.0/8"}, "must be an IP address"},
		{"MAX_CONNS_PER_IP", []string{"-1", "ten", "1.5", "10000001", "99999999999999999999"}, noLimit},
		{"MAX_CONNS_PER_USER", []string{"-1", "none"}, noLimit},
		{"TUNNEL_RAW_HOST", []string{"raw.example.com:22", "https://raw.example.com", "*.example.com", "a..b", "127.1", "[::1]:22", "fe80::1%eth0", strings.Repeat("a.", 126) + "bb"}, "must be a DNS name or an IP address, without port"},
		{"MAX_TUNNEL_HTTP_PER_IP", []string{"-1"}, noLimit},
		{"MAX_TUNNEL_HTTP", []string{"x"}, noLimit},
		{"MAX_TUNNEL_TCP_CONNS", []string{"x"}, noLimit},
		{"MAX_TUNNEL_TCP_CONNS_GLOBAL", []string{"x"}, noLimit},
		{"MAX_TUNNEL_TCP_PER_IP", []string{"x", "-1"}, noLimit},
		{"TUNNEL_TCP_IDLE_TIMEOUT", []string{"60", "-1s", "999ms", "721h"}, "must be a duration such as 500ms, 30s or 2m, from 1s to 720h, or 0s"},
		{"MAX_HTTP_CONNS_PER_IP", []string{"-1", "x"}, noLimit},
		{"MAX_HTTP_CONNS", []string{"-1", "x"}, noLimit},
		{"BLOCKED_TARGETS", []string{"10.0.0.0/33", "private", "none,10.0.0.0/8", "10.0.0.0/8, none", ","}, cidrs},
		{"ALLOWED_TARGETS", []string{"10.0.0.0/33", "private", "none", ","}, cidrs},
		{"ALLOWED_PORTS", []string{"ssh", "0", "65536", "9-8", "1-", ","}, "must be ports and ranges of ports such as 22,2222,8000-8999"},
		{"TRUSTED_PROXIES", []string{"caddy", "10.0.0.0/33", ","}, cidrs},
		{"TUNNEL_CONTROL_FRAMES", []string{"json", "Text"}, "must be text, binary or gossh"},
		{"TUNNEL_BUFFER", []string{"0", "63KiB", "1025GiB", "32MB", "32M", "1.5MiB", "32 MiB", "-1MiB", "MiB", "99999999999GiB"}, buffer},
		{"TUNNEL_BUFFER_TOTAL", []string{"0", "much"}, buffer},
		{"TUNNEL_STALL_TIMEOUT", []string{"0", "3", "-3s", "9ms", "61m", "soon"}, timeout},
		{"TUNNEL_FORWARD_CREDENTIALS", []string{"yes", "TRUE", "2"}, "must be true, false, 1 or 0"},
		{"TUNNEL_HTTP_TIMEOUT", []string{"0", "60", "2h"}, timeout},
		{"TUNNEL_MAX_BODY", []string{"0", "2GiB", "big"}, body},
		{"RESUME_TIMEOUT", []string{"900", "-1s", "9ms", "25h", "never"}, "must be a duration such as 500ms, 30s or 2m, from 10ms to 24h, or 0s"},
		{"RESUME_BUFFER", []string{"0", "63KiB", "1MB"}, buffer},
		{"RESUME_BUFFER_TOTAL", []string{"-1", "1025GiB", "much"}, "must be a size such as 512KiB, 32MiB or 1GiB, from 0 to 1024GiB"},
		{"DIAL_TIMEOUT", []string{"0", "10", "2h"}, timeout},
		{"PING_INTERVAL", []string{"0", "30", "2h"}, timeout},
		{"SHUTDOWN_DELAY", []string{"-1s", "30", "2h"}, "must be a duration such as 500ms, 30s or 2m, from 10ms to 1h, or 0s"},
		{"SHUTDOWN_TIMEOUT", []string{"0", "30", "25h"}, "must be a duration such as 500ms, 30s or 2m, from 10ms to 24h"},
		{"MAX_SESSION_AGE", []string{"1", "999ms", "721h", "-1h", "never"}, "must be a duration such as 500ms, 30s or 2m, from 1s to 720h, or 0s"},
		{"METRICS_ADDR", []string{"9090", "127.0.0.1", "127.0.0.1:http", "127.0.0.1:65536", "example.com:9090", ":", "::1:9090", "unix:s"}, listen},
		{"LOG_LEVEL", []string{"INFO", "loud", "info+1"}, "must be debug, info, warn or error"},
		{"LOG_FORMAT", []string{"xml", "JSON"}, "must be json or text"},
	} {
		for _, value := range test.values {
			// The other variables of a rule that spans two are in order.
			_, err := Load([]string{test.name + "=" + value, "CLERK_JWKS_URL=https://clerk.example.com/jwks"})
			if err == nil {
				t.Errorf("%s=%q passed", test.name, value)
				continue
			}
			want := test.name + " is " + strconv.Quote(redact(value)) + ", but " + test.expected
			if !strings.HasPrefix(err.Error(), want) {
				t.Errorf("%s=%q:\n got %s\nwant %s ...", test.name, value, err, want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%s=%q has more than one line:\n%s", test.name, value, err)
			}
		}
	}
}

func TestLoadContradictions(t *testing.T) {
	for _, test := range []struct {
		env  []string
		want string
	}{
		{[]string{"TUNNEL_PORT_MIN=10001", "TUNNEL_PORT_MAX=10000"}, "TUNNEL_PORT_MIN is 10001 and TUNNEL_PORT_MAX is 10000, but the first must not be above the second"},
		{[]string{"TUNNEL_PORT_MIN=20000"}, "TUNNEL_PORT_MIN is 20000 and TUNNEL_PORT_MAX is 10100, but"},
		{[]string{"TUNNEL_BUFFER=2MiB", "TUNNEL_BUFFER_TOTAL=1MiB"}, `TUNNEL_BUFFER is "2MiB", but must not be above TUNNEL_BUFFER_TOTAL, which is 1048576 bytes`},
		{[]string{"TUNNEL_BUFFER=1GiB"}, `TUNNEL_BUFFER is "1GiB", but must not be above TUNNEL_BUFFER_TOTAL, which is 268435456 bytes`},
		{[]string{"TLS_CERT_FILE=/c"}, "TLS_CERT_FILE and TLS_KEY_FILE belong together"},
		{[]string{"TLS_KEY_FILE=/k"}, "TLS_CERT_FILE and TLS_KEY_FILE belong together"},
		{[]string{"ACME_DOMAINS=a.example"}, "ACME_CACHE_DIR is not set"},
		{[]string{"ACME_DOMAINS=*.a.example", "TUNNEL_DOMAIN=b.example", "ACME_CACHE_DIR=/a"}, `ACME_DOMAINS has "*.a.example" in it`},
		{[]string{"PROXY_PROTOCOL=on"}, "PROXY_PROTOCOL is on, but has no effect without TRUSTED_PROXIES"},
		{[]string{"TUNNEL_PROXY_PROTOCOL=on"}, "TUNNEL_PROXY_PROTOCOL is on, but has no effect without TRUSTED_PROXIES"},
		{[]string{"JWT_ISSUER=me"}, `JWT_ISSUER is "me", but has no effect without CLERK_JWKS_URL`},
		{[]string{"JWT_AUDIENCE=me"}, `JWT_AUDIENCE is "me", but has no effect without CLERK_JWKS_URL`},
		{[]string{"JWT_AUTHORIZED_PARTIES=https://me.example"}, `JWT_AUTHORIZED_PARTIES is "https://me.example", but has no effect without CLERK_JWKS_URL`},
		{[]string{"TUNNEL_DOMAIN=" + strings.Repeat("a.", 120) + "com"}, "TUNNEL_DOMAIN is"},
	} {
		_, err := Load(test.env)
		if err == nil {
			t.Errorf("%q passed", test.env)
		} else if !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%q:\n got %s\nwant %s ...", test.env, err, test.want)
		}
	}
}

func TestFormatSizeReadsBack(t *testing.T) {
	for _, n := range []int64{0, 1, 1000, kib, 64 * kib, 3 * mib, gib, maxBuffer} {
		if got, err := parseSize(formatSize(n)); err != nil || got != n {
			t.Errorf("%d became %q, read back as %d (%v)", n, formatSize(n), got, err)
		}
	}
}

func TestPasswordsAreNotShown(t *testing.T) {
	for text, want := range map[string]string{
		"https://user:secret@h.example/a?b@c": "https://xxxxx@h.example/a?xxxxx",
		"https://h.example/jwks?key=secret":   "https://h.example/jwks?xxxxx",
		"https://secret@h.example":            "https://xxxxx@h.example",
		"https://u:sec@ret@h.example:port":    "https://xxxxx@h.example:port",
		"https://h.example/@a":                "https://h.example/@a",
		"user@h.example":                      "user@h.example",
		"user:secret@h.example":               "xxxxx@h.example",
		"https://user:sec/ret@h.example":      "https://xxxxx@h.example",
		"https://a.example,https://u:p@b.com": "https://a.example,https://xxxxx@b.com",
		"https://h.example:8443/@a":           "https://h.example:8443/@a",
	} {
		if got := redact(text); got != want {
			t.Errorf("%q became %q, want %q", text, got, want)
		}
	}
	for _, pair := range []string{
		"CLERK_JWKS_URL=http://user:secret@h.example/jwks",
		"CLERK_JWKS_URL=user:secret@h.example/jwks",
		"ALLOWED_ORIGINS=https://a.example,https://user:secret@h.example",
		"JWT_AUTHORIZED_PARTIES=user:secret@h.example",
	} {
		_, err := Load([]string{pair})
		var page strings.Builder
		WriteHelp(&page, []string{pair})
		if err == nil || strings.Contains(err.Error()+page.String(), "secret") {
			t.Errorf("the password is in the error or on the page:\n%v\n%s", err, &page)
		}
	}
}
