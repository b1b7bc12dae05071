package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// A client that ends its TCP stream without a close frame still reads: it gets
// what is left, a close frame and an end, never a reset.
func TestBareFINAnsweredByAReset(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, allowLoopback())
	said := newData(3900)
	words, _ := io.ReadAll(said.reader())

	t.Run("relay", func(t *testing.T) {
		far, conns := handServer(t)
		ws := dialRaw(t, relayURL(s, far), nil)
		conn := accept(t, conns)
		if _, err := conn.Write(words); err != nil {
			t.Fatal(err)
		}
		if _, err := ws.in.Peek(4 + len(words)); err != nil { // the server has nothing left to read
			t.Fatal(err)
		}
		ws.send(t, frame(finBit|opBinary, []byte("last")), frame(opBinary, []byte("half"))[:8])
		if err := ws.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(conn); string(got) != "lastha" || err != nil {
			t.Errorf("the target got %q, error %v", got, err)
		}
		conn.Close()
		if e := ws.expectClose(t, websocket.CloseNormalClosure, ""); e.bytes != said.size || e.sum != said.sum() {
			t.Errorf("%d bytes of %d arrived, or others", e.bytes, said.size)
		}
	})
	t.Run("tunnel", func(t *testing.T) {
		ws := dialRaw(t, s.ws("/tunnel"), nil)
		if first, ready, err := ws.read(); first != finBit|opText || err != nil {
			t.Fatalf("first comes %#x %q, %v", first, ready, err)
		}
		ws.send(t, frame(finBit|opText, []byte(`{"type":"unknown"}`)))
		if err := ws.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		ws.expectClose(t, websocket.CloseNormalClosure, "")
		if reason := s.waitLog(t, "tunnel ended")["reason"]; reason != "client_gone" {
			t.Errorf("reason %q", reason)
		}
	})
}

// Bytes that come with the handshake are an answer to nothing: 400, and the
// session that was meant for them is free, even while the client sends on.
func TestBytesWithTheHandshakePass(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, allowLoopback(), "MAX_CONNS_PER_IP=1", "METRICS_ADDR=127.0.0.1:0")
	far := echoServer(t)
	for _, path := range []string{relayPath(far), "/tunnel"} {
		wire := tunnelWireTo(t, s)
		early := append(frame(finBit|opBinary, []byte("early")), bytes.Repeat([]byte("x"), 100)...)
		head := "GET " + path + " HTTP/1.1\r\nHost: x\r\n" + strings.Join(handshake, "\r\n") + "\r\n\r\n"
		if _, err := wire.Write(append([]byte(head), early...)); err != nil {
			t.Fatal(err)
		}
		r := wire.hear(t, "GET")
		if r.status != 400 {
			t.Errorf("%s: status %d, want 400", path, r.status)
		}
		oneSentence(t, reply{r.status, r.header, r.body})
		began := time.Now()
		eventually(t, patience, "a session in its place", func() bool {
			ws, _, err := dialWS(t, relayURL(s, far), nil)
			if err != nil {
				return false
			}
			_, _ = wire.Write(early) // it sends on
			echo(t, ws, "hello")
			goodbye(t, ws)
			return true
		})
		if took := elapsed(began); took > lingers-time.Second {
			t.Errorf("%s: the place was free after %v", path, took)
		}
		if err := wire.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, wire.in); n > 0 || err != nil {
			t.Errorf("%s: then come %d bytes, error %v", path, n, err)
		}
		endpoint, _, _ := strings.Cut(path[1:], "?")
		if n := s.refusals(t, endpoint, "early_bytes"); n != 1 {
			t.Errorf("%s: counted %d times", path, n)
		}
	}
}

// refusals is how many requests were refused for a reason.
func (s *server) refusals(t *testing.T, endpoint, reason string) int {
	t.Helper()
	addr, _ := s.waitLog(t, `"msg":"metrics are served"`)["address"].(string)
	_, body := get(t, "http://"+addr+"/metrics")
	n := 0
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(line, fmt.Sprintf("wsproxy_refused_total{endpoint=%q,reason=%q} ", endpoint, reason)); ok {
			_, _ = fmt.Sscan(value, &n)
		}
	}
	return n
}

