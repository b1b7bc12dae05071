package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// Whatever HTTP can do passes expose, and is told of.
func TestExpose(t *testing.T) {
	t.Parallel()
	next := make(chan struct{})
	service := http.NewServeMux()
	service.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Host", r.Host)
		_, _ = io.Copy(w, r.Body)
	})
	service.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	})
	service.HandleFunc("/ws", func(w http.ResponseWriter, r *http.Request) {
		ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer ws.Close()
		for {
			kind, b, err := ws.ReadMessage()
			if err != nil || ws.WriteMessage(kind, b) != nil {
				return
			}
		}
	})
	s := tunnelServer(t)
	e := expose(t, s, "--host-header", "inside.test", bytesService(t, service))
	host, client := e.host(1), tunnelHTTP(t)

	body := strings.Repeat("0123456789", 300_000)
	reply, err := tunnelAsk(client, s, "POST", host, "/echo?x=1", nil, strings.NewReader(body))
	if err != nil || reply.status != 200 || reply.body != body || reply.header.Get("X-Host") != "inside.test" {
		t.Fatalf("%v, %d, %d bytes, %v", err, reply.status, len(reply.body), reply.header)
	}
	told := e.event("request", 1)
	if told["method"] != "POST" || told["path"] != "/echo?x=1" || told["status"] != 200.0 || told["bytes_in"] != 3e6 || told["bytes_out"] != 3e6 {
		t.Errorf("it tells %v", told)
	}

	// Each event comes before the next one is made.
	request, _ := http.NewRequest("GET", s.url("/events"), nil)
	request.Host = host
	answer, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	events := bufio.NewReader(answer.Body)
	for i := range 3 {
		line, err := events.ReadString('\n')
		if err != nil || line != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("%v, %q", err, line)
		}
		_, _ = events.ReadString('\n')
		next <- struct{}{}
	}

	ws, _, err := dialWS(t, s.ws("/ws"), http.Header{"Host": {host}})
	if err != nil {
		t.Fatal(err)
	}
	message := bytes.Repeat([]byte{0, 1, 2, 3}, 50_000)
	_ = ws.WriteMessage(websocket.BinaryMessage, message)
	if _, b, err := ws.ReadMessage(); err != nil || !bytes.Equal(b, message) {
		t.Fatalf("%v, %d bytes came back", err, len(b))
	}
	if told := e.event("open", 2); told["path"] != "/ws" || told["status"] != 101.0 {
		t.Errorf("it tells %v", told)
	}
	_ = ws.Close()
	if told := e.event("request", 3); told["path"] != "/ws" {
		t.Errorf("it tells %v", told)
	}

	e.interrupt()
	if code := e.wait(); code != 0 {
		t.Errorf("it ends with %d", code)
	}
	eventually(t, patience, "the tunnel's end at the server", func() bool {
		reply, err := tunnelAsk(client, s, "GET", host, "/", nil, nil)
		return err == nil && reply.status == 404
	})
}

// What a service leaves unfinished is cut outside, and a service that is down is a page.
func TestExposeFailingService(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := tunnelServer(t)
	e := expose(t, s, l.Addr().String())
	host, client := e.host(1), tunnelHTTP(t)
	answers := map[string]string{
		"/whole":   "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
		"/length":  "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello",
		"/chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"/silent":  "",
	}
	go func() { // for as long as it listens: a client may ask again for what was cut
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if request, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				_, _ = io.WriteString(c, answers[request.URL.Path])
			}
			_ = c.Close()
		}
	}()
	for path := range answers {
		reply, err := tunnelAsk(client, s, "GET", host, path, nil, nil)
		switch {
		case path == "/silent":
			if err != nil || reply.status != 502 || !strings.Contains(reply.body, "without an answer") {
				t.Errorf("%s: %v, %d %q", path, err, reply.status, reply.body)
			}
		case (err == nil) != (path == "/whole"):
			t.Errorf("%s: %v, %d %q", path, err, reply.status, reply.body)
		}
	}
	_ = l.Close()
	reply, err := tunnelAsk(client, s, "POST", host, "/", http.Header{"Accept": {"text/html"}}, strings.NewReader("a body"))
	if err != nil || reply.status != 502 || !strings.Contains(reply.body, "nothing listens at "+l.Addr().String()) || !strings.HasPrefix(reply.header.Get("Content-Type"), "text/html") {
		t.Errorf("%v, %d %q", err, reply.status, reply.body)
	}
}

