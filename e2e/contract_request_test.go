package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// A reply is a plain HTTP answer.
type reply struct {
	status int
	header http.Header
	body   string
}

// handshake are the header lines that make a request a WebSocket upgrade.
var handshake = []string{
	"Connection: Upgrade",
	"Upgrade: websocket",
	"Sec-WebSocket-Version: 13",
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
}

// upgrading returns the lines of a handshake with others added.
func upgrading(lines ...string) []string {
	return append(append([]string{}, handshake...), lines...)
}

// request sends a request byte for byte as given, from a connection of its own
// that is closed with the answer: nothing between the test and the server
// mends what is malformed or joins what comes twice. A WebSocket that it opens
// is cut at once. It may be called from any goroutine.
func request(address, method, target string, lines ...string) (reply, error) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return reply{}, err
	}
	defer conn.Close()
	return exchange(conn, method, target, lines...)
}

// exchange is request on a connection that stays the caller's.
func exchange(conn net.Conn, method, target string, lines ...string) (reply, error) {
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return reply{}, err
	}
	head := method + " " + target + " HTTP/1.1\r\nHost: " + conn.RemoteAddr().String() + "\r\n"
	for _, line := range lines {
		head += line + "\r\n"
	}
	if _, err := io.WriteString(conn, head+"\r\n"); err != nil {
		return reply{}, err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return reply{response.StatusCode, response.Header, string(body)}, err
}

// ask is request for the test's own goroutine.
func ask(t *testing.T, s *server, method, target string, lines ...string) reply {
	t.Helper()
	r, err := request(s.addr, method, target, lines...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	return r
}

// relayPath is the path and query of a relay to an address, with more query
// parameters, in pairs of name and value.
func relayPath(target net.Addr, more ...string) string {
	host, port, _ := net.SplitHostPort(target.String())
	return relayPathTo(host, port, more...)
}

func relayPathTo(host, port string, more ...string) string {
	query := url.Values{"host": {host}, "port": {port}}
	for i := 0; i+1 < len(more); i += 2 {
		query.Set(more[i], more[i+1])
	}
	return "/relay?" + query.Encode()
}

// portOf is the port of an address, as text.
func portOf(address net.Addr) string {
	_, port, _ := net.SplitHostPort(address.String())
	return port
}

// headerOf turns "Name: value" lines into a header.
func headerOf(lines ...string) http.Header {
	header := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		header.Add(name, value)
	}
	return header
}

// open opens a WebSocket that must come about.
func open(t *testing.T, s *server, pathAndQuery string, lines ...string) *websocket.Conn {
	t.Helper()
	ws, response, err := dialWS(t, s.ws(pathAndQuery), headerOf(lines...))
	if err != nil {
		t.Fatalf("%s: %v (%s)", pathAndQuery, err, describe(response))
	}
	return ws
}

func describe(response *http.Response) string {
	if response == nil {
		return "no answer"
	}
	body, _ := io.ReadAll(response.Body)
	return fmt.Sprintf("status %d, %q", response.StatusCode, body)
}

// closing reads a WebSocket to its end and returns the close code and text; the
// code is 0 when it ended in another way.
func closing(t *testing.T, ws *websocket.Conn) (code int, text string) {
	t.Helper()
	_ = ws.SetReadDeadline(time.Now().Add(patience))
	for {
		_, _, err := ws.ReadMessage()
		if closed, ok := err.(*websocket.CloseError); ok {
			return closed.Code, closed.Text
		}
		if err != nil {
			return 0, err.Error()
		}
	}
}

// goodbye closes a WebSocket as a client should and waits for the server's end.
func goodbye(t *testing.T, ws *websocket.Conn) {
	t.Helper()
	message := websocket.FormatCloseMessage(websocket.CloseNormalClosure, "")
	if err := ws.WriteControl(websocket.CloseMessage, message, time.Now().Add(patience)); err != nil {
		t.Errorf("the close frame can't be sent: %v", err)
	}
	closing(t, ws)
	ws.Close()
}

// oneSentence checks that a refusal is one sentence of plain text.
func oneSentence(t *testing.T, r reply) {
	t.Helper()
	if kind := r.header.Get("Content-Type"); !strings.HasPrefix(kind, "text/plain") {
		t.Errorf("status %d: the content is %q, want text/plain", r.status, kind)
	}
	text := strings.TrimSuffix(r.body, "\n")
	if strings.Contains(text, "\n") || len(strings.Fields(text)) < 3 || len(text) > 300 || strings.Contains(text, "{") || strings.Contains(text, "</") {
		t.Errorf("status %d: %q is not one sentence", r.status, r.body)
	}
	for _, leak := range []string{"lookup ", "dial tcp", "no such host", "goroutine", ".go:", "0x"} {
		if strings.Contains(text, leak) {
			t.Errorf("status %d: %q says too much", r.status, r.body)
		}
	}
}

// together runs scenarios at the same time that mostly wait, without using up
// what t.Parallel shares out.
func together(t *testing.T, scenarios map[string]func(t *testing.T)) {
	var running sync.WaitGroup
	for name, run := range scenarios {
		running.Go(func() { t.Run(name, run) })
	}
	running.Wait()
}
