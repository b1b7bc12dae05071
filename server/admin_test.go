package server

import (
	"encoding/json"
	"errors"
	"net"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"wsproxy/messages/inspect"
)

const adminToken = "an admin's token"

// look asks the admin endpoints of a server.
func look(t *testing.T, s *service, method, path string, into any) (status int) {
	t.Helper()
	request := httptest.NewRequest(method, path, nil)
	request.Header.Set("Authorization", "Bearer "+adminToken)
	answer := httptest.NewRecorder()
	s.servers[len(s.servers)-1].Handler.ServeHTTP(answer, request)
	if into != nil {
		if err := json.Unmarshal(answer.Body.Bytes(), into); err != nil {
			t.Fatalf("%s %s: %v in %s", method, path, err, answer.Body)
		}
	}
	return answer.Code
}

// The operator sees what there is, and ends it: each side hears so, and metrics say why.
func TestOperatorSeesAndEndsSessions(t *testing.T) {
	s, address, scrape := startWatched(t, "ADMIN_TOKEN="+adminToken, "CLERK_JWKS_URL=")
	target, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	targets := make(chan net.Conn, 2)
	go func() {
		for conn, err := target.Accept(); err == nil; conn, err = target.Accept() {
			targets <- conn
		}
	}()
	at := url.Values{"host": {"127.0.0.1"}, "port": {target.Addr().String()[len("127.0.0.1:"):]}}
	ws, _, err := websocket.DefaultDialer.Dial("ws://"+address+"/relay?"+at.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	if err := ws.WriteMessage(websocket.BinaryMessage, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	upstream := await(t, "the relay's connection", targets)
	defer upstream.Close()
	c := openRestartTunnel(t, address)
	conn := c.dial()
	defer conn.Close()
	await(t, "tcp_open", c.conns)

	var all inspect.Answer
	var relay, tunnel inspect.Session
	awaitTrue(t, "the relay's bytes", func() bool {
		if status := look(t, s, "GET", "/debug/sessions", &all); status != 200 || len(all.Sessions) != 2 {
			t.Fatalf("the answer is %d, %+v", status, all)
		}
		relay, tunnel = all.Sessions[0], all.Sessions[1]
		return relay.FromClient == 5
	})
	if relay.Kind != "relay" || relay.Target != target.Addr().String() || relay.State != "relaying" || relay.Source.String() != "127.0.0.1" {
		t.Errorf("the relay is %+v", relay)
	}
	if tunnel.Kind != "tunnel" || !strings.HasPrefix(c.host, tunnel.ID+".") || int(tunnel.Tunnel.Port) != c.port || tunnel.Tunnel.Connections != 1 || tunnel.ToClient == 0 {
		t.Errorf("the tunnel is %+v, %+v", tunnel, tunnel.Tunnel)
	}

	for _, session := range []inspect.Session{relay, tunnel} {
		var closed inspect.Closed
		if status := look(t, s, "POST", "/debug/sessions/"+session.ID+"/close", &closed); status != 200 || closed.Closed != 1 {
			t.Fatalf("the close is answered %d, %+v", status, closed)
		}
	}
	ends := make(chan error, 1)
	go func() { _, _, err := ws.ReadMessage(); ends <- err }()
	for name, err := range map[string]error{"relay": await(t, "the relay's end", ends), "tunnel": await(t, "the tunnel's end", c.ended)} {
		var end *websocket.CloseError
		if !errors.As(err, &end) || end.Code != websocket.ClosePolicyViolation || end.Text != "closed by the operator of this server" {
			t.Errorf("the %s ends with %v", name, err)
		}
	}
	wantLines(t, scrape, `wsproxy_relay_sessions_ended_total{reason="operator"} 1`, `wsproxy_tunnels_ended_total{reason="operator"} 1`,
		`wsproxy_relay_sessions_ended_total{reason="too_old"} 0`, `wsproxy_tunnels_ended_total{reason="too_old"} 0`,
		`wsproxy_admin_requests_total{outcome="unauthorized"} 0`)
	awaitTrue(t, "the end of both", func() bool {
		look(t, s, "GET", "/debug/sessions", &all)
		return len(all.Sessions) == 0
	})
	if status := look(t, s, "POST", "/debug/sessions/"+relay.ID+"/close", nil); status != 404 {
		t.Errorf("to close it once more is answered %d", status)
	}
}

// What holds is shown, and no secret of it.
func TestSettingsAreShown(t *testing.T) {
	s, _, _ := startWatched(t, "ADMIN_TOKEN="+adminToken, "TUNNEL_NAME_SECRET="+strings.Repeat("s3cret", 6), "CLERK_JWKS_URL=https://name:s3cret@127.0.0.1:1/keys", "MAX_CONNS_PER_IP=7")
	var answer struct {
		Settings []struct {
			Name, Value string
			Set         bool
		}
	}
	if status := look(t, s, "GET", "/debug/config", &answer); status != 200 {
		t.Fatalf("the answer is %d", status)
	}
	values := make(map[string]string)
	for _, setting := range answer.Settings {
		values[setting.Name] = setting.Value
		if strings.Contains(setting.Value, "s3cret") || strings.Contains(setting.Value, adminToken) {
			t.Errorf("%s shows a secret: %s", setting.Name, setting.Value)
		}
	}
	for name, want := range map[string]string{"MAX_CONNS_PER_IP": "7", "CLERK_JWKS_URL": "https://xxxxx@127.0.0.1:1/keys", "ADMIN_TOKEN": "a secret of 16 bytes", "DIAL_TIMEOUT": "10s"} {
		if values[name] != want {
			t.Errorf("%s is shown as %q, want %q", name, values[name], want)
		}
	}
	if !slices.ContainsFunc(answer.Settings, func(s struct {
		Name, Value string
		Set         bool
	}) bool {
		return s.Name == "DIAL_TIMEOUT" && !s.Set
	}) {
		t.Error("a default is shown as set")
	}
}

// Without a token there is nothing to ask for.
func TestNothingIsShownWithoutAToken(t *testing.T) {
	s, _, _ := startWatched(t)
	for _, path := range []string{"/debug/sessions", "/debug/tunnels", "/debug/config", "/debug/pprof/", "/debug/"} {
		if status := look(t, s, "GET", path, nil); status != 404 {
			t.Errorf("%s is answered %d", path, status)
		}
	}
	if status := look(t, s, "GET", "/metrics", nil); status != 200 {
		t.Errorf("/metrics is answered %d", status)
	}
}
