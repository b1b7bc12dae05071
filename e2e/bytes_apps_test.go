package e2e

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// An app is a program that runs beside a test. It ends with the test, and all that it
// has started.
type app struct {
	in   io.WriteCloser
	out  *bufio.Reader
	port string // that it printed first
	logs *output
}

// startApp starts a program, whose first line is its port or ends with it.
func startApp(t *testing.T, name string, args ...string) *app {
	t.Helper()
	a := &app{logs: &output{}}
	cmd := exec.Command(tunnelTool(t, name), args...)
	cmd.Stderr = a.logs
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s says:\n%s", name, a.logs)
		}
	})
	a.in, a.out = in, bufio.NewReader(out)
	line := a.line(t)
	// Python's is "Serving HTTP on 127.0.0.1 port 8000 (http://...) ...".
	if _, rest, ok := strings.Cut(line, " port "); ok {
		line, _, _ = strings.Cut(rest, " ")
	}
	if _, err := strconv.Atoi(line); err != nil {
		t.Fatalf("%s says %q", name, line)
	}
	a.port = line
	return a
}

// line returns the next line that the program prints.
func (a *app) line(t *testing.T) string {
	t.Helper()
	lines := make(chan string, 1)
	go func() {
		line, _ := a.out.ReadString('\n')
		lines <- strings.TrimSpace(line)
	}()
	select {
	case line := <-lines:
		if line == "" {
			t.Fatalf("the program has ended: %s", a.logs)
		}
		return line
	case <-time.After(3 * patience):
		t.Fatalf("the program says nothing: %s", a.logs)
		return ""
	}
}

func (a *app) addr() string { return "127.0.0.1:" + a.port }

// nodeApp is the path of a script of apps/, whose packages must be there.
func nodeApp(t *testing.T, script string) string {
	t.Helper()
	if _, err := os.Stat("apps/node_modules"); err != nil {
		t.Fatalf("this test needs the packages of e2e/apps: .ci/apps installs them (%v)", err)
	}
	return filepath.Join("apps", script)
}

// Vite's dev server, in a browser: the page comes, its WebSocket connects, and what is
// changed is shown without loading anew. It knows no other name than localhost, and is
// told that one.
func TestBytesVite(t *testing.T) {
	t.Parallel()
	vite := startApp(t, "node", nodeApp(t, "hot-reload.js"), t.TempDir())
	r := newBytesRigTo(t, vite.addr(), "host=localhost:"+vite.port)
	stranger := bytesOpen(t, r.s, vite.addr())
	if reply := tunnelGet(t, r.client, r.s, stranger.host, "/"); reply.status != 403 {
		t.Errorf("by its own name the dev server answers %d", reply.status)
	}
	host, port, _ := net.SplitHostPort(r.s.addr)
	_, _ = fmt.Fprintf(vite.in, "http://%s:%s/ %s\n", r.c.host, port, host)
	var saw struct {
		Marker  string
		Errors  []string
		Outside bool
		Sockets int
	}
	line := vite.line(t)
	if err := json.Unmarshal([]byte(line), &saw); err != nil || saw.Marker != "the same page" || len(saw.Errors) > 0 || !saw.Outside || saw.Sockets == 0 {
		t.Errorf("the browser says %s, %v", line, err)
	}
}

