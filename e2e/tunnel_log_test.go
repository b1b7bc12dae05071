package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// What the log says of tunnels and their raw connections, as operators are
// promised it.

// tunnelLogged are servers that know users, and the tunnels of one of them.
type tunnelLogged struct {
	keys *issuer
}

const tunnelLogSource = "198.51.100.78"

func (l *tunnelLogged) start(t *testing.T, env ...string) *server {
	return tunnelServer(t, append([]string{"CLERK_JWKS_URL=" + l.keys.url, "MAX_CONNS_PER_USER=0", "TRUSTED_PROXIES=127.0.0.1/32"}, env...)...)
}

func (l *tunnelLogged) open(t *testing.T, s *server, script tunnelScript) *tunnelClient {
	script.header = headerOf("Authorization: Bearer "+l.keys.token(fields{"sub": "user_tunnel"}), "X-Forwarded-For: "+tunnelLogSource)
	return tunnelOpen(t, s, script)
}

// tunnelLines returns the lines about a tunnel whose text begins with msg, which
// must say whose it is.
func tunnelLines(t *testing.T, s *server, c *tunnelClient, msg string) (lines []map[string]any) {
	t.Helper()
	label, _, _ := strings.Cut(c.host, ".")
	for _, line := range s.logLines(`"msg":"` + msg) {
		if line["tunnel"] != label {
			continue
		}
		if line["user"] != "user_tunnel" || line["source"] != tunnelLogSource {
			t.Errorf("who and whence: %v", line)
		}
		lines = append(lines, line)
	}
	return lines
}

// tunnelLine is tunnelLines for what there is one of.
func tunnelLine(t *testing.T, s *server, c *tunnelClient, level, msg string) map[string]any {
	t.Helper()
	lines := tunnelLines(t, s, c, msg)
	if len(lines) != 1 || lines[0]["level"] != level {
		t.Fatalf("%q is said %d times: %v", msg, len(lines), lines)
	}
	return lines[0]
}

// tunnelCounts checks figures of a line; -1 means any.
func tunnelCounts(t *testing.T, line map[string]any, want map[string]int) {
	t.Helper()
	for field, n := range want {
		if got, ok := line[field].(float64); !ok || got < 0 || n >= 0 && got != float64(n) {
			t.Errorf("%s is %v, want %d: %v", field, line[field], n, line)
		}
	}
}

func TestTunnelLines(t *testing.T) {
	t.Parallel()
	l := &tunnelLogged{newIssuer(t)}
	patient := l.start(t, "TUNNEL_MAX_BODY=64KiB")
	hasty := l.start(t, "PING_INTERVAL=500ms")
	ending := l.start(t, "SHUTDOWN_TIMEOUT=100ms")
	reads := make(chan struct{}) // closed when the one that has stalled reads on
	for _, test := range []struct {
		reason string
		s      *server
		script tunnelScript
		end    func(t *testing.T, c *tunnelClient)
	}{
		{"client_closed", patient, tunnelScript{}, func(t *testing.T, c *tunnelClient) { c.bye(t) }},
		{"client_gone", patient, tunnelScript{query: "flow=credit"}, func(_ *testing.T, c *tunnelClient) { c.ws.Close() }},
		{"message_too_big", patient, tunnelScript{}, func(_ *testing.T, c *tunnelClient) {
			_ = c.write(websocket.BinaryMessage, make([]byte, 2*64<<10+1<<20+1))
		}},
		{"protocol_error", patient, tunnelScript{}, func(_ *testing.T, c *tunnelClient) {
			_, _ = c.ws.NetConn().Write([]byte{0x82, 1, 'x'}) // a frame without a mask
		}},
		{"client_silent", hasty, tunnelScript{read: func(c *tunnelClient, _ int) bool {
			c.ws.SetPingHandler(func(string) error { return nil })
			return true
		}}, func(*testing.T, *tunnelClient) {}},
		{"client_stalled", hasty, tunnelScript{read: func(*tunnelClient, int) bool {
			<-reads
			return true
		}}, func(t *testing.T, c *tunnelClient) {
			defer close(reads)
			outside := tunnelDial(t, c.port)
			go func() { _, _ = io.Copy(outside, zeros{}) }()
			alive := time.NewTicker(20 * time.Millisecond)
			defer alive.Stop()
			for c.write(websocket.PongMessage, nil) == nil {
				<-alive.C
			}
		}},
		{"shutdown", ending, tunnelScript{}, func(_ *testing.T, c *tunnelClient) { ending.signal(syscall.SIGTERM) }},
	} {
		t.Run(test.reason, func(t *testing.T) {
			c := l.open(t, test.s, test.script)
			test.end(t, c)
			c.waitEnd(t)
			c.ws.Close()
			last := test.s.waitTunnelEnd(t, c)
			if tunnelLine(t, test.s, c, "INFO", "tunnel started")["credit"] != c.credit {
				t.Errorf("credit is not %v", c.credit)
			}
			tunnelCounts(t, tunnelLine(t, test.s, c, "INFO", "tunnel ready"), map[string]int{"port": c.port})
			if tunnelLine(t, test.s, c, "INFO", "tunnel ended"); last["reason"] != test.reason {
				t.Errorf("the reason is %v", last["reason"])
			}
			tunnelCounts(t, last, map[string]int{"bytes_to_client": -1, "bytes_from_client": -1, "duration_ms": -1})
			if sent, _ := last["bytes_to_client"].(float64); sent < 50 {
				t.Errorf("%v bytes went to the client, which was told its URL", sent)
			}
		})
	}
}

