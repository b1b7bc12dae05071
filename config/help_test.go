package config

import (
	"slices"
	"strings"
	"testing"
)

// contract is every variable that operators rely on, with what --help says of
// its default.
var contract = []struct{ name, shown string }{
	{"PORT", "8080"},
	{"BIND", "all interfaces"}, {"UNIX_SOCKET_MODE", "0660"},
	{"TLS_CERT_FILE", "no TLS of its own"}, {"TLS_KEY_FILE", "no TLS of its own"},
	{"ACME_DOMAINS", "no certificates by ACME"}, {"ACME_EMAIL", "none"}, {"ACME_CACHE_DIR", "none"}, {"ACME_DIRECTORY", "https://acme-v02.api.letsencrypt.org/directory"},
	{"CLERK_JWKS_URL", "no authentication"},
	{"JWT_ISSUER", "any"},
	{"JWT_AUDIENCE", "any"},
	{"JWT_AUTHORIZED_PARTIES", "any"},
	{"END_WITH_TOKEN", "false"},
	{"ALLOWED_ORIGINS", "*"},
	{"WEB_TERMINAL", "off"}, {"WEB_TERMINAL_ANCESTORS", "none"},
	{"TUNNEL_DOMAIN", "tunnels off"},
	{"TUNNEL_PUBLIC_URL", "https://*.<TUNNEL_DOMAIN>"},
	{"TUNNEL_PORT_MIN", "10000"},
	{"TUNNEL_PORT_MAX", "10100"},
	{"TUNNEL_BIND", "all interfaces"}, {"TUNNEL_PROXY_PROTOCOL", "off"},
	{"TUNNEL_RAW_HOST", "TUNNEL_DOMAIN"},
	{"MAX_CONNS_PER_IP", "10"},
	{"MAX_CONNS_PER_USER", "20"},
	{"MAX_TUNNEL_HTTP_PER_IP", "50"},
	{"MAX_TUNNEL_HTTP", "100"},
	{"MAX_TUNNEL_TCP_CONNS", "100"},
	{"MAX_TUNNEL_TCP_CONNS_GLOBAL", "1000"},
	{"MAX_TUNNEL_TCP_PER_IP", "32"},
	{"TUNNEL_TCP_IDLE_TIMEOUT", "0s"},
	{"MAX_HTTP_CONNS_PER_IP", "256"},
	{"MAX_HTTP_CONNS", "up to 4096"},
	{"MAX_BYTES_PER_SECOND_PER_USER", "0"},
	{"BLOCKED_TARGETS", "special-purpose ranges"},
	{"ALLOWED_TARGETS", "no exemption"},
	{"ALLOWED_PORTS", "any"},
	{"TRUSTED_PROXIES", "none"}, {"PROXY_PROTOCOL", "off"},
	{"TUNNEL_CONTROL_FRAMES", "text"},
	{"TUNNEL_BUFFER", "32MiB"},
	{"TUNNEL_BUFFER_TOTAL", "256MiB"},
	{"TUNNEL_STALL_TIMEOUT", "3s"},
	{"TUNNEL_FORWARD_CREDENTIALS", "false"},
	{"TUNNEL_HTTP_TIMEOUT", "60s"},
	{"TUNNEL_MAX_BODY", "10MiB"},
	{"TUNNEL_NAME_SECRET", "names are ignored"},
	{"RESUME_TIMEOUT", "15m"},
	{"RESUME_BUFFER", "1MiB"},
	{"RESUME_BUFFER_TOTAL", "256MiB"},
	{"MAX_SESSION_AGE", "0s"},
	{"DIAL_TIMEOUT", "10s"},
	{"PING_INTERVAL", "30s"},
	{"SHUTDOWN_TIMEOUT", "4s"},
	{"SHUTDOWN_DELAY", "0s"},
	{"METRICS_ADDR", "off"},
	{"ADMIN_TOKEN", "off"},
	{"LOG_LEVEL", "info"},
	{"LOG_FORMAT", "json"},
	{"CONFIG_FILE", "none"},
}

func TestHelpListsEveryVariable(t *testing.T) {
	var page strings.Builder
	WriteHelp(&page, nil)
	lines := strings.Split(page.String(), "\n")
	header := slices.IndexFunc(lines, func(line string) bool { return strings.HasPrefix(line, "VARIABLE") })
	if header < 0 {
		t.Fatalf("no table:\n%s", &page)
	}
	rows := lines[header+1:]
	if len(rows) != len(contract)+1 || rows[len(contract)] != "" {
		t.Fatalf("%d rows, want one for each of %d variables:\n%s", len(rows)-1, len(contract), &page)
	}
	defaults, meanings := strings.Index(lines[header], "DEFAULT"), strings.Index(lines[header], "MEANING")
	for i, want := range contract {
		row := rows[i]
		if name := strings.TrimSpace(row[:defaults]); name != want.name {
			t.Errorf("row %d is of %s, want %s", i, name, want.name)
		}
		if shown := strings.TrimSpace(row[defaults:meanings]); shown != want.shown {
			t.Errorf("%s: default %q, want %q", want.name, shown, want.shown)
		}
		if len(row) <= meanings {
			t.Errorf("%s has no meaning: %q", want.name, row)
		}
	}
	for _, way := range []string{"wsproxy healthcheck", "wsproxy --help", "wsproxy --version"} {
		if !strings.Contains(page.String(), way) {
			t.Errorf("the page doesn't say %q", way)
		}
	}
}

// A secret is shown nowhere: not where it is good, nor where it is bad.
func TestSecretIsNotShown(t *testing.T) {
	for _, value := range []string{"s3cr3t", "s3cr3t://user:s3cr3t@s3cr3t/s3cr3t?s3cr3t"} {
		var page strings.Builder
		WriteHelp(&page, []string{"TUNNEL_NAME_SECRET=" + value, "PORT=http"})
		_, err := Load([]string{"TUNNEL_NAME_SECRET=" + value, "PORT=http"})
		if all := page.String() + err.Error(); strings.Contains(all, "s3cr3t") {
			t.Errorf("the secret is shown:\n%s", all)
		}
	}
	want := "TUNNEL_NAME_SECRET is a secret of 6 bytes, but must be at least 32 bytes long"
	if _, err := Load([]string{"TUNNEL_NAME_SECRET=s3cr3t"}); err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
	want = "ADMIN_TOKEN is a secret of 15 bytes, but must be at least 16 bytes long"
	if _, err := Load([]string{"ADMIN_TOKEN=0123456789abcde"}); err == nil || err.Error() != want {
		t.Errorf("the error is %v, want %s", err, want)
	}
}

func TestHelpShowsWhatIsSet(t *testing.T) {
	var page strings.Builder
	WriteHelp(&page, []string{"PORT=9000", "BIND=", "LOG_LEVEL=loud", "JWT_ISSUER=a\x1b[31m"})
	for _, want := range []string{
		`= "9000"` + "\n",
		`= "loud", which can't be read` + "\n",
		`= "a\x1b[31m"`,
		"\nWhat is set now would end the start:\n",
		"\n" + `LOG_LEVEL is "loud", but must be debug, info, warn or error` + "\n",
	} {
		if !strings.Contains(page.String(), want) {
			t.Errorf("the page doesn't say %q:\n%s", want, &page)
		}
	}
	if n := strings.Count(page.String(), "  = \""); n != 3 {
		t.Errorf("%d values are shown, want 3:\n%s", n, &page)
	}
}
