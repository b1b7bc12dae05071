package e2e

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/crypto/ssh"
)

// gosshHabits are what gossh-wasm, the SSH client in a browser, does that a
// client which keeps the protocol does not do. The zero value has none of them.
type gosshHabits struct {
	deaf         bool // a text message becomes zero bytes
	cut          int  // what it sends is cut into messages of so many bytes; 0: it is not
	gulp         int  // it takes so many bytes of a message at most, and the rest for the next; 0: all
	largest      int64
	dropsEarly   bool // data for a connection that is not open yet is dropped
	ignoresClose bool // it has no handler for tcp_close
	silentEnd    bool // it says nothing when a service ends
	slots        int  // of raw connections and requests together; 0: no limit
	queue        int  // frames that wait for a service, then the connection is dropped; 0: no limit
	twoLengths   bool // it adds a Content-Length to a forwarded one
	bodyAsItCame bool // it ignores bodyEncoding
	keepsChunks  bool // it does not decode a chunked answer
	textAsString bool // text that is not UTF-8 is damaged
	answerLimit  int64
}

// gosshWasm has all the habits.
func gosshWasm() gosshHabits {
	return gosshHabits{
		deaf: true, cut: 4096, gulp: 64 << 10, largest: 8 << 20, dropsEarly: true, ignoresClose: true, silentEnd: true,
		slots: 100, queue: 256, twoLengths: true, bodyAsItCame: true, keepsChunks: true, textAsString: true, answerLimit: 10 << 20,
	}
}

// A gosshScript is a double's circumstances.
type gosshScript struct {
	habits  gosshHabits
	service string                          // host:port of what it forwards to
	ssh     *ssh.Client                     // through which; nil: TCP stands for SSH channels
	opening time.Duration                   // how long a channel takes to open; 0: gosshOpening
	buffer  int                             // what it reads of a channel at once; 0: gosshBuffer
	full    bool                            // it fills its buffer before it sends
	before  func(m tunnelMessage) (ok bool) // called before a control message is handled; not ok: it isn't
}

// A gosshChannel is an SSH channel to the service, or what stands for one.
type gosshChannel interface {
	net.Conn
	CloseWrite() error
}

// channel opens a channel to the service.
func (c *gosshClient) channel() (gosshChannel, error) {
	if c.script.ssh == nil {
		conn, err := net.DialTimeout("tcp", c.script.service, patience)
		if err != nil {
			return nil, err
		}
		return conn.(*net.TCPConn), nil
	}
	conn, err := c.script.ssh.Dial("tcp", c.script.service)
	if err != nil {
		return nil, err
	}
	return conn.(gosshChannel), nil
}

const (
	gosshOpening = 60 * time.Millisecond
	gosshBuffer  = 32 << 10
)

// A gosshEvent is a message as the double understood it.
type gosshEvent struct {
	at   time.Time
	kind string        // type of a control message; "data"; data that is dropped: "early", "late", "unknown"; "garbage"
	id   string        // of a request or a connection
	size int           // of the control message, or the data's payload
	m    tunnelMessage // a control message
}

// A gosshClient is a double of gossh-wasm: it forwards what a tunnel brings to
// a service, with some of that client's habits or all of them. It sends
// everything in binary messages, and nothing that it sends waits for anything:
// a browser has room for all of it.
type gosshClient struct {
	script gosshScript
	habits gosshHabits
	ws     *websocket.Conn
	host   string // of the tunnel
	port   int    // of raw TCP
	ready  chan struct{}
	ended  chan struct{} // closed when the WebSocket has ended

	running sync.WaitGroup

	mu       sync.Mutex
	changed  *sync.Cond
	over     bool                 // under mu, like all below
	err      error                // why it is over
	conns    map[string]*gosshRaw // those that data reaches
	past     map[string]bool      // those that are or were in conns
	used     int                  // slots
	mostUsed int
	texts    int                  // text messages that came
	largest  int                  // the largest message that came
	events   []gosshEvent         // what came
	out      [][]byte             // messages that wait to be sent
	answers  map[string]time.Time // when a request with a bad path was answered
	said     []int                // sizes of the answers, before they were cut
}

// gosshDial connects a double to a tunnel's URL. It ends with the test.
func gosshDial(t *testing.T, url string, script gosshScript) *gosshClient {
	t.Helper()
	if script.opening == 0 {
		script.opening = gosshOpening
	}
	if script.buffer == 0 {
		script.buffer = gosshBuffer
	}
	ws, _, err := dialWS(t, url, nil)
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	c := &gosshClient{
		script: script, habits: script.habits, ws: ws, ready: make(chan struct{}), ended: make(chan struct{}),
		conns: map[string]*gosshRaw{}, past: map[string]bool{}, answers: map[string]time.Time{},
	}
	c.changed = sync.NewCond(&c.mu)
	if limit := c.habits.largest; limit > 0 {
		ws.SetReadLimit(limit)
	}
	c.running.Go(c.readAll)
	c.running.Go(c.writeAll)
	t.Cleanup(func() {
		ws.Close()
		c.running.Wait()
	})
	return c
}

// registered waits for tunnel_ready.
func (c *gosshClient) registered(limit time.Duration) error {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-c.ready:
		return nil
	case <-c.ended:
		return c.err
	case <-timer.C:
		return errors.New("no tunnel_ready")
	}
}

