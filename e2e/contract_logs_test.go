package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// What the log says of a session: when it starts and when it ends, once each.

// echoed sends bytes through a relay to an echo and waits for them.
func echoed(t *testing.T, ws *websocket.Conn, text string) {
	t.Helper()
	if err := ws.WriteMessage(websocket.BinaryMessage, []byte(text)); err != nil {
		t.Fatal(err)
	}
	_ = ws.SetReadDeadline(time.Now().Add(patience))
	for got := ""; got != text; {
		_, message, err := ws.ReadMessage()
		if err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
		got += string(message)
	}
}

func TestSessionLines(t *testing.T) {
	t.Parallel()
	keys := newIssuer(t)
	env := []string{allowLoopback(), "CLERK_JWKS_URL=" + keys.url, "MAX_CONNS_PER_IP=0", "MAX_CONNS_PER_USER=0", "TRUSTED_PROXIES=127.0.0.1/32"}
	patient := start(t, env...)
	hasty := start(t, append(env, "PING_INTERVAL=400ms")...)
	ending := start(t, append(env, "SHUTDOWN_TIMEOUT=100ms")...)
	const source = "198.51.100.77"
	// begin opens a relay of the user that the test is about.
	begin := func(t *testing.T, s *server, target net.Addr) *websocket.Conn {
		return open(t, s, relayPath(target, "token", keys.token(fields{"sub": "user_log"})), "X-Forwarded-For: "+source)
	}
	for _, c := range []struct {
		reason string
		s      *server
		target func(t *testing.T) net.Addr
		up     float64 // -1 = whatever
		down   float64
		end    func(t *testing.T, ws *websocket.Conn)
	}{
		{"client_closed", patient, echoServer, 5, 5, func(t *testing.T, ws *websocket.Conn) {
			echoed(t, ws, "hello")
			goodbye(t, ws)
		}},
		{"client_gone", patient, echoServer, 6, 6, func(t *testing.T, ws *websocket.Conn) {
			echoed(t, ws, "hello!")
			ws.NetConn().Close()
		}},
		{"target_ended", patient, func(t *testing.T) net.Addr {
			return target(t, func(conn *net.TCPConn) { _, _ = conn.Write([]byte("bye")) })
		}, 0, 3, func(t *testing.T, ws *websocket.Conn) {
			if code, _ := closing(t, ws); code != 1000 {
				t.Errorf("close code %d", code)
			}
		}},
		{"target_reset", patient, func(t *testing.T) net.Addr {
			return target(t, func(conn *net.TCPConn) {
				_, _ = conn.Read(make([]byte, 1))
				_ = conn.SetLinger(0)
			})
		}, 1, 0, func(t *testing.T, ws *websocket.Conn) {
			_ = ws.WriteMessage(websocket.BinaryMessage, []byte("x"))
			closing(t, ws)
		}},
		{"text_message", patient, echoServer, 0, 0, func(t *testing.T, ws *websocket.Conn) {
			_ = ws.WriteMessage(websocket.TextMessage, []byte("text"))
			closing(t, ws)
			ws.Close()
		}},
		{"protocol_error", patient, echoServer, 0, 0, func(t *testing.T, ws *websocket.Conn) {
			_, _ = ws.NetConn().Write([]byte{0x82, 1, 'x'}) // a frame without a mask
			closing(t, ws)
			ws.Close()
		}},
		{"client_silent", hasty, echoServer, 0, 0, func(t *testing.T, ws *websocket.Conn) {
			// Who doesn't read answers no ping.
		}},
		{"client_stalled", hasty, floodServer, -1, -1, func(t *testing.T, ws *websocket.Conn) {
			// Who sends is alive, but what was sent to it is not taken.
			alive := time.NewTicker(20 * time.Millisecond)
			defer alive.Stop()
			for ws.WriteMessage(websocket.BinaryMessage, []byte{0}) == nil {
				<-alive.C
			}
		}},
		{"shutdown", ending, echoServer, 2, 2, func(t *testing.T, ws *websocket.Conn) {
			echoed(t, ws, "ab")
			ending.signal(syscall.SIGTERM)
			if code, _ := closing(t, ws); code != 1001 {
				t.Errorf("close code %d, want 1001", code)
			}
			if code := ending.wait(patience); code != 0 {
				t.Errorf("exit code %d", code)
			}
		}},
		// The last, for its port may be another's from now on.
		{"target_unreachable", patient, closedPort, 0, 0, func(t *testing.T, ws *websocket.Conn) { closing(t, ws) }},
	} {
		target := c.target(t) // until all have ended, so that its port tells the lines apart
		t.Run(c.reason, func(t *testing.T) {
			c.end(t, begin(t, c.s, target))
			eventually(t, patience, "relay ended", func() bool { return len(c.s.sessionLines("relay ended", target)) > 0 })
			starts, ends := c.s.sessionLines("relay started", target), c.s.sessionLines("relay ended", target)
			if len(starts) != 1 || len(ends) != 1 {
				t.Fatalf("%d lines at the start, %d at the end, want one each", len(starts), len(ends))
			}
			first, last := starts[0], ends[0]
			for _, line := range []map[string]any{first, last} {
				if name, _ := line["session"].(string); !regexp.MustCompile(`^[A-Za-z0-9_-]+$`).MatchString(name) {
					t.Errorf("the session is called %q", name)
				}
				if line["user"] != "user_log" || line["source"] != source || line["target"] != target.String() || line["level"] != "INFO" {
					t.Errorf("who, whence and where to: %v", line)
				}
			}
			if first["session"] == nil || first["session"] != last["session"] {
				t.Errorf("the lines don't belong together: %v, %v", first["session"], last["session"])
			}
			local, _ := last["local"].(string)
			reached := last["address"] == target.String() && strings.HasPrefix(local, "127.0.0.1:")
			must := c.up > 0 || c.down > 0 || c.up < 0 // else the client may have gone while it was dialled
			if must && !reached || c.reason == "target_unreachable" && last["address"] != nil || !reached && last["address"] != nil {
				t.Errorf("it was dialled from %v to %v", last["local"], last["address"])
			}
			if last["reason"] != c.reason {
				t.Errorf("the reason is %v, want %s", last["reason"], c.reason)
			}
			for field, want := range map[string]float64{"bytes_up": c.up, "bytes_down": c.down, "duration_ms": -1} {
				if n, ok := last[field].(float64); !ok || n < 0 || want >= 0 && n != want {
					t.Errorf("%s is %v, want %v", field, last[field], want)
				}
			}
		})
	}
	t.Run("no session, no line", func(t *testing.T) {
		before := len(patient.logLines("relay "))
		target := relayPath(echoServer(t))
		for _, lines := range [][]string{nil, handshake, {"Origin: https://x.example"}} {
			ask(t, patient, "GET", target, lines...)
			ask(t, patient, "GET", target+"&token="+keys.token(nil), lines[:0]...)
			ask(t, patient, "GET", "/relay?host=127.1&port=22&token="+keys.token(nil), lines...)
		}
		if after := len(patient.logLines("relay ")); after != before {
			t.Errorf("%d lines about sessions that never were", after-before)
		}
	})
	for _, s := range []*server{patient, hasty, ending} {
		settled(t, s)
	}
}

