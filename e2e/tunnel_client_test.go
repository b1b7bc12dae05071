package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
)

const (
	tunnelDomain = "tunnel.test"
	// tunnelWindow is the window of flow=credit.
	tunnelWindow = 256 << 10
	// tunnelMaxWindow is up to what the proxy may widen it.
	tunnelMaxWindow = 8 << 20
	// tunnelPayload is the largest payload of a data frame from the proxy.
	tunnelPayload = 32 << 10
)

// A tunnelMessage is any control message.
type tunnelMessage struct {
	Type         string            `json:"type"`
	TunnelURL    string            `json:"tunnelUrl,omitempty"`
	RawPort      *int              `json:"rawPort,omitempty"`
	RawHost      string            `json:"rawHost,omitempty"`
	Credentials  *bool             `json:"credentials,omitempty"`
	Window       int               `json:"window,omitempty"`
	HTTP         string            `json:"http,omitempty"`
	ID           string            `json:"id,omitempty"`
	Method       string            `json:"method,omitempty"`
	Path         string            `json:"path,omitempty"`
	Headers      map[string]string `json:"headers,omitempty"`
	Body         string            `json:"body,omitempty"`
	BodyEncoding string            `json:"bodyEncoding,omitempty"`
	ConnID       string            `json:"connId,omitempty"`
	RemoteAddr   string            `json:"remoteAddr,omitempty"`
	Protocol     string            `json:"protocol,omitempty"` // of tcp_open
	Reason       string            `json:"reason,omitempty"`
	Bytes        int               `json:"bytes,omitempty"`
	In           int               `json:"in,omitempty"` // of auth_expires
}

// bytes returns the body as it was meant.
func (m tunnelMessage) bytes() []byte {
	if m.BodyEncoding == "base64" {
		b, err := base64.StdEncoding.DecodeString(m.Body)
		if err != nil {
			return []byte(err.Error())
		}
		return b
	}
	return []byte(m.Body)
}

// A tunnelScript is how a scripted client behaves.
type tunnelScript struct {
	query  string                                 // of /tunnel
	header http.Header                            // of /tunnel
	send   int                                    // message type of its JSON; 0 = as the server sends it
	http   func(*tunnelClient, tunnelMessage)     // nil: 200 with the path as the body; runs in a goroutine
	raw    func(*tunnelClient, *tunnelRawConn)    // nil: the connection goes to conns; runs in a goroutine
	close  func(*tunnelClient, tunnelMessage)     // for tcp_close of unknown connIds; nil ignores them
	read   func(c *tunnelClient, n int) (ok bool) // called before each message is read; nil reads on
}

// A tunnelClient is a tunnel's client. It complains of whatever it gets that
// the protocol does not allow.
type tunnelClient struct {
	t      testing.TB
	script tunnelScript
	ws     *websocket.Conn
	ready  tunnelMessage
	url    string // what ready said
	host   string // of url
	port   int    // of raw TCP
	conns  chan *tunnelRawConn
	ended  chan struct{} // closed when the WebSocket has ended
	err    error         // why; set before ended is closed
	binary bool          // how the server sends control messages
	credit bool
	// carry, if it is set, sends messages in place of ws.
	carry func(kind int, data []byte) error

	writing sync.Mutex

	mu   sync.Mutex
	open map[string]*tunnelRawConn // under mu
}

// tunnelServer starts a server with tunnels, and without limits for this host.
func tunnelServer(t *testing.T, env ...string) *server {
	t.Helper()
	first := tunnelPorts(t, 8)
	return start(t, append([]string{
		"TUNNEL_DOMAIN=" + tunnelDomain, "TUNNEL_BIND=127.0.0.1", "MAX_CONNS_PER_IP=0",
		fmt.Sprintf("TUNNEL_PORT_MIN=%d", first), fmt.Sprintf("TUNNEL_PORT_MAX=%d", first+7),
	}, env...)...)
}