// A login: its cookies come back in requests and in the handshake of a WebSocket.
func TestBytesLogin(t *testing.T) {
	t.Parallel()
	node := startApp(t, "node", nodeApp(t, "app.js"), "secret")
	r := newBytesRigTo(t, node.addr(), "", "TUNNEL_FORWARD_CREDENTIALS=true")
	jar, _ := cookiejar.New(nil)
	browser := &http.Client{Jar: jar, Timeout: patience, Transport: &http.Transport{DialContext: r.dialContext}}
	t.Cleanup(browser.CloseIdleConnections)
	base := "http://" + r.c.host
	dialer := websocket.Dialer{NetDialContext: r.dialContext, HandshakeTimeout: patience, Jar: jar, EnableCompression: true}
	if _, response, err := dialer.Dial("ws://"+r.c.host+"/", nil); err == nil || response == nil || response.StatusCode != 401 {
		t.Errorf("a WebSocket before the login: %v, %v", response, err)
	}
	response, err := browser.PostForm(base+"/login", url.Values{"user": {"grace"}})
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	response.Body.Close()
	if response.StatusCode != 200 || string(body) != "grace" || response.Request.URL.Path != "/me" {
		t.Errorf("the login leads to %d %q of %s", response.StatusCode, body, response.Request.URL)
	}
	ws, _, err := dialer.Dial("ws://"+r.c.host+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	_ = ws.SetReadDeadline(time.Now().Add(patience))
	if _, text, err := ws.ReadMessage(); string(text) != "hello grace" {
		t.Errorf("the WebSocket says %q, %v", text, err)
	}
	for _, text := range []string{"short", strings.Repeat("long ", 100_000)} {
		_ = ws.WriteMessage(websocket.TextMessage, []byte(text))
		if _, back, err := ws.ReadMessage(); string(back) != text {
			t.Errorf("of %d bytes come back %d, %v", len(text), len(back), err)
		}
	}
	_ = ws.WriteMessage(websocket.TextMessage, []byte("bye"))
	if got := socketSays(ws); got != "4321 bye then" {
		t.Errorf("the WebSocket ends with %q", got)
	}
}

// A webhook's signature is over its bytes, so they come as they were sent.
func TestBytesWebhooks(t *testing.T) {
	t.Parallel()
	node := startApp(t, "node", nodeApp(t, "app.js"), "s3cret")
	r := newBytesRigTo(t, node.addr(), "")
	noise := make([]byte, 3<<20)
	_, _ = tunnelNoise(4).Read(noise)
	bodies := [][]byte{[]byte(`{"a": "grüße" }`), []byte("\xef\xbb\xbf{}\r\n"), []byte("a=%20+&b"), {}, {0, 0xff, 0xc3}, noise}
	for i, body := range bodies {
		for _, chunked := range []bool{false, true} {
			mac := hmac.New(sha256.New, []byte("s3cret"))
			mac.Write(body)
			reader := io.Reader(bytes.NewReader(body))
			if chunked {
				reader = struct{ io.Reader }{reader}
			}
			reply := r.ask(t, "POST", "/webhook", reader, fmt.Sprintf("X-Hub-Signature-256: sha256=%x", mac.Sum(nil)))
			if reply.status != 202 || reply.body != strconv.Itoa(len(body)) {
				t.Errorf("body %d, chunked %t: %d, %s bytes", i, chunked, reply.status, reply.body)
			}
		}
	}
}

// Events come for as long as the application sends them: 10 s here, a minute with
// WSPROXY_E2E_BIG set.
func TestBytesEventsForLong(t *testing.T) {
	t.Parallel()
	node := startApp(t, "node", nodeApp(t, "app.js"), "secret")
	r := newBytesRigTo(t, node.addr(), "", "TUNNEL_HTTP_TIMEOUT=1s")
	r.client.Timeout = 0
	long := 10 * time.Second
	if bytesBulk() > 1<<30 {
		long = time.Minute
	}
	response := r.must(t, r.request("GET", "/events", nil))
	in, began, events := bufio.NewReader(response.Body), time.Now(), 0
	var worst time.Duration
	for time.Since(began) < long {
		id, _ := in.ReadString('\n')
		data, _ := in.ReadString('\n')
		if _, err := in.ReadString('\n'); err != nil || id != fmt.Sprintf("id: %d\n", events) {
			t.Fatalf("event %d is %q %q, %v", events, id, data, err)
		}
		sent, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimPrefix(data, "data: ")), 10, 64)
		worst = max(worst, elapsed(time.UnixMilli(sent)))
		events++
	}
	t.Logf("%d events, the latest %v late", events, worst)
	if worst > 2*time.Second || events < int(long/time.Second) {
		t.Errorf("of %d events one came %v late", events, worst)
	}
}
