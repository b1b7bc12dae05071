package e2e

import (
	"context"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A server on a Unix socket does all that it does on a port; whom its proxy names counts.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "wsproxy-unix-") // a test's own may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path, metrics := filepath.Join(dir, "http"), filepath.Join(dir, "metrics")
	env := []string{"BIND=unix:" + path, "UNIX_SOCKET_MODE=0600", "TRUSTED_PROXIES=unix", "METRICS_ADDR=unix:" + metrics, "ADMIN_TOKEN=" + adminToken, "SHUTDOWN_TIMEOUT=100ms", allowLoopback()}
	s := tunnelServer(t, env...)
	if info, err := os.Lstat(path); err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("the socket is %v, %v", info, err)
	}
	dial := func(path string) func(context.Context, string, string) (net.Conn, error) {
		return func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", path) }
	}
	d := doorway{dial: dial(path), scheme: "ws", host: "proxy", header: http.Header{"X-Forwarded-For": {"203.0.113.9"}}}
	d.wantWhole(t, s)
	if source := s.waitLog(t, `"relay started"`)["source"]; source != "203.0.113.9" {
		t.Errorf("the relay is of %v", source)
	}
	answer, err := doorway{dial: dial(metrics)}.client(t).Get("http://proxy/metrics")
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("metrics: %v, %v", answer, err)
	} else {
		answer.Body.Close()
	}
	if code, _, stderr := runCommand(t, env, "healthcheck"); code != 0 {
		t.Errorf("healthcheck: %d, %s", code, stderr)
	}
	if code, out, stderr := runCommand(t, []string{"WSPROXY_ADMIN_TOKEN=" + adminToken}, "top", "--json", "--interval", "200ms", "unix:"+metrics); code != 0 || !strings.Contains(out, `"sessions":[`) {
		t.Errorf("top: %d, %s%s", code, out, stderr)
	}
	second := launch(t, env...)
	if code := second.wait(patience); code != 1 || !strings.Contains(second.log(), "already") {
		t.Errorf("a second server ends with %d", code)
	}
	s.signal(os.Interrupt)
	if code := s.wait(patience); code != 0 {
		t.Errorf("the server ends with %d", code)
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("it leaves %v", entries)
	}

	killed := tunnelServer(t, env...)
	_ = killed.process.Kill()
	killed.wait(patience)
	if code, _, stderr := runCommand(t, env, "healthcheck"); code != 1 || !strings.Contains(stderr, path) {
		t.Errorf("healthcheck of one that was killed: %d, %s", code, stderr)
	}
	tunnelServer(t, env...) // takes the place of what was left
}
