package e2e

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// socketService is a WebSocket service of one connection after another.
func socketService(t *testing.T, serve func(ws *websocket.Conn)) http.Handler {
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }, Subprotocols: []string{"chat"}, EnableCompression: true}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := upgrader.Upgrade(w, r, http.Header{"X-From": {"service"}, "Set-Cookie": {"a=b"}})
		if err != nil {
			t.Errorf("the service's upgrade: %v", err)
			return
		}
		defer ws.Close()
		_ = ws.SetReadDeadline(time.Now().Add(2 * patience))
		serve(ws)
	})
}

// socketEcho sends each message back.
func socketEcho(ws *websocket.Conn) {
	for {
		kind, data, err := ws.ReadMessage()
		if err != nil || ws.WriteMessage(kind, data) != nil {
			return
		}
	}
}

// socket opens a WebSocket from outside. It ends with the test.
func (r *bytesRig) socket(t *testing.T, lines ...string) (*websocket.Conn, *http.Response) {
	t.Helper()
	dialer := websocket.Dialer{NetDialContext: r.dialContext, HandshakeTimeout: patience, Subprotocols: []string{"x", "chat"}}
	header := headerOf(lines...)
	ws, response, err := dialer.DialContext(t.Context(), "ws://"+r.c.host+"/socket?a=b", header)
	if err != nil {
		t.Fatalf("the handshake: %v, %v", err, response)
	}
	t.Cleanup(func() { ws.Close() })
	_ = ws.SetReadDeadline(time.Now().Add(2 * patience))
	return ws, response
}

// socketSays waits for the end of a WebSocket and returns its close code and reason.
func socketSays(ws *websocket.Conn) string {
	for {
		_, _, err := ws.ReadMessage()
		var closed *websocket.CloseError
		if errors.As(err, &closed) {
			return fmt.Sprint(closed.Code, " ", closed.Text)
		}
		if err != nil {
			return err.Error()
		}
	}
}

func TestBytesWebSocketEcho(t *testing.T) {
	t.Parallel()
	r := newBytesRig(t, socketService(t, socketEcho))
	ws, response := r.socket(t)
	if got := response.Header; ws.Subprotocol() != "chat" || got.Get("X-From") != "service" || got.Get("Set-Cookie") != "" {
		t.Errorf("the upgrade is answered with %v", got)
	}
	for i := range 200 {
		kind, text := websocket.TextMessage+i%2, []byte(strings.Repeat(fmt.Sprint(i), i*i))
		if err := ws.WriteMessage(kind, text); err != nil {
			t.Fatal(err)
		}
		if gotKind, got, err := ws.ReadMessage(); err != nil || gotKind != kind || !bytes.Equal(got, text) {
			t.Fatalf("message %d of %d bytes: kind %d, %d bytes, %v", i, len(text), gotKind, len(got), err)
		}
	}
	ponged := make(chan string, 1)
	ws.SetPongHandler(func(text string) error { ponged <- text; return nil })
	_ = ws.WriteControl(websocket.PingMessage, []byte("are you there?"), time.Now().Add(patience))
	go func() { _, _, _ = ws.ReadMessage() }()
	select {
	case text := <-ponged:
		if text != "are you there?" {
			t.Errorf("the pong is %q", text)
		}
	case <-time.After(patience):
		t.Error("no pong")
	}
	if conns := r.c.all(); len(conns) != 1 || conns[0].protocol != "http/1.1" {
		t.Errorf("%d connections, %+v", len(conns), conns)
	}
}

// A hundred megabytes go through one WebSocket, both ways at once.
func TestBytesWebSocketBulk(t *testing.T) {
	t.Parallel()
	const size, piece = 100 << 20, 1 << 20
	r := newPlainBytesRig(t, socketService(t, func(ws *websocket.Conn) {
		_ = ws.SetReadDeadline(time.Now().Add(8 * patience))
		socketEcho(ws)
	}))
	ws, _ := r.socket(t)
	_ = ws.SetReadDeadline(time.Now().Add(8 * patience))
	wrote := make(chan error, 1)
	go func() {
		noise, block := tunnelNoise(7), make([]byte, piece)
		for range size / piece {
			_, _ = noise.Read(block)
			if err := ws.WriteMessage(websocket.BinaryMessage, block); err != nil {
				wrote <- err
				return
			}
		}
		wrote <- nil
	}()
	got := sha256.New()
	for n := int64(0); n < size; {
		_, reader, err := ws.NextReader()
		if err != nil {
			t.Fatalf("after %d bytes: %v", n, err)
		}
		k, err := io.Copy(got, reader)
		if n += k; err != nil {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	if want, _, _ := tunnelSum(io.LimitReader(tunnelNoise(7), size)); [sha256.Size]byte(got.Sum(nil)) != want {
		t.Error("other bytes come back")
	}
}

// Close codes and reasons pass as they are, both ways: the proxy has none of its own.
func TestBytesWebSocketCloseCodes(t *testing.T) {
	t.Parallel()
	codes := map[int]string{1000: "done", 1001: "going away", 3000: "an application's own", 4001: "grüße"}
	heard := make(chan string, len(codes))
	r := newBytesRig(t, socketService(t, func(ws *websocket.Conn) { heard <- socketSays(ws) }))
	for code, reason := range codes {
		ws, _ := r.socket(t)
		_ = ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason))
		want := fmt.Sprint(code, " ", reason)
		if got := <-heard; got != want {
			t.Errorf("the service hears %q, not %q", got, want)
		}
		if got := socketSays(ws); got != fmt.Sprint(code, " ") {
			t.Errorf("the service's answer to %q is %q", want, got)
		}
	}
}

