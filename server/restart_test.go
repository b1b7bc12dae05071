package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sys/unix"

	"wsproxy/config"
	"wsproxy/messages"
)

// What a handler that is to fail is sent, as the payload for a connection that there is
// not: short data for one that there is meets no mailbox.
const fatal = "make the handler fail"

// restartServer is the whole server with real listeners, in this process, so
// that a handler can be made to fail. It ends with the test.
func restartServer(t testing.TB) (address string) {
	t.Helper()
	s, address := startForRestarts(t, freePorts(t, 8), 8)
	t.Cleanup(func() { s.close(t.Context()) })
	return address
}

// startForRestarts starts that server with so many raw ports from first on.
func startForRestarts(t testing.TB, first, ports int, env ...string) (s *service, address string) {
	t.Helper()
	c, err := config.Load(append([]string{"PORT=0", "BIND=127.0.0.1", "TUNNEL_DOMAIN=tunnel.test", "TUNNEL_BIND=127.0.0.1",
		fmt.Sprintf("TUNNEL_PORT_MIN=%d", first), fmt.Sprintf("TUNNEL_PORT_MAX=%d", first+ports-1)}, env...))
	if err != nil {
		t.Fatal(err)
	}
	log := &addressLog{Handler: slog.DiscardHandler, address: make(chan string, 1)}
	s, err = startWith(c, "test", slog.New(log), particulars{environ: env, inject: func(message any) {
		if data, ok := message.(*messages.Data); ok && string(data.Data) == fatal {
			panic("injected")
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return s, <-log.address
}

// An addressLog keeps the address that the server says it listens on.
type addressLog struct {
	slog.Handler
	address chan string
}

func (l *addressLog) Enabled(context.Context, slog.Level) bool { return true }

func (l *addressLog) WithAttrs([]slog.Attr) slog.Handler { return slog.DiscardHandler }

func (l *addressLog) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if r.Message == "listening" && a.Key == "address" {
			l.address <- a.Value.String()
		}
		return true
	})
	return nil
}

// freePorts returns the first of n ports that nothing listens on now.
func freePorts(t testing.TB, n int) int {
	t.Helper()
	for first := 21000; first < 32000; first += n {
		free := 0
		for port := first; port < first+n; port++ {
			if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
				l.Close()
				free++
			}
		}
		if free == n {
			return first
		}
	}
	t.Fatal("no ports are free")
	return 0
}

// A restartTunnel is a tunnel's client: it echoes raw connections, answers
// every request but those for /hang, and notes what it is told.
type restartTunnel struct {
	t      *testing.T
	server string
	ws     *websocket.Conn
	host   string
	port   int
	conns  chan string // connIds, as they open
	closes chan string // reasons of tcp_close
	hung   chan string // ids of requests for /hang
	ended  chan error
}

func openRestartTunnel(t *testing.T, server string) *restartTunnel {
	t.Helper()
	ws, answer, err := websocket.DefaultDialer.Dial("ws://"+server+"/tunnel", nil)
	if err != nil {
		t.Fatal(err, answer)
	}
	t.Cleanup(func() { ws.Close() })
	var ready struct {
		TunnelURL string
		RawPort   int
	}
	if err := ws.ReadJSON(&ready); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(ready.TunnelURL)
	if err != nil || ready.RawPort == 0 {
		t.Fatalf("tunnel_ready says %+v: %v", ready, err)
	}
	c := &restartTunnel{t: t, server: server, ws: ws, host: u.Host, port: ready.RawPort,
		conns: make(chan string, 64), closes: make(chan string, 256), hung: make(chan string, 64), ended: make(chan error, 1)}
	go c.serve()
	return c
}

func (c *restartTunnel) serve() {
	for {
		kind, data, err := c.ws.ReadMessage()
		if err != nil {
			c.ended <- err
			return
		}
		if kind == websocket.BinaryMessage {
			if err := c.ws.WriteMessage(kind, data); err != nil {
				c.ended <- err
				return
			}
			continue
		}
		var m struct{ Type, ID, Path, ConnID, Reason string }
		if err := json.Unmarshal(data, &m); err != nil {
			c.ended <- err
			return
		}
		switch {
		case m.Type == "tcp_open":
			c.conns <- m.ConnID
		case m.Type == "tcp_close":
			c.closes <- m.Reason
		case m.Path == "/hang":
			c.hung <- m.ID
		default:
			_ = c.ws.WriteJSON(map[string]any{"type": "http_response", "id": m.ID, "status": 200, "body": m.Path})
		}
	}
}

// get asks for a path through the tunnel.
func (c *restartTunnel) get(path string) (status int, body string, err error) {
	r, _ := http.NewRequest("GET", "http://"+c.server+path, nil)
	r.Host = c.host
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(b), err
}

func (c *restartTunnel) wantServed() {
	c.t.Helper()
	if status, body, err := c.get("/again"); status != 200 || body != "/again" || err != nil {
		c.t.Errorf("a request is answered %d %q, %v", status, body, err)
	}
	conn := c.dial()
	defer conn.Close()
	c.wantEcho(conn)
}

