package wsproxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// echo answers with the body that it gets, as it gets it.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).EnableFullDuplex()
	_, _ = io.Copy(w, r.Body)
})

// ways are those in which a session goes.
var ways = map[string]bool{"resumable": false, "plain": true}

func TestHandlerIsPublic(t *testing.T) {
	address := newTunnelServer(t)
	for name, plain := range ways {
		t.Run(name, func(t *testing.T) {
			r := openTunnel(t, address, ListenOptions{Server: Server{NoResume: plain}, HostHeader: "localhost:5173"})
			r.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				fmt.Fprint(w, r.Method, " ", r.URL, " ", r.Host, " ", r.Header.Get("X-Forwarded-For"))
			}))
			if r.Resumable() == plain || r.RawAddr != "" || r.Raw != nil || r.Credentials || r.http.Addr().String() != r.URL {
				t.Errorf("the tunnel is %+v at %v", r.Tunnel, r.http.Addr())
			}
			for range 3 {
				if status, body := r.get("/a?b=c"); status != 200 || body != "GET /a?b=c localhost:5173 127.0.0.1" {
					t.Errorf("it answers %d %s", status, body)
				}
			}
		})
	}
}

// Large bodies both ways, many at once, each with its own bytes.
func TestBodies(t *testing.T) {
	address := newTunnelServer(t, "MAX_TUNNEL_HTTP=400", "MAX_TUNNEL_HTTP_PER_IP=200")
	for name, plain := range ways {
		t.Run(name, func(t *testing.T) {
			r := openTunnel(t, address, ListenOptions{Server: Server{NoResume: plain}})
			r.serve(echo)
			post := func(seed uint64, n int64) {
				answer, err := r.outside.Post(r.url("/"), "", noise(seed, n))
				if err != nil {
					t.Errorf("request %d: %v", seed, err)
					return
				}
				defer answer.Body.Close()
				if hash, got, err := sumOf(answer.Body); err != nil || hash != noiseSum(seed, n) {
					t.Errorf("request %d: %d of %d bytes come back, or others: %v", seed, got, n, err)
				}
			}
			post(1, 32<<20)
			var all sync.WaitGroup
			for i := range 100 {
				all.Go(func() { post(uint64(i), 300_000) })
			}
			all.Wait()
		})
	}
}

// What is flushed comes at once; trailers come behind the body.
func TestStreamedAnswer(t *testing.T) {
	r := openTunnel(t, newTunnelServer(t), ListenOptions{})
	seen := make(chan struct{})
	r.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Trailer", "X-Sum")
		for i := range 5 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			w.(http.Flusher).Flush()
			<-seen
		}
		w.Header().Set("X-Sum", "five")
	}))
	answer, err := r.outside.Get(r.url("/events"))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewReader(answer.Body)
	for i := range 5 {
		line, err := lines.ReadString('\n')
		if err != nil || line != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("%q %v", line, err)
		}
		_, _ = lines.ReadString('\n')
		seen <- struct{}{}
	}
	if _, err := lines.ReadByte(); err != io.EOF || answer.Trailer.Get("X-Sum") != "five" {
		t.Errorf("it ends with %v and %v", err, answer.Trailer)
	}
}

func TestUpgrade(t *testing.T) {
	r := openTunnel(t, newTunnelServer(t), ListenOptions{})
	r.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer ws.Close()
		for {
			kind, b, err := ws.ReadMessage()
			if err != nil {
				return
			}
			_ = ws.WriteMessage(kind, b)
		}
	}))
	dialer := websocket.Dialer{NetDial: func(string, string) (net.Conn, error) { return net.Dial("tcp", r.address) }}
	ws, _, err := dialer.Dial("ws"+strings.TrimPrefix(r.url("/ws"), "http"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	for _, n := range []int{0, 5, 100_000} {
		_ = ws.WriteMessage(websocket.BinaryMessage, make([]byte, n))
		if _, b, err := ws.ReadMessage(); err != nil || len(b) != n {
			t.Errorf("of %d bytes %d come back: %v", n, len(b), err)
		}
	}
}

// An answer that is cut is seen as cut, by its framing or by the connection's end.
func TestCutAnswers(t *testing.T) {
	r := openTunnel(t, newTunnelServer(t), ListenOptions{})
	r.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", "100000")
		}
		_, _ = w.Write(make([]byte, 50_000))
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	for _, path := range []string{"/length", "/chunked"} {
		answer, err := r.outside.Get(r.url(path))
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if err == nil {
			t.Errorf("%s: %d bytes look like all of it", path, n)
		}
	}
}