// Who ends the server at once has the last line of every session all the same, though
// nobody answers a close, and is told what the server was there for.
func TestLinesOfAnEndAtOnce(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, allowLoopback(), "SHUTDOWN_TIMEOUT=1h", "MAX_CONNS_PER_IP=0")
	far, gate := echoServer(t), make(chan struct{})
	const many = 5
	for range many {
		echoed(t, open(t, s, relayPath(far)), "12345")
	}
	detached := resumeBegin(t, s.direct(), relayPath(far))
	if err := detached.data(5, []byte("12345")); err != nil {
		t.Fatal(err)
	}
	detached.receive(t, 5)
	detached.cut()
	c := tunnelOpen(t, s, tunnelScript{raw: tunnelEcho})
	conn := tunnelDial(t, c.port)
	defer conn.Close()
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 5)); err != nil {
		t.Fatal(err)
	}
	tunnelOpen(t, s, tunnelScript{read: func(*tunnelClient, int) bool { <-gate; return false }})
	t.Cleanup(func() { close(gate) }) // before its client is waited for
	ask(t, s, "GET", "/relay")
	s.waitLog(t, "relay detached")
	s.signal(syscall.SIGTERM)
	s.waitLog(t, "draining")
	s.signal(syscall.SIGTERM)
	if code := s.wait(patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for message, n := range map[string]int{"relay ended": many + 1, "tunnel ended": 2, "raw connection ended": 1} {
		lines := s.logLines(`"msg":"` + message + `"`)
		if len(lines) != n {
			t.Errorf("%d lines say %q, want %d", len(lines), message, n)
		}
		for _, line := range lines {
			if line["reason"] != "shutdown" || (message == "relay ended") != (line["address"] == far.String()) || message != "relay ended" && line["port"] == nil {
				t.Errorf("%v", line)
			}
		}
	}
	last := s.waitLog(t, "wsproxy has ended")
	for field, want := range map[string]float64{"relays": many + 1, "tunnels": 2, "raw_connections": 1, "refused": 1, "relay_bytes_up": 5 * (many + 1), "relay_bytes_down": 5 * (many + 1)} {
		if last[field] != want {
			t.Errorf("%s is %v, want %v", field, last[field], want)
		}
	}
	for _, field := range []string{"tunnel_bytes_from_client", "tunnel_bytes_to_client", "duration_ms"} {
		if n, _ := last[field].(float64); n <= 0 {
			t.Errorf("%s is %v", field, last[field])
		}
	}
}

