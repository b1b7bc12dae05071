package session

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/messages"
	"wsproxy/transport/wsock/replay"
)

// A message is one that a peer has got.
type message struct {
	text     string // or
	data     []byte // without
	position uint64
	ping     bool
	pong     string
	err      error // the end
}

// A peer is the server's end of one WebSocket.
type peer struct {
	r        *rig
	pipe     net.Conn
	in       *bufio.Reader
	ws       *websocket.Conn
	query    url.Values
	offered  []string
	messages chan message
	gate     chan struct{} // who has put something into it keeps the peer from reading on
}

// Hijack lets gorilla have the connection.
func (p *peer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return p.pipe, bufio.NewReadWriter(p.in, bufio.NewWriter(p.pipe)), nil
}

func (p *peer) Header() http.Header         { return http.Header{} }
func (p *peer) Write(b []byte) (int, error) { return len(b), nil }
func (p *peer) WriteHeader(int)             {}

func (p *peer) accept(refuse bool) {
	request, err := http.ReadRequest(p.in)
	if err != nil {
		return
	}
	if refuse {
		_, _ = io.WriteString(p.pipe, "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 7\r\nConnection: close\r\n\r\nat rest")
		p.pipe.Close()
		return
	}
	protocol := "wsproxy.resume"
	if p.r.plain {
		protocol = "wsproxy.v1"
	}
	p.query, p.offered = request.URL.Query(), websocket.Subprotocols(request)
	p.ws, err = (&websocket.Upgrader{Subprotocols: []string{protocol}, CheckOrigin: func(*http.Request) bool { return true }}).Upgrade(p, request, nil)
	if err != nil {
		p.r.t.Error(err)
		return
	}
	p.ws.SetCloseHandler(func(int, string) error { return nil })
	p.ws.SetPingHandler(func(string) error { p.messages <- message{ping: true}; return nil })
	p.ws.SetPongHandler(func(s string) error { p.messages <- message{pong: s}; return nil })
	p.r.peers <- p
	p.read()
}

func (p *peer) read() {
	for {
		p.gate <- struct{}{}
		<-p.gate
		kind, b, err := p.ws.ReadMessage()
		switch {
		case err != nil:
			p.messages <- message{err: err}
			if !errors.As(err, new(*websocket.CloseError)) {
				p.pipe.Close()
			}
			return
		case p.r.loose:
		case kind == websocket.TextMessage:
			p.messages <- message{text: string(b)}
		case p.r.plain:
			p.messages <- message{data: b}
		case len(b) < replay.TrailerSize:
			p.r.t.Errorf("%q has no trailer", b)
		default:
			n := len(b) - replay.TrailerSize
			p.messages <- message{data: b[:n], position: binary.BigEndian.Uint64(b[n:])}
		}
	}
}

// send sends a text.
func (p *peer) send(text string) { p.write(websocket.TextMessage, []byte(text)) }

func (p *peer) write(kind int, b []byte) {
	p.r.t.Helper()
	if err := p.ws.WriteMessage(kind, b); err != nil {
		p.r.t.Errorf("the server can't write: %v", err)
	}
}

// data sends bytes that end at a position.
func (p *peer) data(b string, position uint64) {
	p.r.t.Helper()
	p.write(websocket.BinaryMessage, binary.BigEndian.AppendUint64([]byte(b), position))
}

func (p *peer) ack(position, limit uint64) {
	p.send(string(messages.AppendAck(nil, p.r.unit.Name(), position, limit)))
}

func (p *peer) resume(position, limit uint64) {
	p.send(string(messages.AppendResumed(nil, p.r.unit.Name(), position, limit)))
}

func (p *peer) close(code int, reason string) {
	p.write(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason))
}

// raw sends bytes that need not be a frame.
func (p *peer) raw(b ...byte) { _, _ = p.pipe.Write(b) }

// cut ends the connection.
func (p *peer) cut() { p.pipe.Close() }

// next returns what comes next.
func (p *peer) next() message {
	p.r.t.Helper()
	select {
	case m := <-p.messages:
		return m
	case <-time.After(time.Hour):
		p.r.t.Fatal("nothing comes from the session")
		return message{}
	}
}

// none fails if something has come.
func (p *peer) none() {
	p.r.t.Helper()
	synctest.Wait()
	select {
	case m := <-p.messages:
		p.r.t.Fatalf("%+.200v comes", m)
	default:
	}
}

// want takes a text of a type.
func (p *peer) want(text string) {
	p.r.t.Helper()
	if m := p.next(); m.text != text {
		p.r.t.Fatalf("%+.200v comes, not %s", m, text)
	}
}

// wantAck takes an ack of a position, and returns its limit.
func (p *peer) wantAck(position uint64) (limit uint64) {
	p.r.t.Helper()
	m := p.next()
	ack, err := messages.DecodeResume([]byte(m.text), p.r.unit.Name())
	if err != nil || ack.Kind != messages.KindAck || ack.Position != position {
		p.r.t.Fatalf("%+.200v comes, not an ack of %d", m, position)
	}
	return ack.Limit
}

// wantData takes bytes up to a position. In bytes they may come in pieces.
func (p *peer) wantData(data string, position uint64) {
	p.r.t.Helper()
	got := ""
	for {
		m := p.next()
		if m.data == nil && m.text != "" || m.err != nil {
			p.r.t.Fatalf("%+.200v comes behind %d of %d bytes", m, len(got), len(data))
		}
		got += string(m.data)
		if len(got) >= len(data) || p.r.unit == replay.Messages {
			if got != data || m.position != position {
				p.r.t.Fatalf("%d bytes up to %d come, not %d up to %d", len(got), m.position, len(data), position)
			}
			return
		}
	}
}

// wantClose takes a close frame, or with 0 the end without one.
func (p *peer) wantClose(code int) {
	p.r.t.Helper()
	m := p.next()
	var closed *websocket.CloseError
	if m.err == nil {
		p.r.t.Fatalf("%+.200v comes, not the end", m)
	}
	got := 0
	if errors.As(m.err, &closed) && closed.Code != websocket.CloseAbnormalClosure {
		got = closed.Code
	}
	if got != code {
		p.r.t.Fatalf("the WebSocket ends with %d (%v), not %d", got, m.err, code)
	}
}