// When no raw port is free a warning says so, and which settings would help.
func TestTunnelLineWithoutPort(t *testing.T) {
	t.Parallel()
	l := &tunnelLogged{newIssuer(t)}
	first := tunnelPorts(t, 1)
	s := l.start(t, fmt.Sprintf("TUNNEL_PORT_MIN=%d", first), fmt.Sprintf("TUNNEL_PORT_MAX=%d", first))
	has, none := l.open(t, s, tunnelScript{}), l.open(t, s, tunnelScript{})
	if has.port != first || none.port != 0 {
		t.Fatalf("the ports are %d and %d", has.port, none.port)
	}
	eventually(t, patience, "the line", func() bool { return len(tunnelLines(t, s, none, "tunnel ready")) > 0 })
	text, _ := tunnelLine(t, s, none, "WARN", "no raw port is free: the tunnel has HTTP only")["msg"].(string)
	if !strings.Contains(text, "TUNNEL_PORT_MIN") || !strings.Contains(text, "TUNNEL_PORT_MAX") {
		t.Errorf("it says %q", text)
	}
	tunnelCounts(t, tunnelLine(t, s, none, "INFO", "tunnel ready"), map[string]int{"port": 0})
	if lines := tunnelLines(t, s, has, "no raw port"); len(lines) > 0 {
		t.Errorf("of a tunnel with a port: %v", lines)
	}
}