// tunnelOpen registers a tunnel. Its WebSocket is closed with the test.
func tunnelOpen(t *testing.T, s *server, script tunnelScript) *tunnelClient {
	t.Helper()
	ws, response, err := dialWS(t, s.ws("/tunnel?"+script.query), script.header)
	if err != nil {
		status := 0
		if response != nil {
			status = response.StatusCode
		}
		t.Fatalf("/tunnel?%s: %v, status %d", script.query, err, status)
	}
	return tunnelOn(t, ws, script)
}

// tunnelOn is tunnelOpen for a WebSocket that is open already.
func tunnelOn(t *testing.T, ws *websocket.Conn, script tunnelScript) *tunnelClient {
	t.Helper()
	c := &tunnelClient{
		t: t, script: script, ws: ws,
		conns: make(chan *tunnelRawConn, 1024), ended: make(chan struct{}), open: make(map[string]*tunnelRawConn),
	}
	query, _ := url.ParseQuery(script.query)
	c.credit = query.Get("flow") == "credit"
	_ = ws.SetReadDeadline(time.Now().Add(patience))
	kind, data, err := ws.ReadMessage()
	if err != nil {
		t.Fatalf("no first message: %v", err)
	}
	_ = ws.SetReadDeadline(time.Time{})
	c.binary = kind == websocket.BinaryMessage
	ready, err := tunnelDecode(data)
	if err != nil || ready.Type != "tunnel_ready" || ready.RawPort == nil || ready.RawHost == "" || ready.Credentials == nil {
		t.Fatalf("the first message is %s: %v", data, err)
	}
	if want := map[bool]int{true: tunnelWindow}[c.credit]; ready.Window != want {
		t.Errorf("the window is %d, not %d", ready.Window, want)
	}
	u, err := url.Parse(ready.TunnelURL)
	if err != nil {
		t.Fatal(err)
	}
	c.url, c.host, c.port = ready.TunnelURL, u.Hostname(), *ready.RawPort
	c.ready = ready
	go c.readAll()
	t.Cleanup(func() {
		ws.Close()
		<-c.ended
	})
	return c
}

// tunnelDecode decodes a control message, which must have no field that the
// protocol does not know.
func tunnelDecode(data []byte) (m tunnelMessage, err error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err = decoder.Decode(&m); err == nil && decoder.More() {
		err = errors.New("something follows the message")
	}
	return m, err
}

func (c *tunnelClient) readAll() {
	var err error
	for n := 0; ; n++ {
		if c.script.read != nil && !c.script.read(c, n) {
			err = errors.New("the script stopped reading")
			break
		}
		var kind int
		var data []byte
		if kind, data, err = c.ws.ReadMessage(); err != nil {
			break
		}
		if kind == websocket.TextMessage || len(data) > 0 && data[0] == '{' {
			c.control(kind == websocket.BinaryMessage, data)
		} else {
			c.data(data)
		}
	}
	c.stop(err)
}

// stop ends all connections, because the WebSocket has ended.
func (c *tunnelClient) stop(err error) {
	c.mu.Lock()
	open := c.open
	c.open = map[string]*tunnelRawConn{}
	c.mu.Unlock()
	for _, conn := range open {
		conn.closed("tunnel ended")
	}
	c.err = err
	close(c.ended)
}

func (c *tunnelClient) control(isBinary bool, data []byte) {
	if isBinary != c.binary {
		c.t.Errorf("control messages are sometimes binary and sometimes text: %.100q", data)
	}
	if !utf8.Valid(data) {
		c.t.Errorf("a control message is not UTF-8: %.100q", data)
	}
	m, err := tunnelDecode(data)
	if err != nil {
		c.t.Errorf("a control message can't be read: %v: %.200q", err, data)
		return
	}
	switch m.Type {
	case "http_request":
		if len(m.ID) != 12 {
			c.t.Errorf("the request's id is %q", m.ID)
		}
		if c.script.http == nil {
			c.answer(m, 200, m.Path)
			return
		}
		go c.script.http(c, m)
	case "tcp_open":
		conn := newTunnelRawConn(c, m)
		c.mu.Lock()
		c.open[m.ConnID] = conn
		c.mu.Unlock()
		if c.script.raw != nil {
			go c.script.raw(c, conn)
			return
		}
		c.conns <- conn
	case "tcp_close":
		switch m.Reason {
		case "eof", "reset", "limit", "slow", "unknown", "restart", "shutdown":
		default:
			c.t.Errorf("tcp_close with reason %q", m.Reason)
		}
		if conn := c.conn(m.ConnID); conn != nil {
			conn.closed(m.Reason)
		} else if c.script.close != nil {
			c.script.close(c, m)
		}
	case "tcp_credit":
		if conn := c.conn(m.ConnID); conn != nil {
			conn.granted(m.Bytes)
		}
		if !c.credit {
			c.t.Errorf("credit without flow=credit: %s", data)
		}
	case "auth_expires":
		if m.In <= 0 || m.In > 60 {
			c.t.Errorf("the token expires in %d s", m.In)
		}
	default:
		c.t.Errorf("a message of type %q", m.Type)
	}
}

