package e2e

import (
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// sent is what the tests of this file send before they end.
const sent = 8 << 20

// drain reads conn to its end, and fails the test if that isn't an orderly one
// after exactly want.
func drain(t *testing.T, conn *net.TCPConn, want data) {
	t.Helper()
	got := newTally()
	if _, err := io.Copy(got, conn); err != nil {
		t.Fatalf("the target's connection ended after %d bytes of %d: %v", got.n, want.size, err)
	}
	got.expect(t, want)
}

func TestLastBytesToTheTargetLostByAClose(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback())
	far, conns := handServer(t)
	said := newData(sent)
	for _, close := range []struct {
		name    string
		payload []byte
		answer  int
	}{
		{"Normal", closePayload(1000, "done"), 1000},
		{"GoingAway", closePayload(1001, ""), 1001},
		{"OfTheApplication", closePayload(4321, "bye"), 4321},
	} {
		t.Run(close.name, func(t *testing.T) {
			ws := dialRaw(t, relayURL(s, far), nil)
			conn := accept(t, conns)
			failed := make(chan error, 1)
			go func() {
				_, err := copyBy(64<<10, frames{ws}, said.reader())
				if err == nil {
					_, err = ws.Write(frame(finBit|opClose, close.payload))
				}
				failed <- err
			}()
			drain(t, conn, said)
			if err := <-failed; err != nil {
				t.Fatal(err)
			}
			conn.Close()
			if e := ws.expectClose(t, close.answer, ""); e.bytes != 0 {
				t.Errorf("%d bytes came from a silent target", e.bytes)
			}
		})
	}
}

// A close frame without a code is answered, by any code that may be sent.
func TestCloseWithoutCodeNotAnswered(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback())
	ws := dialRaw(t, relayURL(s, echoServer(t)), nil)
	ws.send(t, frame(finBit|opClose, nil))
	ws.expectClose(t, 1000, "")
}

func TestLastBytesToTheTargetLostByAVanishedClient(t *testing.T) {
	t.Parallel()
	// With a ping unread, its kernel would make a reset of the client's Close.
	s := start(t, allowLoopback(), "PING_INTERVAL=1h")
	far, conns := handServer(t)
	said := newData(sent)
	for name, end := range map[string]func(*rawClient) error{
		"CloseWrite": (*rawClient).CloseWrite,
		"Close":      (*rawClient).Close,
	} {
		t.Run(name, func(t *testing.T) {
			ws := dialRaw(t, relayURL(s, far), nil)
			conn := accept(t, conns)
			failed := make(chan error, 1)
			go func() {
				_, err := copyBy(64<<10, frames{ws}, said.reader())
				if err == nil {
					err = end(ws)
				}
				failed <- err
			}()
			drain(t, conn, said)
			if err := <-failed; err != nil {
				t.Fatal(err)
			}
			conn.Close()
		})
	}
	eventually(t, patience, "the end of both sessions in the log", func() bool {
		return len(s.logLines("client_gone")) == 2
	})
}

func TestTargetOutlivesAResetClient(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback())
	far, conns := handServer(t)
	ws := dialRaw(t, relayURL(s, far), nil)
	conn := accept(t, conns)
	ws.send(t, frame(finBit|opBinary, []byte("x")))
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	ws.vanish()
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Fatalf("the target read %d bytes, error %v; want its end", n, err)
	}
	conn.Close()
	if reason := s.waitLog(t, "relay ended")["reason"]; reason != "client_gone" {
		t.Errorf("reason %q", reason)
	}
}

// A target that has ended its stream still is sent what the client says before
// it closes; the session ends when the close has arrived.
func TestAnswerOfATargetLost(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback())
	said := newData(sent)
	ws := dial(t, s, target(t, func(conn *net.TCPConn) {
		_, _ = io.Copy(conn, said.reader())
		_ = conn.CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
	}))
	expectClosed(t, ws, websocket.CloseNormalClosure, "").expect(t, said)
	ws.Close()
	end := s.waitLog(t, "relay ended")
	if end["reason"] != "target_ended" || end["bytes_down"] != float64(sent) {
		t.Errorf("the log says %v", end)
	}
}

func TestUnreachableTarget(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback())
	ws := dial(t, s, closedPort(t))
	expectClosed(t, ws, websocket.CloseInternalServerErr, "cannot reach target")
	ws.Close()
	if reason := s.waitLog(t, "relay ended")["reason"]; reason != "target_unreachable" {
		t.Errorf("reason %q", reason)
	}

	// The close has to arrive at one who pushes from the start, too.
	ws = dial(t, s, closedPort(t))
	pushed := push(ws, 64<<10)
	expectClosed(t, ws, websocket.CloseInternalServerErr, "cannot reach target")
	ws.Close()
	<-pushed
}

// An address that swallows packets is given up at DIAL_TIMEOUT. A listener
// whose queue is full is one, on Linux.
func TestDialWithoutAnswerNotGivenUp(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback(), "DIAL_TIMEOUT=300ms")
	far := deafPort(t)
	began := time.Now() // before the server can begin
	ws := dialRaw(t, relayURL(s, far), nil)
	ws.expectClose(t, websocket.CloseInternalServerErr, "cannot reach target")
	if took := time.Since(began); took < 300*time.Millisecond || took > 5*time.Second {
		t.Errorf("given up after %v, want 300ms", took)
	}

	// A client that leaves meanwhile is not waited for.
	s = start(t, allowLoopback(), "DIAL_TIMEOUT=60s", "SHUTDOWN_TIMEOUT=100ms")
	ws = dialRaw(t, relayURL(s, far), nil)
	s.waitLog(t, "relay started")
	s.signal(syscall.SIGTERM)
	ws.expectClose(t, websocket.CloseGoingAway, "")
	ws.Close()
	if code := s.wait(patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// deafPort is an address that answers no handshake: its queue is full.
func deafPort(t *testing.T) net.Addr {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*syscall.SockaddrInet4).Port}
	for range 8 {
		conn, err := net.DialTimeout("tcp", addr.String(), 200*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatal("a queue of length 0 never was full")
	return nil
}

// A client that leaves after the handshake, or instead of it, leaves nothing.
func TestRelayWithoutUpgradeLeftOver(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback(), "MAX_CONNS_PER_IP=1")
	_, port, _ := net.SplitHostPort(echoServer(t).String())
	for range 5 {
		response, err := http.Get(s.url("/relay?host=127.0.0.1&port=" + port))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusUpgradeRequired {
			t.Fatalf("answered %s, want 426: the session before was not given back", response.Status)
		}
	}
}
