package e2e

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"
)

// The subprotocols of section 9.
const (
	resumeV1       = "wsproxy.v1"
	resumeProtocol = "wsproxy.resume"
)

const (
	// resumeFirst is what each side may send before it has heard an ack, on a relay
	// in bytes, on a tunnel in messages.
	resumeFirst, resumeFirstMessages = 64 << 10, 64
	// resumeMost is the longest payload of a message.
	resumeMost = 64 << 10
	// resumeLast is the last position that there can be.
	resumeLast = 1<<53 - 1
	// resumeBuffer is RESUME_BUFFER's default, and resumeBufferMessages what a
	// tunnel is granted at most.
	resumeBuffer, resumeBufferMessages = 1 << 20, 1024
)

// A resumeVia is a way to a server: itself, or a proxy before it.
type resumeVia struct {
	addr  string
	lines []string      // of the request's header
	from  func() net.IP // the near end's address; nil leaves it to the kernel
	wait  time.Duration // for the handshake and the first message; 0 is patience
}

// A resumeNote is a message of section 9.
type resumeNote struct {
	kind     string
	resume   string
	timeout  uint64
	position uint64 // bytes or messages
	limit    uint64
}

// A resumeMessage is what has come.
type resumeMessage struct {
	note     *resumeNote // nil for what is not of the section
	opcode   byte
	payload  []byte
	position uint64 // what stood behind the payload; none behind JSON
}

// isJSON reports whether there is no position behind the message.
func (m resumeMessage) isJSON(tunnel bool) bool { return resumeIsJSON(tunnel, m.opcode, m.payload) }

func resumeIsJSON(tunnel bool, opcode byte, payload []byte) bool {
	return opcode == opText || tunnel && len(payload) > 0 && payload[0] == '{'
}

// A resumeClosed is the close frame that ended a WebSocket.
type resumeClosed struct {
	code int // 0 if the frame had none
	text string
}

func (e *resumeClosed) Error() string { return fmt.Sprintf("closed with %d %q", e.code, e.text) }

// A resumeTorn is a message that no server may send. A proxy between may have
// damaged it.
type resumeTorn struct{ what string }

func (e *resumeTorn) Error() string { return e.what }

func torn(format string, args ...any) error { return &resumeTorn{fmt.Sprintf(format, args...)} }

// A resumeSocket is one WebSocket of section 9. It keeps no rule for its user, and
// holds the server to those that one message can break.
type resumeSocket struct {
	net.Conn
	tunnel   bool
	in       *bufio.Reader
	selected string // subprotocol

	writing sync.Mutex
}

// resumeDial makes a handshake. An answer other than 101 is an error, and comes
// with it.
func resumeDial(via resumeVia, pathAndQuery string, protocols ...string) (*resumeSocket, *reply, error) {
	wait := via.wait
	if wait == 0 {
		wait = patience
	}
	dialer := net.Dialer{Timeout: wait}
	if via.from != nil {
		dialer.LocalAddr = &net.TCPAddr{IP: via.from()}
	}
	conn, err := dialer.Dial("tcp", via.addr)
	if err != nil {
		return nil, nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(wait))
	w := &resumeSocket{Conn: conn, tunnel: strings.HasPrefix(pathAndQuery, "/tunnel"), in: bufio.NewReaderSize(conn, 32<<10)}
	head := "GET " + pathAndQuery + " HTTP/1.1\r\nHost: " + via.addr + "\r\n"
	for _, line := range upgrading(via.lines...) {
		head += line + "\r\n"
	}
	if len(protocols) > 0 {
		head += "Sec-WebSocket-Protocol: " + strings.Join(protocols, ", ") + "\r\n"
	}
	var response *http.Response
	if _, err = io.WriteString(conn, head+"\r\n"); err == nil {
		response, err = http.ReadResponse(w.in, &http.Request{Method: "GET"})
	}
	if err != nil {
		conn.Close()
		return nil, nil, err
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(response.Body)
		conn.Close()
		return nil, &reply{response.StatusCode, response.Header, string(body)}, fmt.Errorf("the handshake is answered %d %q", response.StatusCode, body)
	}
	w.selected = response.Header.Get("Sec-WebSocket-Protocol")
	return w, &reply{status: 101, header: response.Header}, nil
}