func (c *tunnelClient) conn(id string) *tunnelRawConn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open[id]
}

// data takes a data frame.
func (c *tunnelClient) data(frame []byte) {
	if len(frame) < 4+12 || binary.BigEndian.Uint32(frame) != 12 {
		c.t.Errorf("a data frame without a connId: %.40q", frame)
		return
	}
	conn := c.conn(string(frame[4:16]))
	if conn == nil {
		c.t.Errorf("data for a connection that was not opened: %.40q", frame)
		return
	}
	if payload := frame[16:]; len(payload) == 0 || len(payload) > tunnelPayload {
		c.t.Errorf("a data frame with a payload of %d bytes", len(payload))
	}
	conn.received(frame[16:])
}

// write sends a message.
func (c *tunnelClient) write(kind int, data []byte) error {
	if c.carry != nil {
		return c.carry(kind, data)
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.ws.WriteMessage(kind, data)
}

// send sends a control message.
func (c *tunnelClient) send(message any) error {
	data, err := json.Marshal(message)
	if err != nil {
		panic(err)
	}
	kind := c.script.send
	if kind == 0 {
		kind = websocket.TextMessage
		if c.binary {
			kind = websocket.BinaryMessage
		}
	}
	return c.write(kind, data)
}

// tunnelJSON is a control message with whatever a test wants in it.
type tunnelJSON map[string]any

// answer answers a request with plain text.
func (c *tunnelClient) answer(m tunnelMessage, status int, body string) {
	_ = c.send(tunnelJSON{
		"type": "http_response", "id": m.ID, "status": status, "body": body,
		"headers": tunnelJSON{"Content-Type": "text/plain"},
	})
}

// tunnelFrame makes a data frame.
func tunnelFrame(id string, payload []byte) []byte {
	frame := make([]byte, 0, 4+len(id)+len(payload))
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(id)))
	return append(append(frame, id...), payload...)
}

// waitEnd waits for the end of the WebSocket, and returns the code of the
// close frame or -1.
func (c *tunnelClient) waitEnd(t *testing.T) int {
	t.Helper()
	select {
	case <-c.ended:
	case <-time.After(patience):
		t.Fatal("the tunnel's WebSocket does not end")
	}
	var closed *websocket.CloseError
	if errors.As(c.err, &closed) && closed.Code != websocket.CloseAbnormalClosure {
		return closed.Code
	}
	return -1
}

// bye closes the WebSocket in an orderly way and waits for the end.
func (c *tunnelClient) bye(t *testing.T) {
	t.Helper()
	c.writing.Lock()
	_ = c.ws.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""))
	c.writing.Unlock()
	if code := c.waitEnd(t); code != websocket.CloseNormalClosure {
		t.Errorf("the server's close code is %d", code)
	}
}

// next returns the next raw connection.
func (c *tunnelClient) next(t *testing.T) *tunnelRawConn {
	t.Helper()
	select {
	case conn := <-c.conns:
		return conn
	case <-c.ended:
		t.Fatalf("the tunnel has ended: %v", c.err)
	case <-time.After(patience):
		t.Fatal("no tcp_open")
	}
	return nil
}
