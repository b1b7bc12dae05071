package server

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"wsproxy/auth"
	"wsproxy/config"
	"wsproxy/metrics"
)

// startWatched starts a server whose metrics can be asked for.
func startWatched(t *testing.T, env ...string) (s *service, address string, scrape func() string) {
	t.Helper()
	s, address = startForRestarts(t, freePorts(t, 2), 2, append(env, "METRICS_ADDR=127.0.0.1:0", "BLOCKED_TARGETS=none")...)
	t.Cleanup(func() { s.close(context.WithoutCancel(t.Context())) })
	handler := s.servers[len(s.servers)-1].Handler
	return s, address, func() string {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
		return "\n" + answer.Body.String()
	}
}

// wantLines waits until all of these lines are shown.
func wantLines(t *testing.T, scrape func() string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		awaitTrue(t, line, func() bool { return strings.Contains(scrape(), "\n"+line+"\n") })
	}
}

// An operator sees what a session moves while it lives, which may be for days, and how
// long it took to begin.
func TestRelaysAreSeenWhileTheyLive(t *testing.T) {
	_, address, scrape := startWatched(t)
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	go func() {
		for {
			conn, err := target.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn); conn.Close() }()
		}
	}()
	at := url.Values{"host": {"127.0.0.1"}, "port": {target.Addr().String()[len("127.0.0.1:"):]}}
	for i, protocols := range [][]string{nil, {"wsproxy.resume", "wsproxy.v1"}} {
		dialer := websocket.Dialer{Subprotocols: protocols}
		ws, _, err := dialer.Dial("ws://"+address+"/relay?"+at.Encode(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer ws.Close()
		message := make([]byte, 1000)
		if protocols != nil { // whose messages say where they end
			message = binary.BigEndian.AppendUint64(message, 1000)
		}
		if err := ws.WriteMessage(websocket.BinaryMessage, message); err != nil {
			t.Fatal(err)
		}
		wantLines(t, scrape,
			fmt.Sprintf("wsproxy_relay_sessions %d", i+1),
			fmt.Sprintf("wsproxy_relay_sessions_started_total %d", i+1),
			fmt.Sprintf(`wsproxy_relay_bytes_total{direction="up"} %d`, 1000*(i+1)),
			fmt.Sprintf(`wsproxy_relay_bytes_total{direction="down"} %d`, 1000*(i+1)),
			fmt.Sprintf(`wsproxy_dial_seconds_count{outcome="ok"} %d`, i+1),
			fmt.Sprintf(`wsproxy_handshake_seconds_count{endpoint="relay"} %d`, i+1),
			fmt.Sprintf(`wsproxy_http_responses_total{class="1xx",endpoint="relay"} %d`, i+1),
			`wsproxy_lookup_seconds_count{outcome="ok"} 0`, // the target is an address
			`wsproxy_relay_sessions_ended_total{reason="client_closed"} 0`,
		)
	}
}

// The same of a tunnel, of a raw connection, and of HTTP.
func TestTunnelsAreSeenWhileTheyLive(t *testing.T) {
	s, address, scrape := startWatched(t)
	wantLines(t, scrape, "wsproxy_raw_ports 2", "wsproxy_raw_ports_free 2", "wsproxy_draining 0")
	c := openRestartTunnel(t, address)
	c.wantServed()
	if _, _, err := c.get("/again"); err != nil {
		t.Fatal(err)
	}
	conn := c.dial()
	defer conn.Close()
	c.wantEcho(conn)
	wantLines(t, scrape, "wsproxy_raw_ports_free 1", "wsproxy_tunnels 1", "wsproxy_tunnels_started_total 1",
		`wsproxy_http_responses_total{class="2xx",endpoint="http"} 2`,
		"wsproxy_tunnel_http_first_byte_seconds_count 2", "wsproxy_tunnel_http_seconds_count 2",
		`wsproxy_handshake_seconds_count{endpoint="tunnel"} 1`, "wsproxy_raw_connections_started_total 2")
	raw := regexp.MustCompile(`\nwsproxy_raw_bytes_total\{direction="(in|out)"\} [1-9]`)
	tunnel := regexp.MustCompile(`\nwsproxy_tunnel_bytes_total\{direction="(from|to)_client"\} [1-9]`)
	if shown := scrape(); len(raw.FindAllString(shown, -1)) != 2 || len(tunnel.FindAllString(shown, -1)) != 2 {
		t.Errorf("bytes are not shown: %q, %q", raw.FindAllString(shown, -1), tunnel.FindAllString(shown, -1))
	}
	hung := make(chan int, 1)
	go func() {
		status, _, _ := c.get("/hang")
		hung <- status
	}()
	await(t, "the request that hangs", c.hung)
	wantLines(t, scrape, "wsproxy_tunnel_http_requests 1", "wsproxy_tunnel_http_waiting 0", `wsproxy_actor_failures_total{actor="handler"} 0`)
	for len(c.conns) > 0 {
		<-c.conns
	}
	c.fail()
	await(t, "the answer to the request that hung", hung)
	wantLines(t, scrape, "wsproxy_tunnel_http_requests 0", `wsproxy_actor_failures_total{actor="handler"} 1`)
	s.edge.Drain()
	wantLines(t, scrape, "wsproxy_draining 1")
}

// Handshakes that fail are counted by their status, also where net/http doesn't write it.
func TestAnswersAreCountedByClass(t *testing.T) {
	_, address, scrape := startWatched(t)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /relay?host=127.0.0.1&port=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\nearly")
	for _, path := range []string{"/health", "/nothing", "/relay?host=a&port=0"} {
		answer, err := http.Get("http://" + address + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
	}
	wantLines(t, scrape,
		`wsproxy_http_responses_total{class="1xx",endpoint="relay"} 0`, `wsproxy_http_responses_total{class="4xx",endpoint="relay"} 2`,
		`wsproxy_http_responses_total{class="2xx",endpoint="own"} 1`, `wsproxy_http_responses_total{class="4xx",endpoint="own"} 1`)
}

type fixedAuth struct{ err error }

func (a fixedAuth) Verify(context.Context, string) (auth.Identity, error) {
	return auth.Identity{}, a.err
}

func TestAuthenticationsAreCounted(t *testing.T) {
	m := metrics.New()
	counted := countAuthentications(fixedAuth{&auth.Error{Reason: auth.ReasonExpired}}, m)
	if _, err := counted.Verify(t.Context(), ""); err == nil {
		t.Error("an error is lost")
	}
	if _, err := (countedAuth{fixedAuth{}, counted.(countedAuth).count}).Verify(t.Context(), ""); err != nil {
		t.Error(err)
	}
	answer := httptest.NewRecorder()
	m.HTTP().Handler.ServeHTTP(answer, httptest.NewRequest("GET", "/metrics", nil))
	for outcome, n := range map[string]int{"ok": 1, "expired": 1, "missing": 0, "other": 0} {
		if line := fmt.Sprintf("\nwsproxy_authentications_total{outcome=%q} %d\n", outcome, n); !strings.Contains(answer.Body.String(), line) {
			t.Errorf("/metrics doesn't say %s", line)
		}
	}
}

// Every variable that bounds something is shown with what holds.
func TestEveryBoundIsShown(t *testing.T) {
	c, err := config.Load([]string{"MAX_CONNS_PER_IP=7", "RESUME_BUFFER=2MiB", "DIAL_TIMEOUT=1500ms"})
	if err != nil {
		t.Fatal(err)
	}
	shown := make(map[string]float64)
	for _, l := range limitsOf(c) {
		shown[l.Variable] = l.Value
	}
	if shown["MAX_CONNS_PER_IP"] != 7 || shown["RESUME_BUFFER"] != 2<<20 || shown["DIAL_TIMEOUT"] != 1.5 {
		t.Errorf("the bounds are %v", shown)
	}
	bounds := regexp.MustCompile(`^MAX_|_MAX_BODY$|_BUFFER(_TOTAL)?$|_TIMEOUT$|_DELAY$|_INTERVAL$`)
	for _, setting := range c.Settings(nil) {
		if _, ok := shown[setting.Name]; ok != bounds.MatchString(setting.Name) {
			t.Errorf("whether %s is shown: %v", setting.Name, ok)
		}
	}
}

// families returns the names of all metrics of wsproxy's own, as a server shows them that
// has everything.
func families(t *testing.T) (names []string, text string) {
	t.Helper()
	_, _, scrape := startWatched(t, "CLERK_JWKS_URL=http://127.0.0.1:1/", "ADMIN_TOKEN=0123456789abcdef")
	text = scrape()
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (wsproxy_\w+) `).FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	if len(names) < 30 {
		t.Fatalf("there are %d metrics", len(names))
	}
	return names, text
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// promtool runs promtool in a directory, with an input.
func promtool(t *testing.T, dir, input string, arguments ...string) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "promtool", arguments...)
	command.Dir, command.Stdin = dir, strings.NewReader(input)
	if out, err := command.CombinedOutput(); err != nil || strings.Contains(string(out), "no help text") {
		t.Errorf("promtool %s: %v\n%s", strings.Join(arguments, " "), err, out)
	}
}

// Names, units and help texts are as Prometheus wants them, and the documents have a row
// for each metric, and none for one that there isn't.
func TestMetricsAreSoundAndDocumented(t *testing.T) {
	names, text := families(t)
	promtool(t, ".", text[1:], "check", "metrics")
	var documented []string
	for _, m := range regexp.MustCompile("(?m)^\\| `(wsproxy_\\w+)` \\|").FindAllStringSubmatch(read(t, "docs/metrics.md"), -1) {
		documented = append(documented, m[1])
	}
	for _, name := range names {
		if !slices.Contains(documented, name) {
			t.Errorf("docs/metrics.md has no row for %s", name)
		}
	}
	for _, name := range documented {
		if !slices.Contains(names, name) {
			t.Errorf("docs/metrics.md has a row for %s, which there isn't", name)
		}
	}
}

// wantKnown fails if a query names a metric that there isn't.
func wantKnown(t *testing.T, names []string, query string) {
	t.Helper()
	for _, name := range regexp.MustCompile(`\bwsproxy_\w+`).FindAllString(query, -1) {
		base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		if !slices.Contains(names, name) && !slices.Contains(names, base) {
			t.Errorf("there is no %s, which is asked for by %s", name, query)
		}
	}
}

// The alerts are said when they should be, ask for what there is, and the documents have
// a row for each.
func TestAlertsWork(t *testing.T) {
	dir, err := filepath.Abs("../deploy/prometheus")
	if err != nil {
		t.Fatal(err)
	}
	promtool(t, dir, "", "check", "rules", "wsproxy.rules.yml")
	promtool(t, dir, "", "test", "rules", "wsproxy.rules.test.yml")
	names, _ := families(t)
	rules, tests, documents := read(t, "deploy/prometheus/wsproxy.rules.yml"), read(t, "deploy/prometheus/wsproxy.rules.test.yml"), read(t, "docs/operations.md")
	alerts := regexp.MustCompile(`- alert: (\w+)\n +expr: '(.*)'`).FindAllStringSubmatch(rules, -1)
	if len(alerts) == 0 || len(alerts) != strings.Count(rules, "alert:") {
		t.Fatalf("%d alerts are understood", len(alerts))
	}
	for _, a := range alerts {
		wantKnown(t, names, a[2])
		if n := strings.Count(tests, "alertname: "+a[1]+"\n"); n < 2 {
			t.Errorf("%s is tested %d times", a[1], n)
		}
		if !strings.Contains(documents, "\n| `"+a[1]+"` |") {
			t.Errorf("docs/operations.md has no row for %s", a[1])
		}
	}
}
