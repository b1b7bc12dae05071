package e2e

import (
	"io"
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// lingers is how long a shutdown may take beyond SHUTDOWN_TIMEOUT, by the
// protocol, and slack what a busy machine adds.
const (
	lingers = 5 * time.Second
	slack   = 3 * time.Second
)

// get returns the status and body of a plain request.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// echo sends a message to an echo server and waits for it.
func echo(t *testing.T, ws *websocket.Conn, text string) {
	t.Helper()
	if err := ws.WriteMessage(websocket.BinaryMessage, []byte(text)); err != nil {
		t.Fatal(err)
	}
	_ = ws.SetReadDeadline(time.Now().Add(patience))
	for got := ""; got != text; {
		_, p, err := ws.ReadMessage()
		if err != nil {
			t.Fatalf("after %q of %q: %v", got, text, err)
		}
		got += string(p)
	}
}

func TestDrainingEndsWhatLives(t *testing.T) {
	t.Parallel()
	const timeout = 5 * time.Second
	s := start(t, allowLoopback(), "MAX_CONNS_PER_IP=0", "SHUTDOWN_TIMEOUT=5s")
	far := echoServer(t)
	sessions := make([]*websocket.Conn, 50)
	for i := range sessions {
		sessions[i] = dial(t, s, far)
		echo(t, sessions[i], "before")
	}
	if code, body := get(t, s.url("/health")); code != 200 || body != "ok" {
		t.Errorf("/health answers %d %q before", code, body)
	}
	signalled := time.Now()
	s.signal(syscall.SIGTERM)
	s.waitLog(t, `"msg":"draining`)

	eventually(t, patience, "/health answers 503 draining", func() bool {
		code, body := get(t, s.url("/health"))
		return code == 503 && body == "draining"
	})
	if _, response, err := dialWS(t, relayURL(s, far), nil); err == nil || response == nil || response.StatusCode != 503 {
		t.Errorf("a new relay is answered %v, error %v; want 503", response, err)
	}
	for _, ws := range sessions[:10] {
		echo(t, ws, "while draining")
	}
	if took := time.Since(signalled); took > timeout {
		t.Fatalf("the machine is too slow: %v passed before anything was tested", took)
	}

	var first, last time.Duration
	for i, ws := range sessions {
		got := expectClosed(t, ws, websocket.CloseGoingAway, "restart, retry within 1 s")
		last = time.Since(signalled)
		if i == 0 {
			first = last
		}
		if got.n != 0 {
			t.Errorf("%d bytes came from nowhere", got.n)
		}
		ws.Close()
	}
	if first < timeout || last > timeout+slack {
		t.Errorf("closed from %v to %v after the signal, want %v", first, last, timeout)
	}
	if code := s.wait(lingers); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if n := len(s.logLines(`"reason":"shutdown"`)); n != len(sessions) {
		t.Errorf("%d of %d sessions ended for the shutdown", n, len(sessions))
	}
}

// For SHUTDOWN_DELAY a balancer is told to move on while new sessions are still let in.
// That is no part of SHUTDOWN_TIMEOUT.
func TestDrainingBeginsAfterItsDelay(t *testing.T) {
	t.Parallel()
	const delay = 3 * time.Second
	s := start(t, allowLoopback(), "SHUTDOWN_DELAY="+delay.String(), "SHUTDOWN_TIMEOUT=1s")
	far := echoServer(t)
	signalled := time.Now()
	s.signal(syscall.SIGTERM)
	s.waitLog(t, `"msg":"shutting down`)
	eventually(t, patience, "/health answers 503", func() bool { code, _ := get(t, s.url("/health")); return code == 503 })
	ws := dial(t, s, far)
	echo(t, ws, "after the signal")
	if took := time.Since(signalled); took > delay {
		t.Fatalf("the machine is too slow: %v passed before anything was tested", took)
	}
	eventually(t, patience, "a new relay is refused", func() bool {
		ws, response, err := dialWS(t, relayURL(s, far), nil)
		if err == nil {
			ws.Close()
		}
		return err != nil && response != nil && response.StatusCode == 503
	})
	if took := time.Since(signalled); took < delay {
		t.Errorf("a new relay is refused %v after the signal, before %v have passed", took, delay)
	}
	expectClosed(t, ws, websocket.CloseGoingAway, "restart, retry within 1 s")
	if took := time.Since(signalled); took < delay+time.Second {
		t.Errorf("closed %v after the signal, before the %v and 1 s", took, delay)
	}
	ws.Close()
	if code := s.wait(lingers + slack); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// Neither a client that doesn't answer the close, nor one that doesn't even
// read, holds the end up by more than the 5 s that the protocol has for it.
func TestShutdownWaitsForDeadClients(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback(), "MAX_CONNS_PER_IP=0", "SHUTDOWN_TIMEOUT=500ms")
	silent, flood := echoServer(t), floodServer(t)
	for range 10 {
		dialRaw(t, relayURL(s, silent), nil)
		dialRaw(t, relayURL(s, flood), nil)
	}
	eventually(t, patience, "20 sessions", func() bool { return len(s.logLines(`"relay started"`)) == 20 })
	signalled := time.Now()
	s.signal(syscall.SIGTERM)
	if code := s.wait(patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if took := elapsed(signalled); took > 500*time.Millisecond+lingers+slack {
		t.Errorf("it took %v to end", took)
	}
}

func TestDrainedServerStaysOn(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback(), "SHUTDOWN_TIMEOUT=1h")
	ws := dial(t, s, echoServer(t))
	echo(t, ws, "before")
	s.signal(syscall.SIGINT)
	s.waitLog(t, `"msg":"draining`)
	echo(t, ws, "after")
	if s.hasEnded() {
		t.Fatal("it ended with a session alive")
	}
	goodbye := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	if err := ws.WriteControl(websocket.CloseMessage, goodbye, time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	expectClosed(t, ws, websocket.CloseNormalClosure, "")
	ws.Close()
	if code := s.wait(lingers + slack); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

func TestIdleServerDoesNotEnd(t *testing.T) {
	t.Parallel()
	for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		s := start(t, "SHUTDOWN_TIMEOUT=1h")
		// A connection that has not asked for anything yet holds nobody up.
		conn := dialTCP(t, s)
		s.signal(sig)
		if code := s.wait(lingers); code != 0 {
			t.Errorf("exit code %d after %v", code, sig)
		}
		conn.Close()
	}
}

func TestSecondSignalIgnored(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback(), "SHUTDOWN_TIMEOUT=1h")
	ws := dial(t, s, echoServer(t))
	echo(t, ws, "before")
	s.signal(syscall.SIGTERM)
	s.waitLog(t, `"msg":"draining`)
	signalled := time.Now()
	s.signal(syscall.SIGTERM)
	s.wait(patience)
	if took := elapsed(signalled); !s.hasEnded() || took > slack {
		t.Errorf("after the second signal it ran for %v", took)
	}

	// Nor does it wait for the closes to be answered.
	s = start(t, allowLoopback(), "SHUTDOWN_TIMEOUT=100ms")
	raw := dialRaw(t, relayURL(s, echoServer(t)), nil)
	s.waitLog(t, "relay started")
	s.signal(syscall.SIGTERM)
	for {
		first, _, err := raw.read()
		if err != nil {
			t.Fatal(err)
		}
		if first == finBit|opClose {
			break
		}
	}
	signalled = time.Now()
	s.signal(syscall.SIGTERM)
	s.wait(patience)
	if took := elapsed(signalled); !s.hasEnded() || took > slack {
		t.Errorf("after the second signal it ran for %v", took)
	}
}
