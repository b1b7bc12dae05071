package session

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/client/go/internal/socket"
	"wsproxy/messages"
	"wsproxy/transport/wsock/replay"
)

// A rig is a session whose server is the test. It lives in a bubble of synctest:
// what the test waits for comes at once, or never.
type rig struct {
	t     *testing.T
	unit  replay.Unit
	s     *Session
	to    *source
	from  *sink
	peers chan *peer
	plain bool // the server selects wsproxy.v1
	loose bool // what the session sends is not looked at

	mu       sync.Mutex
	refuse   int // how many of the next handshakes are answered 503
	detached []error
	retried  []error
	resumed  []time.Duration
	dialled  []time.Time
}

// bubble runs a test in a bubble, in which every goroutine of the session must end.
func bubble(t *testing.T, f func(t *testing.T)) { t.Helper(); synctest.Test(t, f) }

// newRig makes a rig that no session has begun in.
func newRig(t *testing.T, unit replay.Unit) *rig {
	r := &rig{t: t, unit: unit, peers: make(chan *peer, 16)}
	r.to, r.from = &source{r: r}, &sink{r: r, passes: true}
	t.Cleanup(func() { time.Sleep(farewell + 10*time.Second) }) // what lingers ends
	return r
}

// begin begins a session, and returns its first WebSocket, on which the first ack
// has come.
func begin(t *testing.T, unit replay.Unit) (*rig, *peer) {
	t.Helper()
	r := newRig(t, unit)
	p := r.open(0)
	p.wantAck(0)
	return r, p
}

const (
	token   = "T0ken.of-the_session"
	timeout = 60 // seconds
)

// open begins a session with a window of the sink.
func (r *rig) open(window int64) (p *peer) {
	r.t.Helper()
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		p = <-r.peers
		if !r.plain {
			p.send(string(messages.AppendSession(nil, token, timeout, r.unit.FirstLimit())))
		}
	}()
	var err error
	r.s, err = Open(r.t.Context(), Options{
		Dial: r.dial, Unit: r.unit, Source: r.to, Sink: r.from, Window: window,
		OnDetached: func(err error) { r.locked(func() { r.detached = append(r.detached, err) }) },
		OnRetry:    func(err error) { r.locked(func() { r.retried = append(r.retried, err) }) },
		OnResumed:  func(d time.Duration) { r.locked(func() { r.resumed = append(r.resumed, d) }) },
	})
	if err != nil {
		r.t.Fatal(err)
	}
	<-opened
	r.t.Cleanup(func() {
		if !r.from.over() {
			r.s.Abort(3000, "")
			<-r.s.Done()
		}
	})
	return p
}

func (r *rig) locked(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
}

func (r *rig) dial(ctx context.Context, again *socket.TakeUp) (*socket.Conn, error) {
	r.locked(func() { r.dialled = append(r.dialled, time.Now()) })
	return socket.Dial(ctx, &socket.Options{URL: "ws://server", Connect: r.connect,
		Proxy: func(*http.Request) (*url.URL, error) { return nil, nil }}, "/relay", url.Values{"host": {"h"}, "port": {"1"}}, again)
}

func (r *rig) connect(context.Context, string) (net.Conn, error) {
	near, far := net.Pipe()
	refuse := false
	r.locked(func() {
		if refuse = r.refuse > 0; refuse {
			r.refuse--
		}
	})
	p := &peer{r: r, pipe: far, in: bufio.NewReader(far), messages: make(chan message, 10_000), gate: make(chan struct{}, 1)}
	go p.accept(refuse)
	return near, nil
}

// next returns the next WebSocket that the session opens.
func (r *rig) next() *peer {
	r.t.Helper()
	select {
	case p := <-r.peers:
		return p
	case <-time.After(time.Hour):
		r.t.Fatal("the session opens no WebSocket")
		return nil
	}
}

// taken lets the session take itself up at a position of what the server has got.
func (r *rig) taken(position uint64) *peer {
	r.t.Helper()
	p := r.next()
	p.resume(position, position+r.unit.FirstLimit())
	return p
}

// ends waits for the session's end.
func (r *rig) ends() error {
	r.t.Helper()
	select {
	case <-r.s.Done():
	case <-time.After(time.Hour):
		r.t.Fatal("the session does not end")
	}
	if r.s.Err() != r.from.err {
		r.t.Errorf("the sink hears %v, Err says %v", r.from.err, r.s.Err())
	}
	return r.s.Err()
}

// lives fails if the session has ended.
func (r *rig) lives() {
	r.t.Helper()
	synctest.Wait()
	if r.from.over() {
		r.t.Fatalf("the session has ended: %v", r.s.Err())
	}
}

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
