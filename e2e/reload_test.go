package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A settings file is what CONFIG_FILE names.
type settings struct {
	t    *testing.T
	path string
}

func newSettings(t *testing.T, lines ...string) settings {
	s := settings{t, filepath.Join(t.TempDir(), "wsproxy.conf")}
	s.write(lines...)
	return s
}

func (f settings) write(lines ...string) {
	f.t.Helper()
	if err := os.WriteFile(f.path, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// reload has the server read other settings, and waits until it has.
func (f settings) reload(s *server, lines ...string) {
	f.t.Helper()
	const read, refused = `"msg":"the configuration was read again"`, `"msg":"the configuration can't be read again`
	count := func() int { return len(s.logLines(read)) + len(s.logLines(refused)) }
	before := count()
	f.write(lines...)
	s.signal(syscall.SIGHUP)
	eventually(f.t, patience, "the settings were read again", func() bool { return count() > before })
}

// An operator changes a server that runs: what is new counts for new sessions, those
// that there are go on.
func TestReload(t *testing.T) {
	t.Parallel()
	keys := filepath.Join(t.TempDir(), "jwks.json")
	publish := func(n int, kid string) {
		set := jsonOf(fields{"keys": []fields{jwkOf(kid, signingKeys()[n])}})
		if err := os.WriteFile(keys, set, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	publish(0, "first")
	f := newSettings(t, "# relays to this machine", "BLOCKED_TARGETS = none", "MAX_CONNS_PER_IP='1'", "CLERK_JWKS_URL=file://"+keys)
	s := start(t, "LOG_LEVEL=", "CONFIG_FILE="+f.path)
	token := signed(signingKeys()[0], fields{"kid": "first"}, claimsWith(nil))
	path := relayPath(echoServer(t), "token", token)
	first := open(t, s, path)
	full(t, s, path)

	same := []string{"BLOCKED_TARGETS=none", "CLERK_JWKS_URL=file://" + keys}
	f.reload(s, append(same, "MAX_CONNS_PER_IP=2", "DIAL_TIMEOUT=1s")...)
	line := s.waitLog(t, `"setting":"MAX_CONNS_PER_IP"`)
	if line["old"] != "1" || line["new"] != "2" {
		t.Errorf("the line is %v", line)
	}
	if line := s.waitLog(t, `"setting":"DIAL_TIMEOUT"`); line["holds"] != "10s" || line["wanted"] != "1s" {
		t.Errorf("the line is %v", line)
	}
	second := open(t, s, path)
	full(t, s, path)

	// Lower again, and another key, and not every origin: that ends nobody.
	publish(1, "second")
	f.reload(s, append(same, "MAX_CONNS_PER_IP=2", "ALLOWED_ORIGINS=https://app.example")...)
	eventually(t, patience, "the key is no more", func() bool {
		return ask(t, s, "GET", path, upgrading()...).status == http.StatusUnauthorized
	})
	path = relayPath(echoServer(t), "token", signed(signingKeys()[1], fields{"kid": "second"}, claimsWith(nil)))
	full(t, s, path)
	if r := ask(t, s, "GET", path, upgrading("Origin: https://other.example")...); r.status != http.StatusForbidden {
		t.Errorf("a page of another origin is answered %d", r.status)
	}
	echoed(t, first, "on the first")
	echoed(t, second, "on the second")

	// A file that can't be read changes nothing.
	f.reload(s, append(same, "MAX_CONNS_PER_IP=9", "LOG_LEVEL=loud", "s3cret")...)
	line = s.waitLog(t, `"level":"ERROR","msg":"the configuration can't`)
	if text, _ := line["error"].(string); !strings.Contains(text, "line 5: it must be NAME=value") || strings.Contains(s.log(), "s3cret") {
		t.Errorf("the line is %v", line)
	}
	full(t, s, path)
	goodbye(t, first)
	free(t, s, path)
	f.reload(s, append(same, "ALLOWED_PORTS=1")...)
	if r := ask(t, s, "GET", path, upgrading()...); r.status != http.StatusForbidden {
		t.Errorf("another port is answered %d", r.status)
	}
}

// SIGHUP never ends the process: many at once, with a bad file, while it drains.
func TestReloadStorm(t *testing.T) {
	t.Parallel()
	f := newSettings(t, "BLOCKED_TARGETS=none", "SHUTDOWN_TIMEOUT=1h")
	s := start(t, "CONFIG_FILE="+f.path)
	ws := open(t, s, relayPath(echoServer(t)))
	storm := func() {
		for i := range 300 {
			switch i % 100 {
			case 0:
				f.write("MAX_CONNS_PER_IP")
			case 50:
				f.write("BLOCKED_TARGETS=none", "SHUTDOWN_TIMEOUT=1h")
			}
			s.signal(syscall.SIGHUP)
			echoed(t, ws, "through the storm")
		}
	}
	storm()
	s.signal(syscall.SIGTERM)
	s.waitLog(t, `"msg":"draining`)
	storm()
	if s.hasEnded() {
		t.Fatal("the process has ended")
	}
	goodbye(t, ws)
	if code := s.wait(10 * time.Second); code != 0 {
		t.Errorf("it ends with %d", code)
	}
}