func (c *gosshClient) readAll() {
	for {
		kind, message, err := c.ws.ReadMessage()
		if err != nil {
			c.end(err)
			return
		}
		c.mu.Lock()
		c.largest = max(c.largest, len(message))
		if kind == websocket.TextMessage {
			c.texts++
		}
		c.mu.Unlock()
		if kind == websocket.TextMessage && c.habits.deaf {
			continue
		}
		for len(message) > 0 {
			n := len(message)
			if c.habits.gulp > 0 {
				n = min(n, c.habits.gulp)
			}
			c.take(message[:n:n])
			message = message[n:]
		}
	}
}

// end ends everything that the double does.
func (c *gosshClient) end(err error) {
	c.mu.Lock()
	c.over, c.err = true, err
	conns := c.conns
	c.conns = map[string]*gosshRaw{}
	c.changed.Broadcast()
	c.mu.Unlock()
	close(c.ended)
	c.ws.Close()
	for _, r := range conns {
		r.end()
	}
}

// take handles what it takes for a message.
func (c *gosshClient) take(piece []byte) {
	if piece[0] != '{' {
		c.data(piece)
		return
	}
	var m tunnelMessage
	if json.Unmarshal(piece, &m) != nil {
		c.record(gosshEvent{kind: "garbage", size: len(piece)})
		return
	}
	c.record(gosshEvent{kind: m.Type, id: m.ID + m.ConnID, size: len(piece), m: m})
	if c.script.before != nil && !c.script.before(m) {
		return
	}
	switch m.Type {
	case "tunnel_ready":
		if u, err := url.Parse(m.TunnelURL); err == nil && m.RawPort != nil {
			c.host, c.port = u.Hostname(), *m.RawPort
			close(c.ready)
		}
	case "http_request":
		c.request(m)
	case "tcp_open":
		c.open(m.ConnID)
	case "tcp_close":
		if !c.habits.ignoresClose {
			c.closed(m)
		}
	}
}

// data handles a data frame.
func (c *gosshClient) data(frame []byte) {
	if len(frame) < 4 || uint64(binary.BigEndian.Uint32(frame)) > uint64(len(frame)-4) {
		c.record(gosshEvent{kind: "garbage", size: len(frame)})
		return
	}
	n := 4 + binary.BigEndian.Uint32(frame)
	id, payload := string(frame[4:n]), frame[n:]
	c.mu.Lock()
	r, past := c.conns[id], c.past[id]
	c.mu.Unlock()
	if r == nil {
		kind := "unknown"
		if past {
			kind = "late"
		}
		c.record(gosshEvent{kind: kind, id: id, size: len(payload)})
		return
	}
	if time.Now().Before(r.openAt) {
		c.record(gosshEvent{kind: "early", id: id, size: len(payload)})
		return
	}
	c.record(gosshEvent{kind: "data", id: id, size: len(payload)})
	r.enqueue(payload)
}

func (c *gosshClient) record(e gosshEvent) {
	e.at = time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.events = append(c.events, e)
}

// seen returns what came of a kind.
func (c *gosshClient) seen(kind string) (found []gosshEvent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.events {
		if e.kind == kind {
			found = append(found, e)
		}
	}
	return found
}

// requested returns the requests that came for a path.
func (c *gosshClient) requested(path string) (found []gosshEvent) {
	for _, e := range c.seen("http_request") {
		if e.m.Path == path {
			found = append(found, e)
		}
	}
	return found
}

// gosshJSON encodes a control message.
func gosshJSON(message any) []byte {
	data, err := json.Marshal(message)
	if err != nil {
		panic(err)
	}
	return data
}

// sendClose sends tcp_close.
func (c *gosshClient) sendClose(id string) {
	c.emit(gosshJSON(struct {
		Type   string `json:"type"`
		ConnID string `json:"connId"`
	}{"tcp_close", id}))
}

// emit sends a JSON object or a data frame, whose pieces stay together.
func (c *gosshClient) emit(data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.habits.cut > 0 && len(data) > c.habits.cut {
		c.out = append(c.out, data[:c.habits.cut])
		data = data[c.habits.cut:]
	}
	c.out = append(c.out, data)
	c.changed.Broadcast()
}

func (c *gosshClient) writeAll() {
	for {
		c.mu.Lock()
		for len(c.out) == 0 && !c.over {
			c.changed.Wait()
		}
		messages := c.out
		c.out = nil
		over := c.over
		c.mu.Unlock()
		if over {
			return
		}
		for _, message := range messages {
			if c.ws.WriteMessage(websocket.BinaryMessage, message) != nil {
				break // the reader learns of it, too
			}
		}
	}
}

// takeSlot reports whether a slot was free.
func (c *gosshClient) takeSlot() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.habits.slots > 0 && c.used >= c.habits.slots {
		return false
	}
	c.used++
	c.mostUsed = max(c.mostUsed, c.used)
	return true
}

func (c *gosshClient) freeSlot() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.used--
}

// slots returns how many are in use, and how many were at most.
func (c *gosshClient) slots() (used, most int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used, c.mostUsed
}

// channelOpens waits as long as a channel takes to open. It reports whether
// the double is still there.
func (c *gosshClient) channelOpens() bool {
	timer := time.NewTimer(c.script.opening)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-c.ended:
		return false
	}
}