// A client that leaves while its target is being dialled is noticed within a
// second, however it leaves and however much it has sent before.
func TestClientThatLeavesDuringTheDialHoldsASlot(t *testing.T) {
	t.Parallel()
	deaf := deafPort(t)
	greeting := frame(finBit|opBinary, []byte("SSH-2.0-test\r\n"))
	scenarios := map[string]func(t *testing.T){}
	for name, leave := range map[string]func(ws *rawClient) error{
		"close": func(ws *rawClient) error {
			_, err := ws.Write(frame(finBit|opClose, closePayload(1000, "")))
			return err
		},
		"FIN":   (*rawClient).CloseWrite,
		"reset": func(ws *rawClient) error { ws.vanish(); return nil },
		"greeting and close": func(ws *rawClient) error {
			_, err := ws.Write(append(greeting, frame(finBit|opClose, nil)...))
			return err
		},
		"greeting and reset": func(ws *rawClient) error { _, _ = ws.Write(greeting); ws.vanish(); return nil },
		"much and close": func(ws *rawClient) error {
			_, err := ws.Write(append(frame(finBit|opBinary, make([]byte, 40_000)), frame(finBit|opClose, closePayload(1000, ""))...))
			return err
		},
		"much and FIN": func(ws *rawClient) error {
			_, _ = ws.Write(frame(finBit|opBinary, make([]byte, 40_000)))
			return ws.CloseWrite()
		},
		"much and reset": func(ws *rawClient) error {
			_, _ = ws.Write(frame(finBit|opBinary, make([]byte, 40_000)))
			ws.vanish()
			return nil
		},
	} {
		scenarios[name] = func(t *testing.T) {
			s := start(t, allowLoopback(), "DIAL_TIMEOUT=60s", "MAX_CONNS_PER_IP=1")
			ws := dialRaw(t, relayURL(s, deaf), nil)
			s.waitLog(t, "relay started")
			if err := leave(ws); err != nil {
				t.Fatal(err)
			}
			left := time.Now()
			plain := relayPath(deaf)
			eventually(t, patience, "a free slot", func() bool { return ask(t, s, "GET", plain).status == http.StatusUpgradeRequired })
			if took := elapsed(left); took > time.Second+slack {
				t.Errorf("the slot was free after %v, want a second", took)
			}
			if end := s.waitLog(t, "relay ended"); end["reason"] != "client_closed" && end["reason"] != "client_gone" {
				t.Errorf("the log says %v", end)
			}
		}
	}
	together(t, scenarios)
}

// A client that has said all it has to say and closes at once loses nothing to
// the dial.
func TestBytesBeforeTheDialLost(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback())
	far, conns := handServer(t)
	for i := range 50 {
		said := bytes.Repeat([]byte("a"), 1+i*2000)
		ws := dialRaw(t, relayURL(s, far), nil)
		ws.send(t, append(frame(finBit|opBinary, said), frame(finBit|opClose, closePayload(1000, ""))...))
		conn := accept(t, conns)
		if got, err := io.ReadAll(conn); !bytes.Equal(got, said) || err != nil {
			t.Fatalf("the target got %d bytes of %d, error %v", len(got), len(said), err)
		}
		conn.Close()
		ws.expectClose(t, websocket.CloseNormalClosure, "")
	}
}

// Clients are told to come back in so many seconds that a successor gets 500 of
// them in each.
func TestRestartBringsAllClientsBackAtOnce(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback(), "MAX_CONNS_PER_IP=0", "SHUTDOWN_TIMEOUT=100ms", "LOG_LEVEL=info", "METRICS_ADDR=127.0.0.1:0")
	far := sinkServer(t)
	clients := make([]*rawClient, 501)
	for i := range clients {
		clients[i] = dialRaw(t, relayURL(s, far), nil)
	}
	eventually(t, patience, "all relays", func() bool { return s.metric(t, "wsproxy_relay_sessions") == len(clients) })
	s.signal(syscall.SIGTERM)
	for _, c := range clients {
		c.expectClose(t, websocket.CloseGoingAway, "restart, retry within 2 s")
		c.Close()
	}
	if code := s.wait(patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
