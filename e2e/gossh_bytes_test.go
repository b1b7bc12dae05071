package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// events asks for a stream of n events and lets the service send each when the
// one before has come.
func (r *gosshRig) events(n int, pace <-chan time.Time) error {
	request, err := http.NewRequest("GET", r.s.url(fmt.Sprintf("/events?n=%d", n)), nil)
	if err != nil {
		return err
	}
	request.Host = r.c.host
	request.Header = asStream()
	r.web.next <- struct{}{}
	response, err := r.outside.Do(request)
	if err != nil {
		return fmt.Errorf("no event comes: %w", err)
	}
	defer response.Body.Close()
	if kind := response.Header.Get("Content-Type"); response.StatusCode != 200 || kind != "text/event-stream" {
		return fmt.Errorf("the stream is %d, %q", response.StatusCode, kind)
	}
	in := bufio.NewReader(response.Body)
	for i := range n {
		line, err := in.ReadString('\n')
		if want := fmt.Sprintf("data: %d\n", i); err != nil || line != want {
			return fmt.Errorf("event %d is %q, %w", i, line, err)
		}
		if line, err := in.ReadString('\n'); line != "\n" {
			return fmt.Errorf("after event %d comes %q, %w", i, line, err)
		}
		if i == n-1 {
			break
		}
		if pace != nil {
			<-pace
		}
		r.web.next <- struct{}{}
	}
	if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
		return fmt.Errorf("the stream ends with %q, %w", rest, err)
	}
	return nil
}

// Events come while the answer is still going on.
func TestGosshStream(t *testing.T) {
	t.Parallel()
	r := gosshOpen(t, tunnelServer(t), gosshScript{})
	for range 3 {
		if err := r.events(20, nil); err != nil {
			t.Error(err)
		}
	}
	r.check(t)
}

// An answer that has begun may go on for longer than one may wait for it.
func TestGosshLongStream(t *testing.T) {
	t.Parallel()
	r := gosshOpen(t, tunnelServer(t, "TUNNEL_HTTP_TIMEOUT=2s"), gosshScript{})
	pace := time.NewTicker(250 * time.Millisecond)
	defer pace.Stop()
	if err := r.events(12, pace.C); err != nil {
		t.Error(err)
	}
	if reply, err := r.ask("GET", "/never", asStream(), ""); err != nil || reply.status != 504 {
		t.Errorf("a service that does not answer: %d, %v", reply.status, err)
	}
	r.check(t)
}

// webSocket opens a WebSocket to the service and has messages sent back.
func (r *gosshRig) webSocket(sizes ...int) error {
	dialer := websocket.Dialer{HandshakeTimeout: r.limit, ReadBufferSize: 64 << 10, WriteBufferSize: 64 << 10, Subprotocols: []string{"echo"}}
	ws, response, err := dialer.Dial(r.s.ws("/websocket"), http.Header{"Host": {r.c.host}, "Origin": {"https://page.example"}})
	if err != nil {
		if response != nil {
			return fmt.Errorf("the upgrade is answered %d", response.StatusCode)
		}
		return err
	}
	defer ws.Close()
	if ws.Subprotocol() != "echo" {
		return fmt.Errorf("the subprotocol is %q", ws.Subprotocol())
	}
	_ = ws.SetReadDeadline(time.Now().Add(r.limit))
	for _, size := range sizes {
		for kind, message := range map[int]string{websocket.TextMessage: gosshText(size), websocket.BinaryMessage: gosshBinary(size)} {
			failed := make(chan error, 1)
			go func() { failed <- ws.WriteMessage(kind, []byte(message)) }()
			back, got, err := ws.ReadMessage()
			if err = errors.Join(err, <-failed); err != nil || back != kind || string(got) != message {
				return fmt.Errorf("of a message of %d bytes %d come back: %w", size, len(got), err)
			}
		}
	}
	_ = ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseGoingAway, "bye"))
	_, _, err = ws.ReadMessage()
	if !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		return fmt.Errorf("the close is answered with %w", err)
	}
	return nil
}

func TestGosshWebSocket(t *testing.T) {
	t.Parallel()
	r := gosshOpen(t, tunnelServer(t), gosshScript{})
	for range 2 {
		if err := r.webSocket(1, 100, 4096, 70_000, 1<<20); err != nil {
			t.Error(err)
		}
	}
	// An upgrade that the service does not want is a request like others.
	for path, want := range map[string]int{"/text?n=100": 200, "/none": 404} {
		_, response, err := websocket.DefaultDialer.Dial(r.s.ws(path), http.Header{"Host": {r.c.host}})
		if !errors.Is(err, websocket.ErrBadHandshake) || response.StatusCode != want {
			t.Errorf("%s: %v, %+v", path, err, response)
		}
	}
	r.check(t)
}

// An upgrade as some browsers ask for it, with two words in Connection, on a
// connection that has served another request before.
func TestGosshUpgradeLater(t *testing.T) {
	t.Parallel()
	r := gosshOpen(t, tunnelServer(t), gosshScript{})
	wire := tunnelWireTo(t, r.s)
	wire.say(t, "GET /text?n=10 HTTP/1.1", "Host: "+r.c.host)
	if reply := wire.hear(t, "GET"); reply.body != gosshText(10) {
		t.Fatalf("the request before is answered %+v", reply)
	}
	wire.say(t, "GET /websocket HTTP/1.1", "Host: "+r.c.host, "Connection: keep-alive, Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==")
	response, err := http.ReadResponse(wire.in, nil)
	if err != nil || response.StatusCode != 101 || !strings.EqualFold(response.Header.Get("Upgrade"), "websocket") {
		t.Fatalf("the upgrade is answered %+v, %v", response, err)
	}
	frame := append([]byte{0x82, 0x84, 0, 0, 0, 0}, "ping"...) // masked with zeros
	if _, err := wire.Write(frame); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 6)
	if _, err := io.ReadFull(wire.in, got); err != nil || !bytes.Equal(got, []byte("\x82\x04ping")) {
		t.Errorf("the frame comes back as %q, %v", got, err)
	}
	r.check(t)
}

// A download that is larger than what the double reads of an answer.
func TestGosshLongDownload(t *testing.T) {
	t.Parallel()
	r := gosshOpen(t, tunnelServer(t), gosshScript{})
	const size = 12 << 20
	if err := r.get("/binary?n=12582912", asStream(), gosshBinary(size)); err != nil {
		t.Error(err)
	}
	r.check(t)
}

// A service that ends connections which are idle does so without the proxy
// hearing of it. The next request finds its way all the same.
func TestGosshIdleService(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	for _, idle := range []time.Duration{300 * time.Millisecond, 2 * time.Second} {
		t.Run(idle.String(), func(t *testing.T) {
			t.Parallel()
			web := gosshWebServer(t, func(server *http.Server) { server.IdleTimeout = idle })
			r := gosshOpen(t, s, gosshScript{service: web.addr})
			r.web = web
			for i := range 3 {
				var err error
				if i%2 == 0 {
					err = r.post("POST", nil, gosshBinary(100_000))
				} else { // which is a single frame
					err = r.get("/text?n=1000", asStream(), gosshText(1000))
				}
				if err != nil {
					t.Errorf("request %d: %v", i, err)
				}
				eventually(t, patience, "the idle connection has ended", func() bool { return web.open() == 0 })
			}
			if n := r.inBytes("/sum") + r.inBytes("/text?n=1000"); n != 3 {
				t.Errorf("of three requests %d came as bytes", n)
			}
			r.check(t)
		})
	}
}
