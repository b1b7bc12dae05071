package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// heldService begins an answer at /begun, answers /quick, and holds everything else
// until who asked has gone. It says on the channel what has come.
func heldService(t *testing.T) (http.Handler, <-chan string) {
	came := make(chan string, 1024)
	sockets := socketService(t, socketEcho)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/socket":
			sockets.ServeHTTP(w, r)
			return
		case "/quick":
			_, _ = io.WriteString(w, "quick")
			return
		case "/begun":
			_, _ = io.WriteString(w, "begun\n")
			_ = http.NewResponseController(w).Flush()
		}
		came <- r.URL.Path
		<-r.Context().Done()
	}), came
}

// A tunnel whose WebSocket is lost takes its requests with it: 502 before the
// answer's head, a cut after it.
func TestBytesLostTunnel(t *testing.T) {
	t.Parallel()
	service, came := heldService(t)
	r := newBytesRig(t, service)
	pending := tunnelStart(t, r.client, r.s, r.c.host, "/pending", nil, nil)
	<-came
	begun := r.must(t, r.request("GET", "/begun", nil))
	in := bufio.NewReader(begun.Body)
	if line, err := in.ReadString('\n'); line != "begun\n" {
		t.Fatalf("%q, %v", line, err)
	}
	old := r.wire(t)
	old.say(t, "GET /begun HTTP/1.0", "Host: "+r.c.host)
	if response, err := http.ReadResponse(old.in, nil); err != nil || response.StatusCode != 200 {
		t.Fatalf("%v, %v", response, err)
	}
	socket, _ := r.socket(t)
	_ = r.c.ws.NetConn().(interface{ SetLinger(int) error }).SetLinger(0)
	r.c.ws.Close()
	if reply := pending.get(t); reply.status != 502 {
		t.Errorf("the pending request gets %d %q", reply.status, reply.body)
	}
	if rest, err := io.ReadAll(in); err == nil {
		t.Errorf("an answer under way looks whole: %q", rest)
	}
	if _, err := io.ReadAll(old.in); err == nil {
		t.Error("one of HTTP/1.0 looks whole")
	}
	if got := socketSays(socket); strings.HasPrefix(got, "1000") {
		t.Errorf("a WebSocket through it ends with %q", got)
	}
	if reply := r.get(t, "/quick"); reply.status != 404 {
		t.Errorf("then the tunnel answers %d", reply.status)
	}
}

