package transport

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
)

// dialDesk opens a WebSocket at a real listener, admitted by admit.
func dialDesk(t *testing.T, d *desk, admit func(*messages.OpenRelay), headers http.Header) (*websocket.Conn, *http.Response) {
	t.Helper()
	address, _ := d.listen(t)
	go func() { admit(d.opened()) }()
	ws, answer, err := websocket.DefaultDialer.Dial("ws://"+address+"/relay?host=192.0.2.1&port=22", headers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	_ = ws.SetReadDeadline(time.Now().Add(testkit.Patience))
	return ws, answer
}

// The actor failed between its admission and the upgrade: the client must not
// be left with a WebSocket that leads nowhere.
func TestUpgradeAfterThePairIsFinishedIsClosed(t *testing.T) {
	d := newDesk(t, nil)
	session := testkit.NewProbe(t, d.probeSystem())
	ws, _ := dialDesk(t, d, func(open *messages.OpenRelay) {
		open.Pair.Own(session.PID)
		open.Pair.Finish(messages.ReasonInternal)
		open.Answer <- messages.Admission{Session: session.PID}
	}, nil)
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, messages.CloseInternal) {
		t.Errorf("the client reads %v", err)
	}
}

// The name is selected if it was offered, in whichever line, and an entry with
// a token never (protocol, section 2).
func TestSubprotocolIsSelectedOnlyIfOffered(t *testing.T) {
	for name, c := range map[string]struct {
		offers []string
		want   string
	}{
		"none":            {nil, ""},
		"name":            {[]string{"wsproxy.v1"}, "wsproxy.v1"},
		"name and token":  {[]string{"bearer.good, wsproxy.v1"}, "wsproxy.v1"},
		"in two lines":    {[]string{"bearer.good", "wsproxy.v1"}, "wsproxy.v1"},
		"token alone":     {[]string{"bearer.good"}, ""},
		"something else":  {[]string{"chat, wsproxy.v2"}, ""},
		"name in capital": {[]string{"WSPROXY.V1"}, ""},
		"older name":      {[]string{"base64, binary"}, "binary"},
		"both names":      {[]string{"binary", "wsproxy.v1"}, "wsproxy.v1"},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t, nil)
			session := testkit.NewProbe(t, d.probeSystem())
			_, answer := dialDesk(t, d, func(open *messages.OpenRelay) {
				open.Pair.Own(session.PID)
				open.Answer <- messages.Admission{Session: session.PID}
				<-session.Got // Upgraded
				open.Pair.Finish(messages.ReasonShutdown)
			}, http.Header{"Sec-Websocket-Protocol": c.offers})
			if got := answer.Header.Get("Sec-WebSocket-Protocol"); got != c.want {
				t.Errorf("selected %q, want %q", got, c.want)
			}
			if answer.Header.Get("Sec-WebSocket-Extensions") != "" {
				t.Error("an extension is agreed on")
			}
		})
	}
}

// handshakeText is a handshake as it travels.
const handshakeText = "GET /relay?host=192.0.2.1&port=22 HTTP/1.1\r\nHost: proxy\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// dialText opens a connection to an address and writes text on it.
func dialText(t *testing.T, address, text string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp4", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(testkit.Patience))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}

// A client that sends before it has the answer is told so, even if it sends on,
// and holds no session meanwhile.
func TestBytesWithTheHandshakeAreRefused(t *testing.T) {
	d := newDesk(t, nil)
	address, _ := d.listen(t)
	session := testkit.NewProbe(t, d.probeSystem())
	go func() { d.opened().Answer <- messages.Admission{Session: session.PID} }()
	conn := dialText(t, address, handshakeText+"early")

	in := bufio.NewReader(conn)
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantSentence(t, answer, http.StatusBadRequest)
	if answer.Header.Get("Date") == "" || answer.Header.Get("Cache-Control") != "no-store" || !answer.Close {
		t.Errorf("the header is %v", answer.Header)
	}
	if _, ok := testkit.Receive(t, session.Got).(*messages.Abandoned); !ok { // the connection is open still
		t.Error("the session is not told")
	}
	if got := d.take(); len(got) != 1 || got[0] != "relay early_bytes" {
		t.Errorf("counted as %q", got)
	}
	for range 100 { // not answered with a reset
		if _, err := io.WriteString(conn, strings.Repeat("x", 10_000)); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(in); len(rest) > 0 || err != nil {
		t.Errorf("then %q comes, %v", rest, err)
	}
}

// A request whose upgrade fails is answered at once and its body is read for
// some seconds, without a session.
func TestFailedUpgradeWithABodyHoldsNoSession(t *testing.T) {
	d := newDesk(t, nil)
	address, _ := d.listen(t)
	session := testkit.NewProbe(t, d.probeSystem())
	go func() { d.opened().Answer <- messages.Admission{Session: session.PID} }()
	text := strings.Replace(handshakeText, "Version: 13", "Version: 8\r\nContent-Length: 100", 1)
	conn := dialText(t, address, text)
	if _, ok := testkit.Receive(t, session.Got).(*messages.Abandoned); !ok { // long before the body has come
		t.Error("the session is not told")
	}
	if _, err := io.WriteString(conn, strings.Repeat("x", 100)); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	wantSentence(t, answer, http.StatusUpgradeRequired)
}
