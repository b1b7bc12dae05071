package gossh

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/transport/http1"
)

// walk says of a stream of frames, by the book, whether a close frame has passed
// whole, and whether it ends where a frame does.
func walk(b []byte) (closed, boundary bool) {
	for len(b) > 0 {
		if len(b) < 2 {
			return closed, false
		}
		size, header := uint64(b[1]&0x7f), 2
		switch {
		case size == 126 && len(b) >= 4:
			size, header = uint64(binary.BigEndian.Uint16(b[2:])), 4
		case size == 127 && len(b) >= 10:
			size, header = binary.BigEndian.Uint64(b[2:]), 10
		case size >= 126:
			return closed, false
		}
		if b[1]&0x80 != 0 {
			header += 4
		}
		if len(b) < header || uint64(len(b)-header) < size {
			return closed, false
		}
		closed = closed || b[0]&0x0f == 8
		b = b[uint64(header)+size:]
	}
	return closed, true
}

func TestFramesAreFollowed(t *testing.T) {
	var all []byte
	for _, n := range []int{0, 1, 125, 126, 65535, 65536} {
		all = append(all, testkit.Frame(0x82, testkit.Pattern(n))...)
		all = append(all, 0x89, byte(n%126)) // unmasked
		all = append(all, testkit.Pattern(n%126)...)
	}
	all = append(all, testkit.Frame(0x88, testkit.ClosePayload(1000, "bye"))...)
	for _, step := range []int{1, 2, 7, 4096, len(all)} {
		var f frames
		for at := 0; at < len(all); at += step {
			if f.closed {
				t.Fatalf("in steps of %d a close frame is found at %d", step, at)
			}
			f.read(all[at:min(at+step, len(all))])
		}
		if !f.closed || f.left != 0 || len(f.head) != 0 {
			t.Errorf("in steps of %d: closed %t, %d bytes left", step, f.closed, f.left)
		}
	}
}

// The walker sees in pieces what a reader by the book sees of the whole.
func FuzzWebSocketFrames(f *testing.F) {
	f.Add(testkit.Frame(0x88, testkit.ClosePayload(1000, "")), uint8(1))
	f.Add(append(testkit.Frame(0x82, testkit.Pattern(300)), 0x88, 0), uint8(7))
	f.Add([]byte{0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 9, 0x88, 0x80, 1, 2, 3, 4}, uint8(3))
	f.Add([]byte{0x82, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x88, 0}, uint8(2))
	f.Add([]byte{0x88, 0x7e, 0, 1}, uint8(1))
	f.Fuzz(func(t *testing.T, stream []byte, step uint8) {
		var w frames
		for rest := stream; len(rest) > 0; {
			n := min(len(rest), 1+int(step))
			w.read(rest[:n])
			rest = rest[n:]
		}
		closed, boundary := walk(stream)
		ours := (&webSocket{fromVisitor: w})
		if ours.closedByVisitor() != closed || ours.atBoundary() != boundary {
			t.Errorf("%x: closed %t, at a boundary %t; by the book %t, %t", stream, w.closed, ours.atBoundary(), closed, boundary)
		}
	})
}

func TestGoingAwayIsAMaskedClose(t *testing.T) {
	if want := testkit.FrameKey(0x88, testkit.ClosePayload(1001, ""), [4]byte{0x5a, 0xa5, 0x3c, 0xc3}); string(want) != string(goingAway) {
		t.Errorf("it is %x, want %x", goingAway, want)
	}
}

// echo is a WebSocket service that sends everything back, and closes as it was
// closed. How it ended is said.
func echo(t testing.TB) (address string, ended <-chan error) {
	t.Helper()
	ends := make(chan error, 1000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ws, err := (&websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}).Upgrade(w, r, nil)
		if err != nil {
			ends <- err
			return
		}
		defer ws.Close()
		for {
			kind, p, err := ws.ReadMessage()
			if err != nil {
				ends <- err
				return
			}
			if string(p) == "close!" {
				_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4002, "service"), time.Now().Add(testkit.Patience))
				continue
			}
			_ = ws.WriteMessage(kind, p)
		}
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String(), ends
}

func wantCode(t testing.TB, err error, code int) {
	t.Helper()
	var closed *websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != code {
		t.Errorf("the end is %v, want the code %d", err, code)
	}
}

// wantEnd waits for the end of a visitor's connection, which must come soon
// after both close frames.
func wantEnd(t testing.TB, ws *websocket.Conn) {
	t.Helper()
	begun := time.Now()
	if n, err := ws.NetConn().Read(make([]byte, 1)); n > 0 || err != io.EOF {
		t.Errorf("behind the close frame comes %d, %v", n, err)
	}
	if took := time.Since(begun); took > time.Second {
		t.Errorf("the end comes after %s", took)
	}
}

