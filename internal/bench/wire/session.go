package wire

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

const (
	resumeProtocol = "wsproxy.resume"
	// positionSize is that of what each binary message ends with.
	positionSize = 8
	// window is how many bytes a client allows the server to be ahead; the page allows as
	// much.
	window = 1 << 20
	// ackBytes and ackAfter are when an acknowledgement is sent. The contract says a
	// quarter of what may be under way, at most 32 KiB, and a second.
	ackBytes = 32 << 10
	ackAfter = 400 * time.Millisecond
	// firstLimit is what may be sent before the server has granted anything.
	firstLimit = 64 << 10
	// mostPayload is that of a message.
	mostPayload = 64 << 10
)

// A Session is the client of a relay that outlives its WebSocket.
type Session struct {
	run     *Run
	i       int
	buffers Buffers
	token   string
	forget  func() bool // has the run's end no longer wake a sender

	// Only the receiver uses these, as it alone takes the session up.
	attempt  int
	message  []byte // the buffer of messages
	rest     []byte // of the last message, not handed out yet
	received uint64 // position of what has come

	takeUps atomic.Int64 // how often it was taken up

	mu      sync.Mutex // guards what follows, and writing
	ws      *websocket.Conn
	lost    bool   // nothing more can be written
	cut     bool   // by Cut, and not taken up since
	passed  uint64 // position of what was handed out
	acked   uint64 // of that, what the server was told
	due     bool   // the timer of an acknowledgement runs
	sent    uint64
	limit   uint64 // up to which position may be sent
	granted *sync.Cond
	kept    []byte // the last of what was sent, which was not acknowledged
	out     []byte // the buffer of what is written
}

// a control is any message of a session that is no data.
type control struct {
	Type   string `json:"type"`
	Resume string `json:"resume"`
	Bytes  uint64 `json:"bytes"`
	Limit  uint64 `json:"limit"`
}

func (p *Peer) begin(i int, buffers Buffers) (*Session, error) {
	s := &Session{run: p.run, i: i, buffers: buffers, limit: firstLimit}
	s.granted = sync.NewCond(&s.mu)
	s.forget = context.AfterFunc(p.run.ctx, func() { // a sender must not wait for ever
		s.mu.Lock()
		defer s.mu.Unlock()
		s.granted.Broadcast()
	})
	ws, first, err := s.open(p.path(i), "wsproxy.v1", resumeProtocol)
	if err != nil {
		s.forget()
		return nil, err
	}
	if first.Type != "session" || first.Resume == "" {
		return nil, fmt.Errorf("the server began a session with a message of type %q", first.Type)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ws, s.token, s.limit = ws, first.Resume, max(s.limit, first.Limit)
	return s, s.ack()
}

// open opens a WebSocket, and reads what the server says first.
func (s *Session) open(path string, protocols ...string) (*websocket.Conn, control, error) {
	var first control
	ws, err := s.run.OpenSocket(s.i, path, s.buffers, protocols...)
	if err != nil {
		return nil, first, err
	}
	_ = ws.SetReadDeadline(time.Now().Add(dialTimeout))
	_, text, err := ws.ReadMessage()
	if err == nil {
		err = json.Unmarshal(text, &first)
	}
	if err != nil {
		ws.Close()
		return nil, first, fmt.Errorf("a session was not begun or taken up: %w", err)
	}
	_ = ws.SetReadDeadline(time.Time{})
	return ws, first, nil
}

// Cut breaks the WebSocket with a reset. Receive then takes the session up.
func (s *Session) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	reset(s.ws.NetConn())
	s.lost, s.cut = true, true
}

// TakeUps returns how often the session was taken up.
func (s *Session) TakeUps() int64 { return s.takeUps.Load() }

