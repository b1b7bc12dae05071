package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// A gosshStage is the proxy's end of a double's WebSocket, for tests of the
// double itself.
type gosshStage struct {
	t  *testing.T
	ws *websocket.Conn
	c  *gosshClient
}

// gosshOnStage connects a double to a stage.
func gosshOnStage(t *testing.T, script gosshScript) *gosshStage {
	t.Helper()
	conns := make(chan *websocket.Conn, 1)
	upgrader := websocket.Upgrader{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ws, err := upgrader.Upgrade(w, r, nil); err == nil {
			conns <- ws
		}
	}))
	t.Cleanup(server.Close)
	if script.opening == 0 {
		script.opening = time.Millisecond
	}
	c := gosshDial(t, "ws"+strings.TrimPrefix(server.URL, "http"), script)
	stage := &gosshStage{t: t, ws: <-conns, c: c}
	t.Cleanup(func() { stage.ws.Close() })
	_ = stage.ws.SetReadDeadline(time.Now().Add(patience))
	_ = stage.ws.SetWriteDeadline(time.Now().Add(patience))
	return stage
}

// say sends a message in binary.
func (s *gosshStage) say(message any) {
	s.t.Helper()
	data, isData := message.([]byte)
	if !isData {
		data = gosshJSON(message)
	}
	if err := s.ws.WriteMessage(websocket.BinaryMessage, data); err != nil {
		s.t.Error(err)
	}
}

// ask sends http_request.
func (s *gosshStage) ask(id, method, path string, more tunnelJSON) {
	s.t.Helper()
	m := tunnelJSON{"type": "http_request", "id": id, "method": method, "path": path, "headers": tunnelJSON{}, "body": ""}
	for name, value := range more {
		m[name] = value
	}
	s.say(m)
}

func (s *gosshStage) open(id string) {
	s.t.Helper()
	s.say(tunnelJSON{"type": "tcp_open", "connId": id, "remoteAddr": "127.0.0.1:1"})
}

// hear returns the next message.
func (s *gosshStage) hear() []byte {
	s.t.Helper()
	kind, data, err := s.ws.ReadMessage()
	if err != nil {
		s.t.Fatal(err)
	}
	if kind != websocket.BinaryMessage {
		s.t.Errorf("a message of kind %d: %.60q", kind, data)
	}
	return data
}

// answer returns the next message, which is http_response.
func (s *gosshStage) answer(id string) (response gosshResponse) {
	s.t.Helper()
	data := s.hear()
	if err := json.Unmarshal(data, &response); err != nil || response.Type != "http_response" || response.ID != id {
		s.t.Fatalf("not the answer to %s: %.100q, %v", id, data, err)
	}
	return response
}

// expect fails the test unless the next message is this.
func (s *gosshStage) expect(want []byte) {
	s.t.Helper()
	if got := s.hear(); !bytes.Equal(got, want) {
		s.t.Errorf("the double says %.100q, not %.100q", got, want)
	}
}

// settled waits until the double has handled everything that was said.
func (s *gosshStage) settled() {
	s.t.Helper()
	s.ask("settled", "GET", "-", nil)
	if response := s.answer("settled"); response.Status != 400 {
		s.t.Errorf("a bad path is answered %d", response.Status)
	}
}

func (s *gosshStage) slots(want int) {
	s.t.Helper()
	eventually(s.t, patience, fmt.Sprintf("%d slots in use", want), func() bool { used, _ := s.c.slots(); return used == want })
}

func tcpClose(id string) []byte { return []byte(`{"type":"tcp_close","connId":"` + id + `"}`) }

// What the double sends and how it takes what comes.
func TestGosshDoubleFraming(t *testing.T) {
	t.Parallel()
	s := gosshOnStage(t, gosshScript{habits: gosshHabits{cut: 4096, gulp: 64 << 10, deaf: true, largest: 8 << 20}, service: gosshWebServer(t).addr})
	s.ask("1", "GET", "/text?n=10000", nil)
	var all []byte
	for range 2 {
		piece := s.hear()
		if len(piece) != 4096 {
			t.Errorf("a piece of %d bytes", len(piece))
		}
		all = append(all, piece...)
	}
	for !json.Valid(all) && len(all) < 20_000 {
		all = append(all, s.hear()...)
	}
	if !bytes.HasPrefix(all, []byte(`{"type":"http_response","id":"1","status":200,"headers":{"`)) {
		t.Errorf("the answer begins with %.100q", all)
	}
	var response gosshResponse
	if err := json.Unmarshal(all, &response); err != nil || response.Body != gosshText(10_000) {
		t.Errorf("the answer is %.100q, %v", all, err)
	}
	// Text is not heard, nor an object that is too long; its rest is garbage.
	if err := s.ws.WriteMessage(websocket.TextMessage, gosshJSON(tunnelJSON{"type": "http_request", "id": "2", "path": "-"})); err != nil {
		t.Fatal(err)
	}
	s.settled()
	s.ask("3", "POST", "-", tunnelJSON{"body": strings.Repeat("x", 70_000)})
	s.settled()
	if garbage := s.c.seen("garbage"); len(garbage) != 2 || garbage[0].size != 64<<10 {
		t.Errorf("%d pieces of garbage", len(garbage))
	}
	s.ask("4", "POST", "-", tunnelJSON{"body": strings.Repeat("x", 60_000)})
	if response := s.answer("4"); response.Status != 400 {
		t.Errorf("a bad path is answered %d", response.Status)
	}
	s.say(make([]byte, 8<<20)) // a data frame without an id
	s.settled()
	_ = s.ws.WriteMessage(websocket.BinaryMessage, make([]byte, 8<<20+1)) // it may end on the way
	select {
	case <-s.c.ended:
	case <-time.After(patience):
		t.Error("a message above 8 MiB does not end it")
	}
}

