package e2e

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"
)

const adminToken = "0123456789abcdef"

// A lookedAt is a session as /debug/sessions shows it.
type lookedAt struct {
	ID, Kind, User, Source, Target, State string
	Age                                   float64 `json:"age_seconds"`
	Resumed                               int
	FromClient                            int64 `json:"bytes_from_client"`
	ToClient                              int64 `json:"bytes_to_client"`
	Tunnel                                *struct {
		Subdomain   string
		Port        int `json:"raw_port"`
		Connections int
	}
}

// admin asks an admin endpoint of a server.
func admin(t *testing.T, s *server, method, path string) reply {
	t.Helper()
	return ask(t, &server{addr: s.metricsAddr(t)}, method, path, "Authorization: Bearer "+adminToken)
}

// sessions returns what /debug/sessions shows, by id.
func (s *server) sessions(t *testing.T) map[string]lookedAt {
	t.Helper()
	r := admin(t, s, "GET", "/debug/sessions")
	var all struct{ Sessions []lookedAt }
	if err := json.Unmarshal([]byte(r.body), &all); err != nil || r.status != 200 {
		t.Fatalf("/debug/sessions: %d %s, %v", r.status, r.body, err)
	}
	sessions := make(map[string]lookedAt)
	for _, session := range all.Sessions {
		sessions[session.ID] = session
	}
	return sessions
}

// one returns the session with this target, or of a tunnel.
func (s *server) one(t *testing.T, target string) lookedAt {
	t.Helper()
	for _, session := range s.sessions(t) {
		if session.Target == target {
			return session
		}
	}
	t.Fatalf("no session leads to %q", target)
	panic("unreachable")
}

// An operator sees who is connected to what, and ends it. Log and metrics say so.
func TestOperatorClosesSessions(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, allowLoopback(), "METRICS_ADDR=127.0.0.1:0", "ADMIN_TOKEN="+adminToken)
	plainTarget, plainConns := handServer(t)
	ws := open(t, s, relayPath(plainTarget))
	plain := accept(t, plainConns)
	target, conns := handServer(t)
	h := resumeBegin(t, s.direct(), relayPath(target))
	conn := accept(t, conns)
	_ = h.data(5, []byte("hello"))
	h.cut()
	eventually(t, patience, "the session is detached", func() bool { return s.one(t, target.String()).State == "detached" })
	h.lives(t, 0, 5)
	c := tunnelOpen(t, s, tunnelScript{})

	relay, again, tunnel := s.one(t, plainTarget.String()), s.one(t, target.String()), s.one(t, "")
	if relay.Kind != "relay" || relay.State != "relaying" || relay.Source != "127.0.0.1" || relay.Resumed != 0 {
		t.Errorf("the relay is %+v", relay)
	}
	if again.State != "relaying" || again.Resumed != 1 || again.FromClient != 5 {
		t.Errorf("the relay that was taken up is %+v", again)
	}
	if tunnel.Kind != "tunnel" || tunnel.State != "ready" || tunnel.Tunnel == nil || tunnel.Tunnel.Port != c.port || !strings.HasPrefix(c.host, tunnel.ID+".") {
		t.Errorf("the tunnel is %+v", tunnel)
	}
	for _, session := range []lookedAt{relay, again, tunnel} {
		if r := admin(t, s, "POST", "/debug/sessions/"+session.ID+"/close"); r.status != 200 {
			t.Errorf("to close %s is answered %d %s", session.ID, r.status, r.body)
		}
	}
	const says = "closed by the operator of this server"
	if code, text := closing(t, ws); code != 1008 || text != says {
		t.Errorf("the relay ends with %d %q", code, text)
	}
	if _, end := sees(t, plain); end != seesFIN {
		t.Errorf("its target sees %s", end)
	}
	var closed *resumeClosed
	for err := error(nil); closed == nil; {
		if _, err = h.read(); err != nil && !errors.As(err, &closed) {
			t.Fatalf("the relay that was taken up ends with %v", err)
		}
		h.answer(err)
	}
	if closed.code != 1008 || closed.text != says {
		t.Errorf("the relay that was taken up ends with %d %q", closed.code, closed.text)
	}
	if _, end := sees(t, conn); end != seesReset {
		t.Errorf("its target sees %s", end)
	}
	h.over(t)
	if code := c.waitEnd(t); code != 1008 {
		t.Errorf("the tunnel ends with %d", code)
	}
	eventually(t, patience, "all have ended", func() bool { return len(s.sessions(t)) == 0 })
	metrics := ask(t, &server{addr: s.metricsAddr(t)}, "GET", "/metrics").body
	for _, line := range []string{`wsproxy_relay_sessions_ended_total{reason="operator"} 2`, `wsproxy_tunnels_ended_total{reason="operator"} 1`} {
		if !strings.Contains(metrics, "\n"+line+"\n") {
			t.Errorf("/metrics does not say %s", line)
		}
	}
	logged := make(map[string]bool) // by the id that the log has
	for _, line := range s.logLines(`"reason":"operator"`) {
		if id, ok := line["session"].(string); ok {
			logged[id[strings.LastIndex(id, "/")+1:]] = true
		} else if id, ok := line["tunnel"].(string); ok {
			logged[id] = true
		}
	}
	for _, session := range []lookedAt{relay, again, tunnel} {
		if !logged[session.ID] {
			t.Errorf("the log does not say why %s has ended", session.ID)
		}
	}
	if r := admin(t, s, "POST", "/debug/sessions/"+relay.ID+"/close"); r.status != 404 {
		t.Errorf("to close it again is answered %d", r.status)
	}
	for _, path := range []string{"/debug/sessions", "/debug/pprof/heap"} {
		if r := ask(t, &server{addr: s.metricsAddr(t)}, "GET", path); r.status != 401 {
			t.Errorf("%s without the token is answered %d", path, r.status)
		}
		if r := ask(t, s, "GET", path, "Authorization: Bearer "+adminToken); r.status != 404 {
			t.Errorf("%s on the listener for everyone is answered %d", path, r.status)
		}
	}
	if r := admin(t, s, "GET", "/debug/config"); strings.Contains(r.body, adminToken) || !strings.Contains(r.body, `{"name":"METRICS_ADDR","value":"127.0.0.1:0","set":true}`) {
		t.Errorf("/debug/config says %s", r.body)
	}
	if strings.Contains(s.log(), adminToken) {
		t.Error("the token is in the log")
	}
}

// MAX_SESSION_AGE ends a session however it fares; to be taken up does not renew it.
func TestSessionsEndAtTheirAge(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, allowLoopback(), "MAX_SESSION_AGE=2s")
	target, conns := handServer(t)
	h := resumeBegin(t, s.direct(), relayPath(target))
	began := time.Now()
	conn := accept(t, conns)
	ws, c := open(t, s, relayPath(echoServer(t))), tunnelOpen(t, s, tunnelScript{})
	h.cut()
	h.lives(t, 0, 0)
	if code, text := closing(t, ws); code != 1008 || !strings.Contains(text, "old") {
		t.Errorf("the relay ends with %d %q", code, text)
	}
	if _, end := sees(t, conn); end != seesReset {
		t.Errorf("the target of the other one sees %s", end)
	}
	if age := time.Since(began); age < 2*time.Second {
		t.Errorf("it ends after %v", age)
	}
	if code := c.waitEnd(t); code != 1008 {
		t.Errorf("the tunnel ends with %d", code)
	}
	h.over(t)
	for _, line := range s.logLines(` ended"`) {
		if line["reason"] != "too_old" {
			t.Errorf("the log says %v", line)
		}
	}
}