// A service's last words and its close frame arrive, though it ends the connection
// at once behind them.
func TestBytesWebSocketServiceCloses(t *testing.T) {
	t.Parallel()
	codes := []int{1000, 1001, 3000}
	next := make(chan int, len(codes))
	r := newBytesRig(t, socketService(t, func(ws *websocket.Conn) {
		_ = ws.WriteMessage(websocket.BinaryMessage, make([]byte, 3<<20))
		_ = ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(<-next, "because"))
	}))
	for _, code := range codes {
		next <- code
		ws, _ := r.socket(t)
		_, data, err := ws.ReadMessage()
		if err != nil || len(data) != 3<<20 {
			t.Errorf("the last words are %d bytes, %v", len(data), err)
		}
		if got, want := socketSays(ws), fmt.Sprint(code, " because"); got != want {
			t.Errorf("the outside hears %q, not %q", got, want)
		}
		_ = ws.NetConn().SetReadDeadline(time.Now().Add(patience))
		if n, err := ws.NetConn().Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
			t.Errorf("the connection ends with %v", err)
		}
	}
}

// An outside that goes without a close frame is gone for the service, whether it ends
// or resets its connection.
func TestBytesWebSocketOutsideCut(t *testing.T) {
	t.Parallel()
	heard := make(chan string, 1)
	r := newBytesRig(t, socketService(t, func(ws *websocket.Conn) { heard <- socketSays(ws) }))
	for _, reset := range []bool{false, true} {
		ws, _ := r.socket(t)
		_ = ws.WriteMessage(websocket.TextMessage, []byte("hello"))
		if reset {
			_ = ws.NetConn().(interface{ SetLinger(int) error }).SetLinger(0)
		}
		ws.NetConn().Close()
		select {
		case got := <-heard:
			if !strings.Contains(got, "1006") && !strings.Contains(got, "reset") {
				t.Errorf("reset %t: the service hears %q", reset, got)
			}
		case <-time.After(patience):
			t.Fatalf("reset %t: the service hears nothing", reset)
		}
	}
	for i, conn := range r.c.all() {
		if !waitClosed(conn.done, patience) {
			t.Errorf("connection %d does not end", i)
		}
	}
}

// A WebSocket on which nothing is said stays, whatever the time-out of HTTP.
func TestBytesWebSocketIdle(t *testing.T) {
	t.Parallel()
	r := newBytesRig(t, socketService(t, socketEcho), "TUNNEL_HTTP_TIMEOUT=1s")
	ws, _ := r.socket(t)
	<-time.After(3 * time.Second) // longer than every time-out of HTTP here
	_ = ws.WriteMessage(websocket.TextMessage, []byte("still here"))
	if _, text, err := ws.ReadMessage(); string(text) != "still here" {
		t.Errorf("%q, %v", text, err)
	}
}

// The outside may end its sending side alone: the service answers still.
func TestBytesUpgradeHalfClosed(t *testing.T) {
	t.Parallel()
	r := newBytesRigTo(t, upgradeService(t, "echo-at-end"), "")
	wire := r.wire(t)
	wire.say(t, "GET / HTTP/1.1", "Host: "+r.c.host, "Connection: Upgrade", "Upgrade: echo-at-end")
	if response, err := http.ReadResponse(wire.in, nil); err != nil || response.StatusCode != 101 || response.Header.Get("Upgrade") != "echo-at-end" {
		t.Fatalf("%v, %v", response, err)
	}
	_, _ = io.CopyN(struct{ io.Writer }{wire}, tunnelNoise(9), 1<<20)
	wire.CloseWrite()
	want, _, _ := tunnelSum(io.LimitReader(tunnelNoise(9), 1<<20))
	if sum, n, err := tunnelSum(wire.in); err != nil || sum != want {
		t.Errorf("%d bytes come back, %v", n, err)
	}
}