// While the server drains everything goes on; at the end a pending request is 503,
// an answer under way is cut, and a WebSocket ends.
func TestBytesDrain(t *testing.T) {
	t.Parallel()
	service, came := heldService(t)
	r := newBytesRig(t, service, "SHUTDOWN_TIMEOUT=2s")
	pending := tunnelStart(t, r.client, r.s, r.c.host, "/pending", nil, nil)
	<-came
	begun := r.must(t, r.request("GET", "/begun", nil))
	<-came
	socket, _ := r.socket(t)
	r.s.signal(syscall.SIGTERM)
	r.s.waitLog(t, "draining")
	if reply := r.get(t, "/quick"); reply.status != 200 || reply.body != "quick" {
		t.Errorf("while it drains: %d %q", reply.status, reply.body)
	}
	_ = socket.WriteMessage(websocket.TextMessage, []byte("on"))
	if _, text, err := socket.ReadMessage(); string(text) != "on" {
		t.Errorf("while it drains a WebSocket says %q, %v", text, err)
	}
	if reply := pending.get(t); reply.status != 503 {
		t.Errorf("the pending request gets %d %q", reply.status, reply.body)
	}
	if rest, err := io.ReadAll(begun.Body); err == nil {
		t.Errorf("an answer under way looks whole: %q", rest)
	}
	socketSays(socket)
	if code := r.s.wait(patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// When all slots are taken, the WebSocket that has been idle longest, of the address
// that has most, gives way.
func TestBytesIdleWebSocketGivesWay(t *testing.T) {
	t.Parallel()
	service, came := heldService(t)
	r := newBytesRig(t, service, "MAX_TUNNEL_HTTP=4", "MAX_TUNNEL_HTTP_PER_IP=4", "TRUSTED_PROXIES=127.0.0.1")
	ping := func(ws *websocket.Conn) error {
		if err := ws.WriteMessage(websocket.TextMessage, []byte("ping")); err != nil {
			return err
		}
		_, _, err := ws.ReadMessage()
		return err
	}
	busy, _ := r.socket(t, "X-Forwarded-For: 203.0.113.1")
	idle, _ := r.socket(t, "X-Forwarded-For: 203.0.113.1")
	other, _ := r.socket(t, "X-Forwarded-For: 203.0.113.2")
	for _, ws := range []*websocket.Conn{other, idle, busy} { // from the one that is idle longest
		if err := ping(ws); err != nil {
			t.Fatal(err)
		}
	}
	pending := tunnelStart(t, r.client, r.s, r.c.host, "/pending", from("203.0.113.3"), nil)
	<-came
	if reply := r.get(t, "/quick", "X-Forwarded-For: 203.0.113.4"); reply.status != 200 {
		t.Errorf("another address gets %d %q", reply.status, reply.body)
	}
	if _, _, err := idle.ReadMessage(); err == nil {
		t.Error("the idle one lives")
	}
	for name, ws := range map[string]*websocket.Conn{"busy": busy, "other": other} {
		if err := ping(ws); err != nil {
			t.Errorf("the %s one: %v", name, err)
		}
	}
	select {
	case reply := <-pending.reply:
		t.Errorf("the pending request gets %d", reply.status)
	default:
	}
}

// HTTP doesn't use raw connections up, nor the other way round.
func TestBytesAreNoRawConnections(t *testing.T) {
	t.Parallel()
	service, _ := heldService(t)
	r := newBytesRig(t, service, "MAX_TUNNEL_TCP_CONNS=2", "MAX_TUNNEL_TCP_CONNS_GLOBAL=8")
	var sockets []*websocket.Conn
	for range 10 {
		ws, _ := r.socket(t)
		sockets = append(sockets, ws)
	}
	outside := tunnelDial(t, r.c.port)
	_, _ = fmt.Fprintf(outside, "GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
	if response, err := http.ReadResponse(bufio.NewReader(outside), nil); err != nil || response.StatusCode != 200 {
		t.Errorf("a raw connection: %v, %v", response, err)
	}
	for i, ws := range sockets {
		_ = ws.WriteMessage(websocket.TextMessage, []byte("x"))
		if _, _, err := ws.ReadMessage(); err != nil {
			t.Errorf("WebSocket %d: %v", i, err)
		}
	}
}

// A client that gives no credit for a body is 504, and an outside that takes nothing of
// an answer is cut; both within the time-out, and others go on.
func TestBytesStalls(t *testing.T) {
	t.Parallel()
	r := newBytesRigTo(t, stalledService(t), "", "TUNNEL_HTTP_TIMEOUT=1s")
	began := time.Now()
	reply := r.ask(t, "POST", "/", struct{ io.Reader }{io.LimitReader(tunnelNoise(1), 64<<20)})
	if took := time.Since(began); reply.status != 504 || took > patience/2 {
		t.Errorf("a body that nobody takes: %d after %v", reply.status, took)
	}
	wire := r.wire(t)
	_ = wire.SetReadBuffer(4 << 10)
	wire.say(t, "GET /big HTTP/1.1", "Host: "+r.c.host)
	eventually(t, patience, "the answer's connection is reset", func() bool {
		conns := r.c.all()
		last := conns[len(conns)-1]
		last.mu.Lock()
		defer last.mu.Unlock()
		return len(conns) > 1 && len(last.reasons) > 0 && last.reasons[0] == "reset"
	})
}