func TestWebSocketIsClosedInOrder(t *testing.T) {
	h := newHouse(t)
	service, ended := echo(t)
	d := newDouble(t, h, service)
	for _, byService := range []bool{false, true} {
		ws := d.visit(h)
		large := string(testkit.Pattern(200_000))
		for _, sent := range []string{"hello", large, ""} {
			if err := ws.WriteMessage(websocket.BinaryMessage, []byte(sent)); err != nil {
				t.Fatal(err)
			}
			if _, p, err := ws.ReadMessage(); err != nil || string(p) != sent {
				t.Fatalf("%d bytes come back of %d, %v", len(p), len(sent), err)
			}
		}
		if byService {
			_ = ws.WriteMessage(websocket.TextMessage, []byte("close!"))
			_, _, err := ws.ReadMessage() // and answers it
			wantCode(t, err, 4002)
			wantEnd(t, ws)
			wantCode(t, testkit.Receive(t, ended), 4002)
		} else {
			_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4001, "visitor"), time.Now().Add(testkit.Patience))
			_, _, err := ws.ReadMessage()
			wantCode(t, err, 4001)
			wantEnd(t, ws)
			wantCode(t, testkit.Receive(t, ended), 4001)
		}
		d.wantFreeSlots()
	}
	if _, opened := d.slots(); opened != 2 {
		t.Errorf("%d streams for two WebSockets", opened)
	}
}

// The service hears of a visitor who has left without a word.
func TestWebSocketIsLeft(t *testing.T) {
	h := newHouse(t)
	service, ended := echo(t)
	d := newDouble(t, h, service)
	ws := d.visit(h)
	if err := ws.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ws.ReadMessage(); err != nil {
		t.Fatal(err)
	}
	ws.NetConn().Close()
	wantCode(t, testkit.Receive(t, ended), websocket.CloseGoingAway)
	d.wantFreeSlots()
}

// In the middle of a frame nothing can be said: it would be taken for a part of
// what the visitor meant.
func TestWebSocketIsLeftWithinAFrame(t *testing.T) {
	r := newRig(t)
	c, _ := r.dials()
	c.Begin(0, false)
	c.Answered(&http1.Answer{Status: 101, Fields: []messages.Field{{Name: "Upgrade", Value: "websocket"}}}, nil, true)
	whole := testkit.Frame(0x82, []byte("hello"))
	cut := whole[:len(whole)-1]
	if _, err := c.Write(cut[:3]); err != nil { // what came with the handshake
		t.Fatal(err)
	}
	visitor, outer := testkit.TCPPair(t)
	ended := make(chan struct{})
	c.Join(outer, func() { close(ended) })
	_, _ = visitor.Write(cut[3:])
	visitor.Close()
	testkit.Receive(t, ended)
	for got := ""; got != string(cut); {
		m := r.Reads()
		if got += string(m.Data); m.Type != "data" || !strings.HasPrefix(string(cut), got) {
			t.Fatalf("the service is sent %+v", m)
		}
	}
	if m := r.Reads(); m.Type != "tcp_close" {
		t.Errorf("then the service is sent %+v", m)
	}
}

// A service that keeps its socket half-open for a while is nudged once more
// after that.
func TestWebSocketServiceStaysHalfOpen(t *testing.T) {
	defer func(pause, half time.Duration) { nudgePause, halfOpen = pause, half }(nudgePause, halfOpen)
	nudgePause, halfOpen = 5*time.Millisecond, 1500*time.Millisecond // the first nudges take 635 ms
	service, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	served := make(chan error, 1)
	go func() { served <- serveHalfOpen(service, time.Second) }()
	h := newHouse(t)
	d := newDouble(t, h, service.Addr().String())
	ws := d.visit(h)
	_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(testkit.Patience))
	_, _, err = ws.ReadMessage()
	wantCode(t, err, 1000)
	wantEnd(t, ws)
	if err := testkit.Receive(t, served); err != nil {
		t.Error(err)
	}
	d.wantFreeSlots()
}

// serveHalfOpen answers a handshake and a close frame, ends its sending side,
// and reads what comes for so long.
func serveHalfOpen(l net.Listener, wait time.Duration) error {
	conn, err := l.Accept()
	if err != nil {
		return err
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	r, err := http.ReadRequest(in)
	if err != nil {
		return err
	}
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+
		testkit.AcceptKey(r.Header.Get("Sec-WebSocket-Key"))+"\r\n\r\n")
	if _, err := io.ReadFull(in, make([]byte, 8)); err != nil { // the close frame
		return err
	}
	_, _ = conn.Write([]byte{0x88, 2, 0x03, 0xe8})
	_ = conn.(*net.TCPConn).CloseWrite()
	_ = conn.SetReadDeadline(time.Now().Add(wait))
	if _, err := io.Copy(io.Discard, in); !testkit.IsTimeout(err) {
		return err
	}
	return nil
}
