package wire

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// TunnelOptions say how a tunnel is registered.
type TunnelOptions struct {
	Body    int64 // size of the body of every HTTP answer
	Message int64 // size of the largest data message that the client will send
	Credit  bool  // flow=credit: neither side sends more than the other allows
	Bytes   bool  // http=bytes: HTTP over connections of the proxy's own; implies Credit
	NoRaw   bool  // raw=off: without a raw port
}

func (o TunnelOptions) path() string {
	query := url.Values{}
	if o.Credit || o.Bytes {
		query.Set("flow", "credit")
	}
	if o.Bytes {
		query.Set("http", "bytes")
	}
	if o.NoRaw {
		query.Set("raw", "off")
	}
	return strings.TrimSuffix("/tunnel?"+query.Encode(), "?")
}

// A Tunnel is the client of one. It answers the HTTP requests that the server passes on,
// and holds the raw connections.
type Tunnel struct {
	rendezvous[*RawConn]
	Host string // what outside requests name as their host
	body []byte // of every HTTP answer

	run     *Run
	options TunnelOptions
	ws      *websocket.Conn
	rawAddr string // "" without a raw port
	window  int64  // bytes in flight that each side allows on a connection; 0 without credit

	jsonHead, jsonTail []byte // of an answer in JSON, around the request's id
	response           []byte // an answer as bytes

	writing sync.Mutex // held by whoever writes to ws
	mu      sync.Mutex
	conns   map[string]*RawConn // under mu
	closing bool                // under mu
}

// a tunnelMessage is any control message of the server that matters here.
type tunnelMessage struct {
	Type      string `json:"type"`
	ID        string `json:"id"`
	ConnID    string `json:"connId"`
	TunnelURL string `json:"tunnelUrl"`
	RawPort   int    `json:"rawPort"`
	Window    int64  `json:"window"`
	Bytes     int64  `json:"bytes"`
	HTTP      string `json:"http"`
	Protocol  string `json:"protocol"`
}

// OpenTunnel registers a tunnel, with a WebSocket that is the i-th of the run.
func (r *Run) OpenTunnel(i int, o TunnelOptions) (*Tunnel, error) {
	answer := int64(base64.StdEncoding.EncodedLen(int(o.Body))) + 256
	ws, err := r.OpenSocket(i, o.path(), Buffers{Read: 64 << 10, Write: int(min(max(o.Message+100, answer, messageSize+100), 64<<10))})
	if err != nil {
		return nil, err
	}
	_ = ws.SetReadDeadline(time.Now().Add(dialTimeout))
	var ready tunnelMessage
	if err := ws.ReadJSON(&ready); err != nil || ready.Type != "tunnel_ready" {
		return nil, fmt.Errorf("the server did not announce the tunnel (message of type %q, error %v)", ready.Type, err)
	}
	_ = ws.SetReadDeadline(time.Time{})
	public, err := url.Parse(ready.TunnelURL)
	if err != nil || public.Host == "" {
		return nil, fmt.Errorf("the server announced a tunnel without a usable URL (%q)", ready.TunnelURL)
	}
	if (o.Credit || o.Bytes) != (ready.Window > 0) || o.Bytes != (ready.HTTP == "bytes") {
		return nil, fmt.Errorf("the server announced a window of %d bytes and http %q, asked for %+v", ready.Window, ready.HTTP, o)
	}
	t := &Tunnel{run: r, options: o, ws: ws, Host: public.Host, window: ready.Window, conns: make(map[string]*RawConn)}
	if ready.RawPort != 0 {
		host, _, _ := net.SplitHostPort(r.Server)
		t.rawAddr = net.JoinHostPort(host, strconv.Itoa(ready.RawPort))
	}
	t.body = answerBody(o.Body)
	t.response = appendResponse(nil, t.body)
	t.jsonHead = []byte(`{"type":"http_response","id":"`)
	t.jsonTail = fmt.Appendf(nil, `","status":200,"headers":{"Content-Type":"application/octet-stream"},"body":"%s","bodyEncoding":"base64"}`,
		base64.StdEncoding.EncodeToString(t.body))
	go t.read()
	return t, nil
}

func (t *Tunnel) read() {
	var buf []byte
	for {
		kind, message, err := readMessage(t.ws, buf)
		if err != nil {
			t.mu.Lock()
			defer t.mu.Unlock()
			if !t.closing {
				t.run.Fail(fmt.Errorf("the tunnel's WebSocket ended: %w", err))
			}
			return
		}
		buf = message
		if kind == websocket.BinaryMessage {
			err = t.onData(message)
		} else {
			err = t.onControl(message)
		}
		if err != nil {
			t.run.Fail(err)
			return
		}
	}
}

func (t *Tunnel) onControl(message []byte) error {
	var m tunnelMessage
	if err := json.Unmarshal(message, &m); err != nil {
		return fmt.Errorf("the server sent a control message that is no JSON: %w", err)
	}
	switch m.Type {
	case "http_request":
		// Not here: a write that blocks must not keep this end from reading.
		go t.answer(m.ID)
	case "tcp_open":
		t.mu.Lock()
		defer t.mu.Unlock()
		t.conns[m.ConnID] = newRawConn(t, m.ConnID, m.Protocol != "")
	case "tcp_credit":
		if c := t.conn(m.ConnID); c != nil {
			c.allow(m.Bytes)
		}
	case "tcp_close":
		c := t.conn(m.ConnID)
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.conns, m.ConnID)
		if c != nil {
			close(c.closed)
		}
	}
	return nil
}

func (t *Tunnel) conn(id string) *RawConn {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.conns[id]
}

func (t *Tunnel) onData(message []byte) error {
	if len(message) < 4 {
		return errors.New("the server sent a data message without a connection's id")
	}
	n := binary.BigEndian.Uint32(message)
	if uint64(n) > uint64(len(message)-4) {
		return errors.New("the server sent a data message that is shorter than its connection's id")
	}
	t.mu.Lock()
	c := t.conns[string(message[4:4+n])]
	t.mu.Unlock()
	if c == nil { // this end has closed it
		return nil
	}
	data := message[4+n:]
	if t.window > 0 {
		if c.consumed += int64(len(data)); c.consumed >= t.window/4 {
			// Not here, as above.
			go t.writeQuietly(fmt.Appendf(nil, `{"type":"tcp_credit","connId":"%s","bytes":%d}`, c.id, c.consumed))
			c.consumed = 0
		}
	}
	return c.receive(data)
}

// write writes one message made of pieces.
func (t *Tunnel) write(kind int, pieces ...[]byte) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	w, err := t.ws.NextWriter(kind)
	for _, piece := range pieces {
		if err == nil {
			_, err = w.Write(piece)
		}
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return fmt.Errorf("the tunnel cannot be written to: %w", err)
	}
	return nil
}

// writeQuietly writes a control message. A tunnel that can't be written to is one that
// can't be read, which read tells.
func (t *Tunnel) writeQuietly(message []byte) { _ = t.write(websocket.TextMessage, message) }

// answer answers an http_request.
func (t *Tunnel) answer(id string) {
	_ = t.write(websocket.TextMessage, t.jsonHead, []byte(id), t.jsonTail)
}

// Close ends the tunnel.
func (t *Tunnel) Close() {
	t.mu.Lock()
	t.closing = true
	t.mu.Unlock()
	t.writing.Lock()
	defer t.writing.Unlock()
	_ = t.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(closeTimeout))
	t.ws.Close()
}
