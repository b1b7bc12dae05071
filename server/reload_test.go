package server

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wsproxy/config"
)

// A rig of a reloader is a server with a file of settings.
type reloadRig struct {
	*reloader
	t    *testing.T
	path string
	out  bytes.Buffer // what was logged
}

func newReloadRig(t *testing.T, settings string) *reloadRig {
	r := &reloadRig{t: t, path: filepath.Join(t.TempDir(), "wsproxy.conf")}
	r.write(settings)
	env, err := config.ReadEnvironment([]string{"PORT=0", "BIND=127.0.0.1", "TUNNEL_DOMAIN=t.example", "CONFIG_FILE=" + r.path})
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(env.Pairs)
	if err != nil {
		t.Fatal(err)
	}
	level := new(slog.LevelVar)
	level.Set(c.LogLevel)
	s, err := start(c, "test", newLogger(level, "json", &r.out))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.close(t.Context()) })
	r.reloader = &reloader{service: s, level: level, env: env}
	r.out.Reset()
	return r
}

func (r *reloadRig) write(settings string) {
	r.t.Helper()
	if err := os.WriteFile(r.path, []byte(settings), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// lines returns what is logged by reading other settings.
func (r *reloadRig) lines(settings string) (lines []map[string]any) {
	r.t.Helper()
	r.write(settings)
	r.out.Reset()
	r.reload()
	for line := range strings.Lines(r.out.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			r.t.Fatal(err)
		}
		delete(fields, "time")
		lines = append(lines, fields)
	}
	return lines
}

// wantLines fails unless these are the lines, each as JSON without its time.
func (r *reloadRig) wantLines(settings string, want ...string) {
	r.t.Helper()
	lines := r.lines(settings)
	for i := range max(len(lines), len(want)) {
		got, expected := "none", "none"
		if i < len(lines) {
			text, _ := json.Marshal(lines[i])
			got = string(text)
		}
		if i < len(want) {
			expected = want[i]
		}
		if got != expected {
			r.t.Errorf("line %d is\n%s, want\n%s", i, got, expected)
		}
	}
}

func TestReloadLines(t *testing.T) {
	r := newReloadRig(t, "MAX_CONNS_PER_IP=5\nTUNNEL_NAME_SECRET=s3cret-s3cret-s3cret-s3cret-s3cret\n")
	r.wantLines("MAX_CONNS_PER_IP=6\nTUNNEL_NAME_SECRET=s3cret-s3cret-s3cret-s3cret-s3creT\nPORT=9000\nDIAL_TIMEOUT=3s\nJWT_ISSUERS=x\n",
		`{"level":"INFO","msg":"a setting has changed","new":"6","old":"5","setting":"MAX_CONNS_PER_IP"}`,
		`{"holds":"a secret of 34 bytes","level":"WARN","msg":"a setting can't change while the server runs: restart it for that","setting":"TUNNEL_NAME_SECRET","wanted":"a secret of 34 bytes"}`,
		`{"holds":"10s","level":"WARN","msg":"a setting can't change while the server runs: restart it for that","setting":"DIAL_TIMEOUT","wanted":"3s"}`,
		`{"level":"WARN","looks_like":"JWT_ISSUER","msg":"a setting of CONFIG_FILE has no effect: its name looks like one of wsproxy's, but is none","setting":"JWT_ISSUERS"}`,
		`{"level":"WARN","msg":"a setting of CONFIG_FILE has no effect: the environment sets it, and comes first","setting":"PORT"}`,
		`{"changed":1,"level":"INFO","msg":"the configuration was read again","refused":2}`)
	if c := r.service.holds.Load(); c.MaxConnsPerIP != 6 || c.DialTimeout.String() != "10s" {
		t.Errorf("then holds %+v", c)
	}
	// One line, whatever is wrong, and nothing of it counts.
	lines := r.lines("MAX_CONNS_PER_IP=7\nLOG_LEVEL=loud\nMAX_CONNS_PER_USER=many\n")
	if len(lines) != 1 || lines[0]["level"] != "ERROR" || !strings.Contains(lines[0]["error"].(string), `; LOG_LEVEL is "loud"`) || r.service.holds.Load().MaxConnsPerIP != 6 {
		t.Errorf("of a bad file there is %v", lines)
	}
	lines = r.lines("MAX_CONNS_PER_IP=7\nPORT\n'\n")
	if len(lines) != 1 || !strings.HasSuffix(lines[0]["error"].(string), `can't be read: line 2: it must be NAME=value, or begin with #; line 3: it must be NAME=value, or begin with #`) {
		t.Errorf("of a file that can't be read there is %v", lines)
	}
	if err := os.Remove(r.path); err != nil {
		t.Fatal(err)
	}
	r.out.Reset()
	r.reload()
	if !strings.Contains(r.out.String(), "no such file") || r.service.holds.Load().MaxConnsPerIP != 6 {
		t.Errorf("of a file that is gone there is %s", &r.out)
	}
	// Back to what it was started with, by default.
	r.wantLines("TUNNEL_NAME_SECRET=s3cret-s3cret-s3cret-s3cret-s3cret\n",
		`{"level":"INFO","msg":"a setting has changed","new":"10","old":"6","setting":"MAX_CONNS_PER_IP"}`,
		`{"changed":1,"level":"INFO","msg":"the configuration was read again","refused":0}`)
}

// What is said to have changed has: the level, lists and what metrics show.
func TestReloadApplies(t *testing.T) {
	r := newReloadRig(t, "")
	target, proxy := netip.MustParseAddrPort("10.0.0.1:22"), netip.MustParseAddr("10.0.0.2")
	judged := func() (reached, trusted bool) {
		return r.service.policy.Judge(target) == nil, r.service.sources.Trusted(proxy)
	}
	if reached, trusted := judged(); reached || trusted {
		t.Fatalf("at first reached: %v, trusted: %v", reached, trusted)
	}
	r.lines("LOG_LEVEL=warn\nALLOWED_TARGETS=10.0.0.0/8\nTRUSTED_PROXIES=10.0.0.0/8\nMAX_TUNNEL_HTTP=7\n")
	if !strings.Contains(r.out.String(), `"setting":"LOG_LEVEL","old":"info","new":"warn"`) || r.level.Level() != slog.LevelWarn {
		t.Errorf("of a change that leaves warnings alone there is %s", &r.out)
	}
	if reached, trusted := judged(); !reached || !trusted {
		t.Errorf("then reached: %v, trusted: %v", reached, trusted)
	}
	for _, limit := range limitsOf(*r.service.holds.Load()) {
		if limit.Variable == "MAX_TUNNEL_HTTP" && limit.Value != 7 {
			t.Errorf("metrics show %+v", limit)
		}
	}
	if lines := r.lines(""); len(lines) != 5 {
		t.Errorf("going back, the lines are %v", lines)
	}
	if reached, trusted := judged(); reached || trusted {
		t.Errorf("at last reached: %v, trusted: %v", reached, trusted)
	}
}