// How the double treats raw connections.
func TestGosshDoubleRaw(t *testing.T) {
	t.Parallel()
	service, conns := handServer(t)
	habits := gosshWasm()
	habits.slots = 2
	s := gosshOnStage(t, gosshScript{habits: habits, service: service.String(), opening: 200 * time.Millisecond})
	accept := func() *net.TCPConn {
		t.Helper()
		select {
		case conn := <-conns:
			_ = conn.SetDeadline(time.Now().Add(patience))
			return conn
		case <-time.After(patience):
			t.Fatal("no channel")
			return nil
		}
	}
	s.open("aaaaaaaaaaaa")
	s.say(tunnelFrame("aaaaaaaaaaaa", []byte("early")))
	first := accept()
	s.say(tunnelFrame("aaaaaaaaaaaa", []byte("later")))
	got := make([]byte, 5)
	if _, err := io.ReadFull(first, got); err != nil || string(got) != "later" {
		t.Errorf("the service gets %q, %v", got, err)
	}
	if early := s.c.seen("early"); len(early) != 1 {
		t.Errorf("%d frames came early", len(early))
	}
	_, _ = first.Write([]byte("hi"))
	s.expect(tunnelFrame("aaaaaaaaaaaa", []byte("hi")))

	// No more than two slots, but a bad path needs none.
	s.open("bbbbbbbbbbbb")
	second := accept()
	s.open("cccccccccccc")
	s.expect(tcpClose("cccccccccccc"))
	s.ask("1", "GET", "/", nil)
	if response := s.answer("1"); response.Status != 503 {
		t.Errorf("without a slot a request is answered %d", response.Status)
	}
	s.settled()

	// It does not look at tcp_close, and does not tell that a service ends.
	for _, reason := range []string{"eof", "reset", "unknown"} {
		s.say(tunnelJSON{"type": "tcp_close", "connId": "aaaaaaaaaaaa", "reason": reason})
	}
	s.say(tunnelFrame("aaaaaaaaaaaa", []byte("still")))
	if _, err := io.ReadFull(first, got); err != nil || string(got) != "still" {
		t.Errorf("after tcp_close the service gets %q, %v", got, err)
	}
	first.CloseWrite()
	s.say(tunnelFrame("aaaaaaaaaaaa", []byte("words")))
	if _, err := io.ReadFull(first, got); err != nil || string(got) != "words" {
		t.Errorf("after its own end the service gets %q, %v", got, err)
	}
	first.Close()
	second.Close()
	s.settled()
	s.slots(2)
	// The end is found by a write, not the first, and told twice.
	writes := 0
	eventually(t, patience, "a write that fails", func() bool {
		writes++
		s.say(tunnelFrame("aaaaaaaaaaaa", []byte("x")))
		used, _ := s.c.slots()
		return used == 1
	})
	if writes < 2 {
		t.Error("the first write failed")
	}
	s.expect(tcpClose("aaaaaaaaaaaa"))
	s.expect(tcpClose("aaaaaaaaaaaa"))
	s.ask("2", "GET", "/", nil)
	_, _ = accept().Write([]byte("HTTP/1.1 204 No Content\r\n\r\n"))
	if response := s.answer("2"); response.Status != 204 {
		t.Errorf("with a slot a request is answered %d", response.Status)
	}
}