func (c *restartTunnel) dial() net.Conn {
	c.t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", c.port))
	if err != nil {
		c.t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

func (c *restartTunnel) wantEcho(conn net.Conn) {
	c.t.Helper()
	fmt.Fprintln(conn, "hello")
	if line, err := bufio.NewReader(conn).ReadString('\n'); line != "hello\n" {
		c.t.Errorf("the echo is %q, %v", line, err)
	}
}

// traffic keeps a tunnel busy with requests and an echo over one raw connection
// until it is stopped, and fails the test if anything of that goes wrong.
func (c *restartTunnel) traffic() (rounds *atomic.Int64, stop func()) {
	conn := c.dial()
	over, done := make(chan struct{}), make(chan struct{})
	rounds = new(atomic.Int64)
	go func() {
		defer close(done)
		for !c.t.Failed() {
			select {
			case <-over:
				return
			default:
			}
			if status, body, err := c.get("/b"); status != 200 || body != "/b" || err != nil {
				c.t.Errorf("a tunnel with traffic answers %d %q, %v", status, body, err)
				return
			}
			c.wantEcho(conn)
			rounds.Add(1)
		}
	}()
	return rounds, func() {
		close(over)
		<-done
		conn.Close()
		if rounds.Load() == 0 {
			c.t.Error("there was no traffic meanwhile")
		}
		select {
		case err := <-c.ended:
			c.t.Errorf("the WebSocket of a tunnel with traffic ended: %v", err)
		default:
		}
	}
}

func await[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("%s did not come", what)
		panic("unreachable")
	}
}

// awaitTrue waits until a condition holds that can't be waited for.
func awaitTrue(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !condition(); <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come", what)
		}
	}
}

// fail makes the tunnel's handler fail.
func (c *restartTunnel) fail() {
	c.t.Helper()
	conn := c.dial()
	defer conn.Close()
	id := await(c.t, "tcp_open", c.conns)
	frame := make([]byte, messages.DataHeader)
	messages.PutDataHeader(frame, strings.Repeat("0", len(id)))
	// Beside serve, which writes only when something comes in.
	if err := c.ws.WriteMessage(websocket.BinaryMessage, append(frame, fatal...)); err != nil {
		c.t.Fatal(err)
	}
	if n, _ := io.Copy(io.Discard, conn); n > 0 {
		c.t.Errorf("the connection of a failed handler brings %d bytes", n)
	}
}

func TestFailedHandlerIsRestartedUnderTraffic(t *testing.T) {
	server := restartServer(t)
	failing, other := openRestartTunnel(t, server), openRestartTunnel(t, server)
	_, stop := other.traffic()
	failing.wantServed()
	await(t, "tcp_open", failing.conns)

	waiting := make(chan int, 1)
	go func() {
		status, _, _ := failing.get("/hang")
		waiting <- status
	}()
	await(t, "the request that hangs", failing.hung)
	failing.fail()
	if status := await(t, "the answer to the request that hung", waiting); status != http.StatusBadGateway {
		t.Errorf("a request that waited is answered %d, want 502", status)
	}
	for {
		if reason := await(t, "tcp_close", failing.closes); reason == "restart" {
			break
		}
	}
	failing.wantServed() // by the same WebSocket, at the same subdomain and port
	stop()
}

func TestHandlerThatFailsTenTimesEndsItsTunnelAlone(t *testing.T) {
	server := restartServer(t)
	failing, other := openRestartTunnel(t, server), openRestartTunnel(t, server)
	_, stop := other.traffic()
	for range 9 {
		failing.fail()
	}
	failing.wantServed()
	await(t, "tcp_open", failing.conns)
	failing.fail()
	var end *websocket.CloseError
	if err := await(t, "the tunnel's end", failing.ended); !errors.As(err, &end) || end.Code != websocket.CloseInternalServerErr {
		t.Errorf("the tunnel ends with %v, want 1011", err)
	}
	if status, _, _ := failing.get("/gone"); status != http.StatusNotFound && status != http.StatusBadGateway {
		t.Errorf("its subdomain answers %d", status)
	}
	stop()
}

// A listener that fails is opened again, on the same port, at once or when that
// is possible. What it accepted before goes on meanwhile, and so do the tunnel's
// requests and other tunnels.
func TestFailedListenerIsOpenedAgain(t *testing.T) {
	server := restartServer(t)
	c, other := openRestartTunnel(t, server), openRestartTunnel(t, server)
	rounds, stop := c.traffic()
	otherRounds, stopOther := other.traffic()
	// The kernel ends connections that nobody has accepted yet with their listener.
	awaitTrue(t, "traffic", func() bool { return t.Failed() || rounds.Load() > 0 && otherRounds.Load() > 0 })

	taken := takePort(t, c.port) // so that the tunnel has no port for as long as the test wants
	before, otherBefore := rounds.Load(), otherRounds.Load()
	awaitTrue(t, "traffic while the port is closed", func() bool {
		return t.Failed() || rounds.Load() >= before+20 && otherRounds.Load() >= otherBefore+20
	})
	taken.Close()
	awaitTrue(t, "the raw port's being open again", func() bool {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", c.port))
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	c.wantServed()
	stop()
	stopOther()
}

// takePort breaks the listener of a raw port and listens there itself.
func takePort(t *testing.T, port int) (taken net.Listener) {
	t.Helper()
	awaitTrue(t, "the listener's port", func() bool {
		breakListener(t, port)
		var err error
		taken, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		return err == nil
	})
	return taken
}

// breakListener makes the listening socket of a port fail, as the kernel might.
func breakListener(t *testing.T, port int) {
	t.Helper()
	for fd := 3; fd < 4096; fd++ {
		listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		if err != nil || listens == 0 {
			continue
		}
		address, err := unix.Getsockname(fd)
		if v4, ok := address.(*unix.SockaddrInet4); err == nil && ok && v4.Port == port {
			if err := unix.Shutdown(fd, unix.SHUT_RDWR); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
	t.Fatalf("no socket listens on port %d", port)
}
