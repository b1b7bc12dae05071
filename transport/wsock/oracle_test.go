package wsock

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/messages"
)

// A reading is what an implementation of RFC 6455 makes of a client's bytes.
type reading struct {
	payload  []byte
	messages [][]byte // the complete ones
	pings    []string
	outcome  outcome
	code     int // of the close frame
}

type outcome string

const (
	outcomeOpen  outcome = "open"  // the bytes end where more may come
	outcomeClose outcome = "close" // a close frame
	outcomeText  outcome = "text"  // a text message
	outcomeBig   outcome = "big"   // a message longer than gorilla can count
	outcomeBad   outcome = "bad"   // something that the RFC does not allow
)

// A tape is a net.Conn that plays bytes and drops what is written.
type tape struct {
	net.Conn
	bytes.Reader
}

func (t *tape) Read(p []byte) (int, error)       { return t.Reader.Read(p) }
func (t *tape) Write(p []byte) (int, error)      { return len(p), nil }
func (t *tape) SetDeadline(time.Time) error      { return nil }
func (t *tape) SetWriteDeadline(time.Time) error { return nil }
func (t *tape) SetReadDeadline(time.Time) error  { return nil }
func (t *tape) Close() error                     { return nil }

type hijacker struct {
	*httptest.ResponseRecorder
	conn net.Conn
}

func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}

// gorillaReads is what gorilla's server makes of a client's bytes. texts says
// whether text messages are allowed.
func gorillaReads(t testing.TB, input []byte, texts bool) (r reading) {
	request := httptest.NewRequest(http.MethodGet, "/", nil)
	for name, value := range map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
	} {
		request.Header.Set(name, value)
	}
	player := &tape{Reader: *bytes.NewReader(input)}
	// Buffers of its own, so that it does not use those of the hijacker.
	server := websocket.Upgrader{ReadBufferSize: 4096, WriteBufferSize: 1024}
	ws, err := server.Upgrade(&hijacker{httptest.NewRecorder(), player}, request, nil)
	if err != nil {
		t.Fatal(err)
	}
	ws.SetPingHandler(func(text string) error { r.pings = append(r.pings, text); return nil })
	ws.SetPongHandler(func(string) error { return nil })
	ws.SetCloseHandler(func(int, string) error { return nil })
	for {
		kind, message, err := ws.NextReader()
		if err != nil {
			r.end(err)
			return r
		}
		if kind == websocket.TextMessage && !texts {
			r.outcome = outcomeText
			return r
		}
		whole, err := io.ReadAll(message)
		r.payload = append(r.payload, whole...)
		if err != nil {
			r.end(err)
			return r
		}
		r.messages = append(r.messages, whole)
	}
}

func (r *reading) end(err error) {
	var closed *websocket.CloseError
	switch {
	case errors.Is(err, websocket.ErrReadLimit):
		r.outcome = outcomeBig
	case !errors.As(err, &closed):
		r.outcome = outcomeBad
	case closed.Code == websocket.CloseAbnormalClosure: // gorilla's word for an EOF
		r.outcome = outcomeOpen
	default:
		r.outcome, r.code = outcomeClose, closed.Code
	}
}

// newDecoder returns a decoder that allows no text messages and does not stop at
// the ends of others.
func newDecoder() *decoder {
	return &decoder{onPing: func([]byte) {}}
}

// decoderReads is what the decoder makes of a client's bytes when they come cut
// into pieces. cut returns the next piece's size.
func decoderReads(t testing.TB, input []byte, boundaries, texts bool, cut func() int) (reading, *decoder) {
	var r reading
	d := newDecoder()
	d.boundaries, d.texts = boundaries, texts
	d.onPing = func(p []byte) { r.pings = append(r.pings, string(p)) }
	var message []byte
	r.outcome = outcomeOpen
	for left := bytes.Clone(input); len(left) > 0; {
		n := min(max(cut(), 1), len(left))
		piece := left[:n:n] // a write beyond the piece panics
		left = left[n:]
		for rest := piece; len(rest) > 0; {
			before := len(rest)
			data, after, result, reason := d.decode(rest)
			r.payload = append(r.payload, data...)
			message = append(message, data...)
			rest = after
			switch result {
			case decodedAll:
				if len(rest) > 0 {
					t.Fatalf("decode leaves %d of %d bytes and says that it has used all", len(rest), before)
				}
			case decodedMessage:
				if !boundaries {
					t.Fatal("decode stops at a message's end, which was not asked for")
				}
				if len(rest) >= before {
					t.Fatal("decode makes no progress")
				}
				r.messages = append(r.messages, message)
				message = nil
			case decodedClose:
				r.outcome, r.code = outcomeClose, websocket.CloseNoStatusReceived
				if len(d.control) >= 2 {
					r.code = int(d.control[0])<<8 | int(d.control[1])
				}
				return r, d
			case decodedBad:
				switch reason {
				case messages.ReasonTextMessage:
					r.outcome = outcomeText
				case messages.ReasonProtocolError:
					r.outcome = outcomeBad
				default:
					t.Fatalf("decode refuses for %q", reason)
				}
				return r, d
			}
		}
	}
	return r, d
}