// The log is JSON, a line for each event, on stdout and nowhere else.
func TestLogIsJSONOnStdout(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(binaryPath)
	stdout, stderr := &output{}, &output{}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.Env = []string{"GORACE=atexit_sleep_ms=0", "PORT=0", "BIND=127.0.0.1", "LOG_LEVEL=debug", allowLoopback(), "CLERK_JWKS_URL="}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := &server{pid: cmd.Process.Pid, process: cmd.Process, out: stdout, exited: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		s.code = cmd.ProcessState.ExitCode()
		close(s.exited)
	}()
	t.Cleanup(func() { s.stop(t) })
	s.addr, _ = s.waitLog(t, `"msg":"listening"`)["address"].(string)
	goodbye(t, open(t, s, relayPath(echoServer(t))))
	closing(t, open(t, s, relayPath(closedPort(t))))
	ask(t, s, "GET", "/relay")
	if conn, err := net.Dial("tcp", s.addr); err == nil {
		_, _ = conn.Write([]byte("\x16\x03\x01\x00\x05hello\r\n\r\n"))
		conn.Close()
	}
	s.signal(syscall.SIGTERM)
	if code := s.wait(patience); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if text := stderr.String(); text != "" {
		t.Errorf("stderr has %q", text)
	}
	lines := strings.Split(strings.TrimSuffix(stdout.String(), "\n"), "\n")
	for _, text := range lines {
		var line struct {
			Time       time.Time
			Level, Msg string
		}
		decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
		if err := decoder.Decode(&line); err != nil || decoder.More() || line.Time.IsZero() || line.Level == "" || line.Msg == "" {
			t.Errorf("%q is not a line of JSON with time, level and msg (%v)", text, err)
		}
	}
	if len(lines) < 6 {
		t.Errorf("only %d lines", len(lines))
	}
}

// With METRICS_ADDR, and only there, /metrics counts sessions and refusals.
func TestMetrics(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback(), "METRICS_ADDR=127.0.0.1:0", "MAX_CONNS_PER_IP=1", "ALLOWED_PORTS=1024-65535")
	metrics := &server{addr: s.metricsAddr(t)}
	has := func(lines ...string) func() bool {
		return func() bool {
			r := ask(t, metrics, "GET", "/metrics")
			for _, line := range lines {
				if r.status != 200 || !strings.Contains("\n"+r.body, "\n"+line+"\n") {
					return false
				}
			}
			return true
		}
	}
	ws := open(t, s, relayPath(echoServer(t)))
	echoed(t, ws, strings.Repeat("x", 1234))
	eventually(t, patience, "one session", has("wsproxy_relay_sessions 1"))
	refusals := map[string]string{"address_limit": relayPath(sinkServer(t)), "bad_target": "/relay?host=127.1&port=22", "target_refused": relayPathTo("127.0.0.1", "22")}
	for reason, path := range refusals {
		ask(t, s, "GET", path, handshake...)
		eventually(t, patience, reason, has(fmt.Sprintf(`wsproxy_refused_total{endpoint="relay",reason=%q} 1`, reason)))
		if line := s.waitLog(t, fmt.Sprintf(`"msg":"refused","endpoint":"relay","reason":%q`, reason)); line["level"] != "INFO" || line["source"] != "127.0.0.1" || (line["target"] == nil) != (reason == "bad_target") {
			t.Errorf("the line is %v", line)
		}
	}
	ask(t, s, "GET", "/tunnel")
	eventually(t, patience, "no_tunnels", has(`wsproxy_refused_total{endpoint="tunnel",reason="no_tunnels"} 1`))
	goodbye(t, ws)
	eventually(t, patience, "no session", has("wsproxy_relay_sessions 0", `wsproxy_relay_sessions_ended_total{reason="client_closed"} 1`,
		`wsproxy_relay_bytes_total{direction="up"} 1234`, `wsproxy_relay_bytes_total{direction="down"} 1234`))
	ask(t, s, "GET", relayPath(sinkServer(t)))
	eventually(t, patience, "not_websocket", has(`wsproxy_refused_total{endpoint="relay",reason="not_websocket"} 1`))

	if r := ask(t, s, "GET", "/metrics"); r.status != 404 {
		t.Errorf("/metrics for everyone: status %d, want 404", r.status)
	}
	for _, path := range []string{"/", "/health", relayPath(sinkServer(t)), "/debug/pprof/"} {
		if r := ask(t, metrics, "GET", path); r.status != 404 {
			t.Errorf("%s on the second listener: status %d, want 404", path, r.status)
		}
	}
}
