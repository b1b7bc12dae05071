package wire

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// A fakeServer has one session, whose target is an echo. It acknowledges nothing but
// when it is taken up: all else is sent again.
type fakeServer struct {
	wrong bool // positions of what it sends

	mu       sync.Mutex
	received uint64 // under mu, like all below
	echoed   []byte // all there ever was
	current  *websocket.Conn
}

func (f *fakeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{Subprotocols: []string{resumeProtocol}}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	defer ws.Close()
	f.mu.Lock()
	f.current = ws
	first := `{"type":"session","resume":"token","timeout":9,"limit":65536}`
	from := uint64(0)
	if position := r.URL.Query().Get("bytes"); position != "" {
		from, _ = strconv.ParseUint(position, 10, 64)
		first = fmt.Sprintf(`{"type":"resumed","bytes":%d,"limit":%d}`, f.received, f.received+65536)
	}
	_ = ws.WriteMessage(websocket.TextMessage, []byte(first))
	if from < uint64(len(f.echoed)) {
		f.send(ws, f.echoed[from:])
	}
	f.mu.Unlock()
	for {
		kind, message, err := ws.ReadMessage()
		if err != nil {
			return
		}
		if kind != websocket.BinaryMessage {
			continue
		}
		f.mu.Lock()
		if f.current != ws { // nothing that it still brings has an effect
			f.mu.Unlock()
			return
		}
		payload := message[:len(message)-positionSize]
		f.received += uint64(len(payload))
		if position := binary.BigEndian.Uint64(message[len(payload):]); position != f.received {
			f.mu.Unlock()
			return
		}
		f.echoed = append(f.echoed, payload...)
		// An answer to this may meet a cut.
		_ = ws.WriteMessage(websocket.TextMessage, []byte(`{"type":"ping"}`))
		f.send(ws, payload)
		f.mu.Unlock()
	}
}

// send sends the end of what was echoed. It is called under mu.
func (f *fakeServer) send(ws *websocket.Conn, p []byte) {
	position := uint64(len(f.echoed))
	if f.wrong {
		position++
	}
	_ = ws.WriteMessage(websocket.BinaryMessage, binary.BigEndian.AppendUint64(append([]byte(nil), p...), position))
}

func newSession(t *testing.T, f *fakeServer) *Session {
	t.Helper()
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	r, err := NewRun(t.Context(), strings.TrimPrefix(server.URL, "http://"), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.End)
	p, err := r.NewPeer(1)
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.OpenClient(0, true, Buffers{Read: 1 << 10, Write: 1 << 10})
	if err != nil {
		t.Fatal(err)
	}
	return c.(*Session)
}

// Nothing is lost, doubled or mixed up by cuts, wherever they come.
func TestSessionsAreTakenUp(t *testing.T) {
	s := newSession(t, &fakeServer{})
	p := ClientPinger(s, 100)
	const pings = 60
	for i := range pings {
		if i%6 == 3 {
			s.Cut()
		}
		if err := p.Send(); err != nil {
			t.Fatal(err)
		}
		if i%6 == 5 {
			s.Cut()
		}
		if err := p.Receive(nil); err != nil {
			t.Fatal(err)
		}
		if err := p.Verify(); err != nil {
			t.Fatalf("ping %d: %v", i, err)
		}
	}
	if s.TakeUps() < pings/6 {
		t.Errorf("it was taken up %d times", s.TakeUps())
	}
}

func TestSessionsNoticeWrongPositions(t *testing.T) {
	s := newSession(t, &fakeServer{wrong: true})
	if _, _, err := ClientPinger(s, 100).Ping(); err == nil || !strings.Contains(err.Error(), "ends at 101, not at 100") {
		t.Errorf("a wrong position is %v", err)
	}
}
