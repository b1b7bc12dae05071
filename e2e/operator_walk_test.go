package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"
)

// What an operator does on a day, behind HAProxy with two servers: looks, has a page's
// origin refused and finds that in metrics and log, sees who is there, closes a session,
// changes settings, and drains one of the servers.
func TestOperatorsWalk(t *testing.T) {
	t.Parallel()
	file := newSettings(t, "MAX_CONNS_PER_IP=10")
	f, a, b := deployHAProxy(t, []string{"ADMIN_TOKEN=" + adminToken, "CONFIG_FILE=" + file.path})
	tunnel, root := f.wantServed(t, a, b)
	leaves, stays := a, b
	if strings.HasSuffix(root, ".b."+tunnelDomain) {
		leaves, stays = b, a
	}
	both := func(name string) int { return int(a.metricLike(t, name) + b.metricLike(t, name)) }
	if relays, tunnels, answers := both("wsproxy_relay_sessions_started_total"), both("wsproxy_tunnels"), both("wsproxy_tunnel_http_seconds_count"); relays != 1 || tunnels != 1 || answers < 3 {
		t.Errorf("metrics show %d relays, %d tunnels and %d answers", relays, tunnels, answers)
	}

	// Only the pages of one origin may come in from now on.
	for _, s := range []*server{a, b} {
		file.reload(s, "MAX_CONNS_PER_IP=10", "ALLOWED_ORIGINS=https://app.example.com")
	}
	visit := func(origin string) (*websocket.Conn, int) {
		dialer := websocket.Dialer{HandshakeTimeout: patience, TLSClientConfig: f.tls(t), NetDialContext: f.dialFrom(fromElsewhere)}
		ws, response, err := dialer.Dial(f.url()+relayPath(echoServer(t)), http.Header{"Origin": {origin}})
		if response == nil {
			t.Fatal(err)
		}
		return ws, response.StatusCode
	}
	if _, status := visit("https://elsewhere.example.com"); status != http.StatusForbidden {
		t.Errorf("a page of another origin is answered %d", status)
	}
	if n := both(`wsproxy_refused_total{endpoint="relay",reason="origin"}`); n != 1 {
		t.Errorf("metrics show %d refused origins", n)
	}
	told := append(a.logLines(`"reason":"origin"`), b.logLines(`"reason":"origin"`)...)
	if len(told) != 1 || told[0]["msg"] != "refused" || told[0]["origin"] != "https://elsewhere.example.com" || told[0]["source"] != fromElsewhere {
		t.Errorf("the log says %v", told)
	}

	// Who is there, and one less.
	ws, status := visit("https://app.example.com")
	if status != http.StatusSwitchingProtocols {
		t.Fatalf("a page of the origin is answered %d", status)
	}
	defer ws.Close()
	echo(t, ws, "hello")
	closed := 0
	for _, s := range []*server{a, b} {
		cmd := exec.Command(binaryPath, "top", "--json", "--interval", "200ms", "http://"+s.metricsAddr(t))
		cmd.Env = []string{"GORACE=atexit_sleep_ms=0", "WSPROXY_ADMIN_TOKEN=" + adminToken}
		out, err := cmd.Output()
		var shown struct{ Sessions []lookedAt }
		if err != nil || json.Unmarshal(out, &shown) != nil {
			t.Fatalf("top prints %s, %v", out, err)
		}
		for _, session := range shown.Sessions {
			if session.Kind == "tunnel" {
				continue
			}
			if r := admin(t, s, "POST", "/debug/sessions/"+session.ID+"/close"); r.status == http.StatusOK {
				closed++
			}
		}
	}
	if code, text := closing(t, ws); closed != 1 || code != websocket.ClosePolicyViolation || !strings.Contains(text, "operator") {
		t.Errorf("%d relays are closed, with %d %q", closed, code, text)
	}

	// One of the two is drained: its tunnel answers every request until it ends itself, no
	// relay is refused, and new ones go to the other server.
	load := startDeployLoad(t, f, root)
	load.wantMore(t, 50)
	leaves.signal(syscall.SIGTERM)
	sources := 0
	relay := func() {
		sources++
		f.wantRelay(t, fmt.Sprintf("127.0.0.%d", 2+sources%20)) // by which HAProxy chooses
	}
	for len(leaves.logLines(`"msg":"draining`)) == 0 {
		relay()
	}
	const started = "wsproxy_relay_sessions_started_total" // a log leaves some out
	before, others := stays.metric(t, started), leaves.metric(t, started)
	for range 20 {
		relay()
	}
	if new, old := stays.metric(t, started)-before, leaves.metric(t, started)-others; new != 20 || old != 0 {
		t.Errorf("of 20 new relays %d go to the server that drains, %d to the other", old, new)
	}
	load.wantMore(t, 50)
	load.end()
	tunnel.interrupt()
	tunnel.wait()
	if code := leaves.wait(patience); code != 0 {
		t.Errorf("the server that was drained ends with %d", code)
	}
	f.wantRelay(t, fromElsewhere)
}