// What waits for a service is bounded, and so is what waits for nobody.
func TestGosshDoubleQueue(t *testing.T) {
	t.Parallel()
	service, conns := handServer(t)
	s := gosshOnStage(t, gosshScript{habits: gosshHabits{queue: 256, slots: 1}, service: service.String()})
	s.open("aaaaaaaaaaaa")
	conn := <-conns
	_ = conn.SetReadBuffer(64 << 10)
	payload := make([]byte, gosshMessage-16)
	sent := 0
	for ; len(s.c.seen("overflow")) == 0 && sent < 1000; sent++ {
		s.say(tunnelFrame("aaaaaaaaaaaa", payload))
		s.settledBut(tcpClose("aaaaaaaaaaaa"))
	}
	if sent < 256 || sent > 400 {
		t.Errorf("it overflows after %d frames", sent)
	}
	s.slots(0)
	if _, err := io.Copy(io.Discard, conn); err != nil && isTimeout(err) {
		t.Error(err)
	}
	// Nobody is there.
	nobody := gosshOnStage(t, gosshScript{habits: gosshWasm(), service: closedPort(t).String()})
	nobody.open("bbbbbbbbbbbb")
	nobody.expect(tcpClose("bbbbbbbbbbbb"))
	nobody.slots(0)
}

// settledBut is settled when something else may be said before.
func (s *gosshStage) settledBut(other []byte) {
	s.t.Helper()
	s.ask("settled", "GET", "-", nil)
	for {
		data := s.hear()
		if bytes.Contains(data, []byte(`"settled"`)) {
			return
		}
		if !bytes.Equal(data, other) {
			s.t.Fatalf("the double says %.100q", data)
		}
	}
}

// How the double asks a service and what it makes of the answer.
func TestGosshDoubleHTTP(t *testing.T) {
	t.Parallel()
	web := gosshWebServer(t)
	strict := gosshStrictServer(t, false)
	habits := gosshWasm()
	habits.cut, habits.answerLimit = 0, 5000
	s := gosshOnStage(t, gosshScript{habits: habits, service: web.addr})
	particular := gosshOnStage(t, gosshScript{habits: habits, service: strict.addr})
	polite := gosshOnStage(t, gosshScript{service: web.addr})

	binary := tunnelJSON{"body": "/wAB", "bodyEncoding": "base64"}
	for _, test := range []struct {
		stage        *gosshStage
		method, path string
		more         tunnelJSON
		status       int
		body         string
		encoding     string
	}{
		{s, "GET", "/text?n=1000", nil, 200, gosshText(1000), ""},
		{s, "GET", "/text?n=6000", nil, 200, strings.ToValidUTF8(gosshText(6000)[:5000], "\ufffd"), ""},
		{s, "GET", "/binary?n=3", nil, 200, string(gosshJSON([]byte(gosshBinary(3)))[1:5]), "base64"},
		{s, "GET", "/latin1?n=6", nil, 200, "gr\ufffd\ufffde ", ""},
		{s, "GET", "/chunks?n=1000", nil, 200, "3e8\r\n" + gosshText(1000) + "\r\n0\r\n\r\n", ""},
		{s, "GET", "/eof?n=100", nil, 200, gosshText(100), ""},
		{s, "GET", "/short?n=100", nil, 200, gosshText(100), ""},
		{s, "HEAD", "/text?n=1000", nil, 200, "", ""},
		{s, "POST", "/sum", tunnelJSON{"body": "grüße"}, 200, gosshSum("POST", "grüße"), ""},
		{s, "POST", "/sum", binary, 200, gosshSum("POST", "/wAB"), ""},
		{particular, "POST", "/sum", tunnelJSON{"body": "x"}, 200, gosshSum("POST", "x"), ""},
		{particular, "POST", "/sum", tunnelJSON{"body": "x", "headers": tunnelJSON{"Content-Length": "1"}}, 400, "", ""},
		{polite, "POST", "/sum", binary, 200, gosshSum("POST", "\xff\x00\x01"), ""},
		{polite, "GET", "/chunks?n=6000", nil, 200, gosshText(6000), ""},
		{polite, "GET", "/latin1?n=6", nil, 200, "Z3L832Ug", "base64"},
	} {
		test.stage.ask("0", test.method, test.path, test.more)
		response := test.stage.answer("0")
		if response.Status != test.status || test.status == 200 && response.Body != test.body || response.BodyEncoding != test.encoding {
			t.Errorf("%s %s: %d, %.100q, %s", test.method, test.path, response.Status, response.Body, response.BodyEncoding)
		}
	}
	s.ask("1", "GET", "/headers", tunnelJSON{"headers": tunnelJSON{"X-One": "1", "Connection": "X-One", "Upgrade": "x", "Te": "trailers"}})
	var got map[string][]string
	if err := json.Unmarshal([]byte(s.answer("1").Body), &got); err != nil || fmt.Sprint(got) != "map[Connection:[close] X-One:[1]]" {
		t.Errorf("the service gets %v, %v", got, err)
	}
	s.slots(0)
	if used, most := s.c.slots(); used != 0 || most != 1 {
		t.Errorf("%d slots are in use, of %d at most", used, most)
	}
}