// A tunnel that is closed in the middle of an answer doesn't let it look whole,
// whatever the framing: the service here is none of net/http.
func TestClosedTunnelCutsAnswers(t *testing.T) {
	r := openTunnel(t, newTunnelServer(t), ListenOptions{})
	go func() {
		s, err := r.http.Accept()
		if err != nil {
			return
		}
		_, _ = http.ReadRequest(bufio.NewReader(s))
		_, _ = io.WriteString(s, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf of it")
	}()
	answer, err := r.outside.Get(r.url("/"))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b := make([]byte, 10)
	if _, err := io.ReadFull(answer.Body, b); err != nil {
		t.Fatal(err)
	}
	r.Tunnel.Close()
	if rest, err := io.ReadAll(answer.Body); err == nil {
		t.Errorf("the answer ends in order, with %q", rest)
	}
	<-r.Done()
	if err := r.Err(); err != nil {
		t.Error(err)
	}
}

// A service that doesn't read holds up who sends to it, and nobody else.
func TestServiceThatDoesNotRead(t *testing.T) {
	r := openTunnel(t, newTunnelServer(t), ListenOptions{Raw: true})
	release := make(chan struct{})
	r.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/stuck" {
			<-release
		}
		_, _ = io.Copy(w, r.Body)
	}))
	var stuck sync.WaitGroup
	for i := range 8 {
		stuck.Go(func() {
			answer, err := r.outside.Post(r.url("/stuck"), "", noise(uint64(i), 2<<20))
			if err != nil {
				t.Error(err)
				return
			}
			defer answer.Body.Close()
			_, _ = io.Copy(io.Discard, answer.Body)
		})
	}
	raw, outside := r.raw()
	go func() { _, _ = io.Copy(outside, noise(9, 8<<20)) }() // nobody reads raw
	for range 20 {
		if status, _ := r.get("/"); status != 200 {
			t.Errorf("beside those that are stuck it answers %d", status)
		}
	}
	close(release)
	stuck.Wait()
	_ = raw.Reset()
}

// Each refusal says what to do about it.
func TestListenFails(t *testing.T) {
	for name, test := range map[string]struct {
		env    []string
		o      ListenOptions
		status int
		says   string
	}{
		"no tunnels":    {nil, ListenOptions{}, 404, "TUNNEL_DOMAIN"},
		"a bad name":    {tunnelEnv(t), ListenOptions{Name: "UPPER"}, 400, "name must be"},
		"a bad host":    {tunnelEnv(t), ListenOptions{HostHeader: "a b"}, 400, "host must be"},
		"another place": {tunnelEnv(t), ListenOptions{Server: Server{URL: "/elsewhere"}}, 404, "nothing here"},
	} {
		o := test.o
		o.URL = "ws://" + startServer(t, test.env...) + o.URL
		l, tunnel, err := Listen(t.Context(), o)
		var refused *RefusedError
		if !errors.As(err, &refused) || refused.Status != test.status || !strings.Contains(err.Error(), test.says) || l != nil || tunnel != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A server that ignores what it doesn't know.
	old := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ws, err := (&websocket.Upgrader{}).Upgrade(w, r, nil); err == nil {
			defer ws.Close()
			_ = ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"tunnel_ready","tunnelUrl":"u","rawPort":0,"window":262144}`))
			_, _, _ = ws.ReadMessage()
		}
	})}
	target := listen(t)
	go old.Serve(target)
	defer old.Close()
	if _, _, err := Listen(t.Context(), ListenOptions{Server: Server{URL: "ws://" + target.Addr().String()}}); err == nil || !strings.Contains(err.Error(), "too old") {
		t.Errorf("of a server without http=bytes it says %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, _, err := Listen(ctx, ListenOptions{Server: Server{URL: "ws://" + listen(t).Addr().String()}}); !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("of a server that says nothing it says %v", err)
	}
}

// A server that shuts down, and one that takes the WebSocket away.
func TestServerEnds(t *testing.T) {
	for name, plain := range ways {
		address, stop := runServer(t, append(tunnelEnv(t), "SHUTDOWN_TIMEOUT=10ms")...)
		r := openTunnel(t, address, ListenOptions{Server: Server{NoResume: plain}, Raw: true})
		s, outside := r.raw()
		accepted := make(chan error, 1)
		go func() {
			_, err := r.http.Accept()
			accepted <- err
		}()
		stop()
		_, err := io.Copy(io.Discard, s)
		if !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: the connection ends with %v", name, err)
		}
		if _, err := outside.Read(make([]byte, 1)); err == nil || err == io.EOF {
			t.Errorf("%s: outside the connection ends with %v", name, err)
		}
		if !plain {
			continue // it is looked for until its time is over
		}
		if err := <-accepted; err == nil {
			t.Errorf("%s: it accepts", name)
		}
		<-r.Done()
		var closed *CloseError
		if err := r.Err(); !errors.As(err, &closed) || closed.Code != 1001 {
			t.Errorf("%s: the tunnel ends with %v", name, err)
		}
	}
}