// A raw port leads to a service, which is told who asks.
func TestExposeRaw(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := tunnelServer(t)
	e := expose(t, s, "--proxy-protocol", "v1", "tcp:"+l.Addr().String())
	address, _ := e.event("ready", 1)["raw"].(string)
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	outside, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	inside, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	for _, c := range []net.Conn{outside, inside} {
		_ = c.SetDeadline(time.Now().Add(patience))
	}
	_, _ = io.WriteString(outside, "to the service")
	_ = outside.(*net.TCPConn).CloseWrite()
	header := fmt.Sprintf("PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\n", outside.LocalAddr().(*net.TCPAddr).Port, l.Addr().(*net.TCPAddr).Port)
	if b, err := io.ReadAll(inside); err != nil || string(b) != header+"to the service" {
		t.Errorf("%v, %q", err, b)
	}
	_, _ = io.WriteString(inside, "and back")
	_ = inside.Close()
	if b, err := io.ReadAll(outside); err != nil || string(b) != "and back" {
		t.Errorf("%v, %q", err, b)
	}
	if told := e.event("connection", 1); told["bytes_in"] != 14.0 || told["bytes_out"] != 8.0 || told["cut"] != nil {
		t.Errorf("it tells %v", told)
	}
	_ = l.Close()
	refused, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err == nil {
		defer refused.Close()
		_ = refused.SetDeadline(time.Now().Add(patience))
		_, err = io.ReadAll(refused)
	}
	if !errors.Is(err, syscall.ECONNRESET) { // which may be there before connect has returned
		t.Errorf("a connection to no service ends with %v", err)
	}
}

func TestExposeBasicAuth(t *testing.T) {
	t.Parallel()
	service := bytesService(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "in, with %q", r.Header.Get("Authorization"))
	}))
	users := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(users, []byte("bob:hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := tunnelServer(t, "TUNNEL_FORWARD_CREDENTIALS=true")
	e := expose(t, s, "--basic-auth-file", users, service)
	host, client := e.host(1), tunnelHTTP(t)
	for _, test := range []struct {
		authorization string
		status        int
	}{{"", 401}, {"Basic Ym9iOmh1c2g=", 200}, {"Basic Ym9iOnB1c2g=", 401}, {"Basic Ym9iOmh1c2g=", 200}} {
		for _, body := range []string{"", strings.Repeat("x", 100_000)} {
			header := http.Header{"Expect": {"100-continue"}}
			if test.authorization != "" {
				header.Set("Authorization", test.authorization)
			}
			reply, err := tunnelAsk(client, s, "POST", host, "/", header, strings.NewReader(body))
			if err != nil || reply.status != test.status || test.status == 200 && reply.body != `in, with ""` {
				t.Errorf("%q with %d bytes: %v, %d %q", test.authorization, len(body), err, reply.status, reply.body)
			}
			if test.status == 401 && !strings.HasPrefix(reply.header.Get("WWW-Authenticate"), "Basic ") {
				t.Errorf("%v", reply.header)
			}
		}
	}
	strips := expose(t, tunnelServer(t), "--basic-auth-file", users, service)
	if code := strips.wait(); code != 5 || !strings.Contains(strips.err.String(), "TUNNEL_FORWARD_CREDENTIALS=true") {
		t.Errorf("%d, %q", code, strips.err)
	}
}