// takeUp goes on with another WebSocket.
func (s *Session) takeUp() error {
	s.attempt++
	ws, first, err := s.open(fmt.Sprintf("/relay?bytes=%d&attempt=%d", s.received, s.attempt), resumeProtocol, "resume."+s.token)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if first.Type != "resumed" || first.Bytes > s.sent || s.sent-first.Bytes > uint64(len(s.kept)) {
		return fmt.Errorf("a session was taken up with a message of type %q at %d of %d bytes", first.Type, first.Bytes, s.sent)
	}
	s.ws.Close()
	s.ws, s.lost, s.cut = ws, false, false
	s.takeUps.Add(1)
	s.heard(first)
	// What can't be written is sent again when the session is taken up once more. Whether
	// it is, the next read tells.
	s.lost = s.ack() != nil
	for from := 0; from < len(s.kept) && !s.lost; from += mostPayload {
		part := s.kept[from:min(from+mostPayload, len(s.kept))]
		s.lost = s.write(part, first.Bytes+uint64(from+len(part))) != nil
	}
	return nil
}

// heard notes what the server has acknowledged and granted. It is called under mu.
func (s *Session) heard(c control) {
	if unacked := s.sent - min(c.Bytes, s.sent); unacked < uint64(len(s.kept)) {
		s.kept = s.kept[:copy(s.kept, s.kept[uint64(len(s.kept))-unacked:])]
	}
	if c.Limit > s.limit {
		s.limit = c.Limit
		s.granted.Broadcast()
	}
}

// Send sends p. What a lost WebSocket has not brought there is sent again when the
// session is taken up.
func (s *Session) Send(p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.sent+uint64(len(p)) > s.limit {
		if s.run.Err() != nil {
			return s.run.Err()
		}
		s.granted.Wait()
	}
	s.sent += uint64(len(p))
	s.kept = append(s.kept, p...)
	if !s.lost && s.write(p, s.sent) != nil {
		s.lost = true
	}
	return nil
}

// write writes one message, whose end is at a position. It is called under mu.
func (s *Session) write(p []byte, position uint64) error {
	s.out = binary.BigEndian.AppendUint64(append(s.out[:0], p...), position)
	return s.ws.WriteMessage(websocket.BinaryMessage, s.out)
}

// ack tells the server what was handed out. It is called under mu.
func (s *Session) ack() error {
	s.acked = s.passed
	s.out = fmt.Appendf(s.out[:0], `{"type":"ack","bytes":%d,"limit":%d}`, s.passed, s.passed+window)
	return s.ws.WriteMessage(websocket.TextMessage, s.out)
}

// Receive reads some of what comes next. It takes the session up if it was cut.
func (s *Session) Receive(p []byte) (int, error) {
	for len(s.rest) == 0 {
		if err := s.read(); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passed += uint64(n)
	switch {
	case s.lost:
	case s.passed-s.acked >= ackBytes:
		s.lost = s.ack() != nil
	case s.passed > s.acked && !s.due:
		s.due = true
		time.AfterFunc(ackAfter, s.ackInTime)
	}
	return n, nil
}

func (s *Session) ackInTime() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.due = false
	if !s.lost && s.passed > s.acked && s.run.Err() == nil {
		s.lost = s.ack() != nil
	}
}

// read reads one message.
func (s *Session) read() error {
	s.mu.Lock()
	ws := s.ws
	s.mu.Unlock()
	kind, message, err := readMessage(ws, s.message)
	s.message = message
	if err != nil {
		s.mu.Lock()
		s.lost = true
		cut := s.cut
		s.mu.Unlock()
		if cut && s.run.Err() == nil {
			return s.takeUp()
		}
		return fmt.Errorf("the WebSocket of a session was lost: %w", err)
	}
	if kind == websocket.BinaryMessage {
		payload := len(message) - positionSize
		if payload < 0 {
			return errors.New("a message of a session has no position")
		}
		s.received += uint64(payload)
		if position := binary.BigEndian.Uint64(message[payload:]); position != s.received {
			return fmt.Errorf("a message of a session ends at %d, not at %d", position, s.received)
		}
		s.rest = message[:payload]
		return nil
	}
	var c control
	if err := json.Unmarshal(message, &c); err != nil {
		return fmt.Errorf("a message of a session is no JSON: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch c.Type {
	case "ack":
		s.heard(c)
	case "ping":
		if !s.lost { // else the next read tells
			s.lost = s.ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"pong"}`)) != nil
		}
	}
	return nil
}

// Close ends the session in order. The run then knows it no more.
func (s *Session) Close() bool {
	s.forget()
	return CloseSocket(s.ws)
}