// read returns the next message.
func (w *resumeSocket) read() (m resumeMessage, err error) {
	for first := true; ; first = false {
		fin, opcode, payload, err := w.readFrame()
		switch {
		case err != nil:
			return m, err
		case opcode == opClose:
			return m, resumeClose(payload)
		case opcode == opPing || opcode == opPong:
			return m, torn("the server sent a WebSocket ping or pong (%#x), which section 9 has none of", opcode)
		case first && opcode != opText && opcode != opBinary, !first && opcode != opContinuation:
			return m, torn("a frame with opcode %#x", opcode)
		case first:
			m.opcode = opcode
		}
		if m.payload = append(m.payload, payload...); len(m.payload) > resumeMost+8 {
			return m, torn("a message of more than %d bytes", len(m.payload))
		}
		if fin {
			return m, m.open(w.tunnel)
		}
	}
}

// readFrame returns the next frame.
func (w *resumeSocket) readFrame() (fin bool, opcode byte, payload []byte, err error) {
	var h [8]byte
	if _, err := io.ReadFull(w.in, h[:2]); err != nil {
		return false, 0, nil, err
	}
	fin, opcode = h[0]&finBit != 0, h[0]&0xf
	n := uint64(h[1])
	if h[0]&(rsv1|rsv2|rsv3) != 0 || n > 127 {
		return false, 0, nil, torn("a frame begins with %#x", h[:2])
	}
	switch n {
	case 126:
		_, err = io.ReadFull(w.in, h[:2])
		n = uint64(binary.BigEndian.Uint16(h[:2]))
	case 127:
		_, err = io.ReadFull(w.in, h[:8])
		n = binary.BigEndian.Uint64(h[:8])
	}
	if err != nil {
		return false, 0, nil, err
	}
	if n > resumeMost+8 || opcode >= opClose && (n > 125 || !fin) {
		return false, 0, nil, torn("a frame of %d bytes, opcode %#x", n, opcode)
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(w.in, payload)
	return fin, opcode, payload, err
}

func resumeClose(payload []byte) error {
	if len(payload) < 2 {
		return &resumeClosed{}
	}
	return &resumeClosed{int(binary.BigEndian.Uint16(payload)), string(payload[2:])}
}

// open takes the message apart.
func (m *resumeMessage) open(tunnel bool) (err error) {
	if !m.isJSON(tunnel) {
		n := len(m.payload) - 8
		if n < 0 {
			return torn("a binary message of %d bytes has no position", len(m.payload))
		}
		m.position, m.payload = binary.BigEndian.Uint64(m.payload[n:]), m.payload[:n]
		return nil
	}
	var object map[string]json.RawMessage
	if !utf8.Valid(m.payload) || json.Unmarshal(m.payload, &object) != nil {
		return torn("a message is not JSON: %.100q", m.payload)
	}
	m.note, err = resumeReadNote(tunnel, object)
	if err == nil && m.note == nil && !tunnel {
		err = torn("a relay's text message is %.200q", m.payload)
	}
	return err
}

var resumeTokens = regexp.MustCompile(`^[A-Za-z0-9_.-]{43,200}$`) // 43 digits have 256 bits

// resumeReadNote reads a message of the section, which has the fields of its type
// and no others. It returns nil for one of another type.
func resumeReadNote(tunnel bool, object map[string]json.RawMessage) (*resumeNote, error) {
	position := map[bool]string{false: "bytes", true: "messages"}[tunnel]
	n := &resumeNote{}
	_ = json.Unmarshal(object["type"], &n.kind)
	want, known := map[string][]string{
		"session": {"resume", "timeout", "limit"}, "resumed": {position, "limit"}, "ack": {position, "limit"},
		"ping": nil, "pong": nil, "eof": nil,
	}[n.kind]
	if !known || n.kind == "eof" && tunnel {
		return nil, nil
	}
	if got := slices.Sorted(maps.Keys(object)); !slices.Equal(got, slices.Sorted(slices.Values(append([]string{"type"}, want...)))) {
		return n, torn("a message of type %q has the fields %q", n.kind, got)
	}
	for name, value := range map[string]*uint64{"timeout": &n.timeout, position: &n.position, "limit": &n.limit} {
		if raw, ok := object[name]; ok {
			var err error
			if *value, err = strconv.ParseUint(string(raw), 10, 64); err != nil || *value > resumeLast {
				return n, torn("in a message of type %q %s is %s", n.kind, name, raw)
			}
		}
	}
	if raw, ok := object["resume"]; ok {
		if json.Unmarshal(raw, &n.resume) != nil || !resumeTokens.MatchString(n.resume) {
			return n, torn("the session's token has another form") // and is not to be in a log
		}
	}
	return n, nil
}

// write sends a frame.
func (w *resumeSocket) write(first byte, payload []byte) error {
	w.writing.Lock()
	defer w.writing.Unlock()
	_, err := w.Write(frame(first, payload))
	return err
}

// data sends a binary message with the position behind it.
func (w *resumeSocket) data(position uint64, payload []byte) error {
	return w.write(finBit|opBinary, binary.BigEndian.AppendUint64(slices.Clip(payload), position))
}

// note sends JSON.
func (w *resumeSocket) note(message fields) error { return w.write(finBit|opText, jsonOf(message)) }

// ack acknowledges a position and grants up to another.
func (w *resumeSocket) ack(position, limit uint64) error {
	unit := map[bool]string{false: "bytes", true: "messages"}[w.tunnel]
	return w.note(fields{"type": "ack", unit: position, "limit": limit})
}

// bye sends a close frame; code 0 sends one without.
func (w *resumeSocket) bye(code int) error {
	if code == 0 {
		return w.write(finBit|opClose, nil)
	}
	return w.write(finBit|opClose, closePayload(code, ""))
}

// answer answers a close frame that ends the session, and waits for the server's end.
func (w *resumeSocket) answer(err error) {
	var closed *resumeClosed
	if errors.As(err, &closed) && closed.code != 1001 && closed.code != 1012 && closed.code != 4000 {
		_ = w.SetDeadline(time.Now().Add(patience))
		if w.bye(closed.code) == nil {
			_, _ = io.Copy(io.Discard, w.in)
		}
		w.Close()
	}
}

// cut ends the connection without a close frame, by a reset or by a FIN.
func (w *resumeSocket) cut() {
	if tcp, ok := w.Conn.(*net.TCPConn); ok && rand.IntN(2) == 0 {
		_ = tcp.SetLinger(0)
	}
	w.Close()
}

// must is read for what has to come.
func (w *resumeSocket) must(t *testing.T) resumeMessage {
	t.Helper()
	m, err := w.read()
	if err != nil {
		t.Fatalf("no message: %v", err)
	}
	return m
}

// mustNote reads on to a note of this kind. Data that comes before it is an error,
// other notes are not.
func (w *resumeSocket) mustNote(t *testing.T, kind string) resumeNote {
	t.Helper()
	for {
		m := w.must(t)
		if m.note == nil {
			t.Fatalf("%.100q comes before %q", m.payload, kind)
		}
		if m.note.kind == kind {
			return *m.note
		}
	}
}

// mustClose reads on to the end, which must be a close frame with this code; 0
// stands for an end without one.
func (w *resumeSocket) mustClose(t *testing.T, code int) {
	t.Helper()
	for {
		_, err := w.read()
		if err == nil {
			continue
		}
		var closed *resumeClosed
		if got := errors.As(err, &closed); got && closed.code != code || !got && (code != 0 || isTimeout(err)) {
			t.Fatalf("the WebSocket ends with %v, want close %d", err, code)
		}
		return
	}
}