func TestRawConnectionLines(t *testing.T) {
	t.Parallel()
	l := &tunnelLogged{newIssuer(t)}
	s := l.start(t, "TUNNEL_BUFFER=1MiB", "TUNNEL_STALL_TIMEOUT=300ms")
	for i, test := range []struct {
		reason, query string
		in, out       int // -1 = any
		end           func(t *testing.T, c *tunnelClient, outside *net.TCPConn, inside *tunnelRawConn)
	}{
		{"client_closed", "", 5, 3, func(_ *testing.T, _ *tunnelClient, outside *net.TCPConn, inside *tunnelRawConn) {
			_, _ = io.WriteString(outside, "hello")
			_, _ = io.ReadFull(inside, make([]byte, 5))
			_, _ = io.WriteString(inside, "bye")
			_ = inside.Close()
			_, _ = io.Copy(io.Discard, outside)
			outside.Close()
		}},
		{"eof", "", 5, 3, func(t *testing.T, c *tunnelClient, outside *net.TCPConn, inside *tunnelRawConn) {
			_, _ = io.WriteString(outside, "hello")
			outside.CloseWrite()
			_, _ = io.Copy(io.Discard, struct{ io.Reader }{inside})
			_, _ = io.WriteString(inside, "bye")
			_, _ = io.ReadFull(outside, make([]byte, 3))
			// The peer's end is noted when the client has been told. Before that is certain the
			// client's might be noted first: what was sent after it has come, too.
			tunnelGet(t, tunnelHTTP(t), s, c.host, "/")
			_ = inside.Close()
			_, _ = io.Copy(io.Discard, outside)
			outside.Close()
		}},
		{"reset", "", 0, 0, func(_ *testing.T, _ *tunnelClient, outside *net.TCPConn, _ *tunnelRawConn) {
			_ = outside.SetLinger(0)
			outside.Close()
		}},
		{"limit", "flow=credit", 0, -1, func(_ *testing.T, _ *tunnelClient, outside *net.TCPConn, inside *tunnelRawConn) {
			_ = outside.SetReadBuffer(4096)
			inside.mu.Lock()
			inside.sent, inside.allowed = 1<<40, 1<<40 // it doesn't keep count
			inside.mu.Unlock()
			tunnelFlood(inside)
		}},
		{"slow", "", 0, -1, func(_ *testing.T, _ *tunnelClient, outside *net.TCPConn, inside *tunnelRawConn) {
			_ = outside.SetReadBuffer(4096)
			tunnelFlood(inside)
		}},
		{"tunnel_ended", "", 0, 0, func(t *testing.T, c *tunnelClient, outside *net.TCPConn, _ *tunnelRawConn) {
			c.bye(t)
			_, _ = io.Copy(io.Discard, outside)
			outside.Close()
		}},
	} {
		t.Run(test.reason, func(t *testing.T) {
			c := l.open(t, s, tunnelScript{query: test.query})
			outside, inside := tunnelPairFrom(t, c, byte(i+1))
			test.end(t, c, outside, inside)
			eventually(t, patience, "its last line", func() bool { return len(tunnelLines(t, s, c, "raw connection ended")) > 0 })
			for _, msg := range []string{"raw connection started", "raw connection ended"} {
				if line := tunnelLine(t, s, c, "INFO", msg); line["conn"] != inside.id || line["peer"] != inside.remote {
					t.Errorf("which one: %v", line)
				}
			}
			last := tunnelLine(t, s, c, "INFO", "raw connection ended")
			if last["reason"] != test.reason {
				t.Errorf("the reason is %v", last["reason"])
			}
			tunnelCounts(t, last, map[string]int{"bytes_in": test.in, "bytes_out": test.out, "duration_ms": -1})
		})
	}
}

