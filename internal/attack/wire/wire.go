package wire

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"
)

// DialFrom connects from an address of this machine. A receive buffer of 0 is
// the kernel's choice; a small one makes a peer that reads nothing look so early.
func DialFrom(ctx context.Context, from, to string, receiveBuffer int) (net.Conn, error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}, Timeout: RequestLimit, KeepAlive: -1}
	if receiveBuffer > 0 {
		dialer.Control = func(_, _ string, raw syscall.RawConn) (err error) {
			bad := raw.Control(func(fd uintptr) {
				err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, receiveBuffer)
			})
			return errors.Join(bad, err)
		}
	}
	return dialer.DialContext(ctx, "tcp", to)
}

// DialWS opens a WebSocket of the server, with what is offered as subprotocols.
func DialWS(ctx context.Context, from, server, pathAndQuery string, receiveBuffer int, offered ...string) (*websocket.Conn, error) {
	dialer := websocket.Dialer{
		HandshakeTimeout: RequestLimit, WriteBufferSize: 32 << 10, Subprotocols: offered,
		NetDialContext: func(ctx context.Context, _, to string) (net.Conn, error) {
			return DialFrom(ctx, from, to, receiveBuffer)
		},
	}
	ws, response, err := dialer.DialContext(ctx, "ws://"+server+pathAndQuery, nil)
	if err != nil && response != nil {
		return nil, fmt.Errorf("%w: status %d", err, response.StatusCode)
	}
	return ws, err
}

// RelayPath is /relay to a target.
func RelayPath(target net.Addr) string {
	host, port, _ := net.SplitHostPort(target.String())
	return "/relay?" + url.Values{"host": {host}, "port": {port}}.Encode()
}

// A message is any control message of a tunnel that matters here.
type message struct {
	Type      string `json:"type"`
	TunnelURL string `json:"tunnelUrl"`
	RawPort   int    `json:"rawPort"`
	ID        string `json:"id"`
	Path      string `json:"path"`
	ConnID    string `json:"connId"`
}

// A Tunnel is the client of one. What is nil does nothing.
type Tunnel struct {
	Request func(t *Tunnel, id, path string) // of http_request
	Open    func(t *Tunnel, id string)
	Data    func(t *Tunnel, id string, payload []byte)
	Closed  func(t *Tunnel, id string)

	WS   *websocket.Conn
	Host string // of outside requests
	Raw  string // host:port of raw TCP

	writing sync.Mutex
}

// Register opens the tunnel. If reads, the callbacks are called from then on by
// one goroutine, until the tunnel ends; else nobody reads what comes.
func (t *Tunnel) Register(ctx context.Context, from, server, query string, reads bool) error {
	receiveBuffer := 0
	if !reads {
		receiveBuffer = SmallBuffer
	}
	ws, err := DialWS(ctx, from, server, "/tunnel?"+query, receiveBuffer)
	if err != nil {
		return err
	}
	t.WS = ws
	var ready message
	_ = ws.SetReadDeadline(time.Now().Add(RequestLimit))
	if err := ws.ReadJSON(&ready); err != nil {
		ws.Close()
		return err
	}
	_ = ws.SetReadDeadline(time.Time{})
	u, err := url.Parse(ready.TunnelURL)
	if err != nil {
		ws.Close()
		return err
	}
	t.Host, t.Raw = u.Host, fmt.Sprintf("127.0.0.1:%d", ready.RawPort)
	if reads {
		go t.read()
	}
	return nil
}

func (t *Tunnel) read() {
	defer t.WS.Close()
	for {
		_, text, err := t.WS.ReadMessage()
		if err != nil {
			return
		}
		if len(text) > 0 && text[0] != '{' {
			if n := binary.BigEndian.Uint32(text); t.Data != nil && len(text) >= 4+int(n) {
				t.Data(t, string(text[4:4+n]), text[4+n:])
			}
			continue
		}
		var m message
		if json.Unmarshal(text, &m) != nil {
			continue
		}
		switch {
		case m.Type == "http_request" && t.Request != nil:
			t.Request(t, m.ID, m.Path)
		case m.Type == "tcp_open" && t.Open != nil:
			t.Open(t, m.ConnID)
		case m.Type == "tcp_close" && t.Closed != nil:
			t.Closed(t, m.ConnID)
		}
	}
}

// Send writes one message made of pieces.
func (t *Tunnel) Send(kind int, pieces ...[]byte) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	w, err := t.WS.NextWriter(kind)
	if err != nil {
		return err
	}
	for _, piece := range pieces {
		if _, err := w.Write(piece); err != nil {
			return err
		}
	}
	return w.Close()
}

// SendData writes payload of a raw connection.
func (t *Tunnel) SendData(id string, payload []byte) error {
	head := binary.BigEndian.AppendUint32(nil, uint32(len(id)))
	return t.Send(websocket.BinaryMessage, append(head, id...), payload)
}

// Answer answers a request. The body needs no escapes.
func (t *Tunnel) Answer(id string, status int, body []byte) error {
	head := fmt.Sprintf(`{"type":"http_response","id":"%s","status":%d,"headers":{},"body":"`, id, status)
	return t.Send(websocket.BinaryMessage, []byte(head), body, []byte(`"}`))
}

// OutsideClient asks for tunnels from an address. Without keepAlive each request
// has a connection of its own.
func OutsideClient(from string, keepAlive bool) *http.Client {
	return &http.Client{Timeout: RequestLimit, Transport: &http.Transport{
		DisableKeepAlives: !keepAlive, DisableCompression: true,
		DialContext: func(ctx context.Context, _, to string) (net.Conn, error) { return DialFrom(ctx, from, to, 0) },
	}}
}