// Nothing that passes through a tunnel gets into the log, nor what its client
// was let in with, though all of it is logged and much of it is refused.
func TestNoSecretsOfTunnelsInTheLog(t *testing.T) {
	t.Parallel()
	keys := newIssuer(t)
	l := &leakTest{}
	s := tunnelServer(t, "CLERK_JWKS_URL="+keys.url, "MAX_CONNS_PER_USER=0", "TUNNEL_MAX_BODY=64KiB", "TUNNEL_FORWARD_CREDENTIALS=true")
	token := keys.token(fields{"sub": "user_secret", "email": l.secret("a claim")})
	secret := l.secret // for the goroutines of the client, which run one at a time
	answers := map[string]tunnelJSON{
		"/good":    {"status": 200, "headers": tunnelJSON{"Set-Cookie": secret("Set-Cookie"), secret("an answer's header name"): "x"}, "body": secret("an answer")},
		"/status":  {"status": 99, "body": secret("the answer with a bad status")},
		"/type":    {"status": secret("a status"), "body": secret("the answer with a status of a wrong type")},
		"/base64":  {"status": 200, "bodyEncoding": "base64", "body": secret("an answer in bad base64") + "!"},
		"/coding":  {"status": 200, "bodyEncoding": secret("bodyEncoding"), "body": "x"},
		"/length":  {"status": 200, "headers": tunnelJSON{"Content-Length": secret("Content-Length")}, "body": secret("a damaged answer")},
		"/chunked": {"status": 200, "headers": tunnelJSON{"Transfer-Encoding": "chunked"}, "body": "5\r\n" + secret("a damaged chunked answer")},
		"/large":   {"status": 200, "body": strings.Repeat(secret("an answer that is too large"), 10_000)},
		"/header":  {"status": 200, "headers": tunnelJSON{"A": secret("an answer's header") + "\n", "Bad Name " + secret("an answer's bad header name"): "x"}},
	}
	c := tunnelOpen(t, s, tunnelScript{
		query:  "token=" + token + "&x=" + secret("the query of /tunnel"),
		header: headerOf(l.everywhere()[3:6]...),
		raw:    tunnelEcho,
		http: func(c *tunnelClient, m tunnelMessage) {
			path, _, _ := strings.Cut(m.Path, "?")
			answer := tunnelJSON{"type": "http_response", "id": m.ID}
			for name, value := range answers[path] {
				answer[name] = value
			}
			_ = c.send(answer)
		},
	})
	client := tunnelHTTP(t)
	client.Timeout = 2 * patience
	asked := func(method, host, path, body string, status int) {
		t.Helper()
		header := headerOf(append(l.everywhere()[:7:7], "Origin: https://x.example/"+l.secret("an Origin that is none"))...)
		reply, err := tunnelAsk(client, s, method, host, path+"?"+l.secret("a query"), header, strings.NewReader(body))
		if err != nil || status > 0 && reply.status != status {
			t.Errorf("%s is answered %d, want %d: %v", path, reply.status, status, err)
		}
	}
	for path := range answers {
		if path == "/type" { // nobody can tell what it answers
			waiting := tunnelStart(t, client, s, c.host, path, nil, nil)
			defer waiting.cancel()
			continue
		}
		asked("POST", c.host, path, l.secret("a request's body"), 0)
	}
	asked("POST", c.host, "/"+l.secret("a path"), strings.Repeat(l.secret("a body that is too large"), 10_000), 413)
	asked("GET", l.secret("an unknown subdomain")+"."+tunnelDomain, "/", "", 404)
	_, _ = request(s.addr, "POST", "/"+l.secret("a path of a cut body"), "Host: "+c.host, "Transfer-Encoding: chunked", l.secret("a header's name")+": x")

	outside := tunnelDial(t, c.port)
	payload := l.secret("raw payload")
	if _, err := io.WriteString(outside, payload); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(outside, make([]byte, len(payload))); err != nil {
		t.Fatal(err)
	}
	outside.Close()
	for _, garbage := range [][]byte{
		tunnelFrame("0123456789ab", []byte(l.secret("payload for an unknown connection"))),
		tunnelFrame(l.secret("a connId"), []byte("x")), {0, 0, 0, 99, 'x'}, []byte(l.secret("a message that is no frame")),
		[]byte(`{"type":"` + l.secret("an unknown type") + `"}`), []byte(`{"type":` + l.secret("bad JSON")),
		[]byte(`{"type":"tcp_close","connId":"` + l.secret("an unknown connId") + `"}`),
		[]byte(`{"type":"http_response","id":"` + l.secret("an unknown id") + `","status":200,"body":"` + l.secret("an answer to nothing") + `"}`),
	} {
		g := tunnelOpen(t, s, tunnelScript{header: headerOf("Authorization: Bearer " + token)}) // one each: a tunnel has a line a minute
		_ = g.write(websocket.BinaryMessage, garbage)
		if reply := tunnelGet(t, client, s, g.host, "/"); reply.status != 200 {
			t.Errorf("behind %q it answers %d", garbage, reply.status)
		}
		g.bye(t)
	}
	if status := tunnelStatus(t, s, "token="+l.secret("a token that is refused"), "https://x.example?"+l.secret("an Origin that is none"), true); status != http.StatusUnauthorized {
		t.Errorf("a bad token is answered %d", status)
	}
	asked("GET", c.host, "/good", "", 200)
	_ = c.write(websocket.CloseMessage, websocket.FormatCloseMessage(4000, l.secret("the text of a close frame")))
	c.waitEnd(t)
	s.waitTunnelEnd(t, c)

	for _, proof := range []string{"raw connection ended", "makes no sense", "can't be passed on", `"reason":"token_malformed"`} {
		if len(s.logLines(proof)) == 0 {
			t.Errorf("no line with %q: the test proves nothing", proof)
		}
	}
	l.check(t, s.log())
	for i, part := range strings.Split(token, ".") {
		if strings.Contains(s.log(), part) {
			t.Errorf("the log has part %d of a token", i)
		}
	}
}
