package e2e

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// The last bytes of a relay that its reader takes slowly, for longer than the
// 5 s for which the server waits without a sign of life. Words that come the
// other way meanwhile end nothing.
const (
	tailSize = 900_000
	tailRate = 100_000 // bytes a second
)

// slowly returns a reader of r that takes at most tailRate bytes a second, and
// calls say once a second.
func slowly(r io.Reader, say func()) io.Reader { return &slowReader{r: r, say: say, began: time.Now()} }

type slowReader struct {
	r     io.Reader
	say   func()
	began time.Time
	got   int
	said  int // seconds
}

func (s *slowReader) Read(p []byte) (int, error) {
	due := s.began.Add(time.Duration(s.got) * time.Second / tailRate)
	if wait := time.Until(due); wait > 0 {
		<-time.After(wait)
	}
	if now := int(time.Since(s.began) / time.Second); now > s.said {
		s.said = now
		s.say()
	}
	n, err := s.r.Read(p[:min(len(p), 8<<10)])
	s.got += n
	return n, err
}

func TestTailToASlowClientLost(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback())
	said := newData(tailSize)
	words, _ := io.ReadAll(said.reader())
	far := target(t, func(conn *net.TCPConn) {
		_ = conn.SetWriteBuffer(2 * tailSize)
		_, _ = conn.Write(words)
		_ = conn.CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
	})
	scenarios := map[string]func(t *testing.T){}
	for name, chatter := range map[string][]byte{
		"nothing": nil, "keystrokes": frame(finBit|opBinary, []byte("k")), "pings": frame(finBit|opPing, []byte("p")),
	} {
		scenarios[name] = func(t *testing.T) {
			ws := dialSlow(t, s, far)
			// What came with the handshake's answer has been read already.
			ahead, _ := ws.in.Peek(ws.in.Buffered())
			all := io.MultiReader(bytes.NewReader(bytes.Clone(ahead)), ws.TCPConn)
			ws.in.Reset(slowly(all, func() { ws.send(t, chatter) }))
			e := ws.expectClose(t, websocket.CloseNormalClosure, "")
			if e.bytes != tailSize || e.sum != said.sum() {
				t.Errorf("%d bytes of %d arrived, or others", e.bytes, tailSize)
			}
		}
	}
	together(t, scenarios)
}

// dialSlow is dialRaw with a small receive buffer.
func dialSlow(t *testing.T, s *server, far net.Addr) *rawClient {
	t.Helper()
	ws := dialRaw(t, relayURL(s, far), nil)
	_ = ws.SetReadBuffer(64 << 10)
	_ = ws.SetDeadline(time.Now().Add(2 * patience))
	return ws
}

func TestTailToASlowTargetLost(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback())
	said := newData(tailSize)
	scenarios := map[string]func(t *testing.T){}
	for name, c := range map[string]struct {
		chatter string
		end     func(t *testing.T, ws *rawClient)
	}{
		"close":              {"", func(t *testing.T, ws *rawClient) { ws.send(t, frame(finBit|opClose, closePayload(1000, ""))) }},
		"close with chatter": {".", func(t *testing.T, ws *rawClient) { ws.send(t, frame(finBit|opClose, closePayload(1000, ""))) }},
		"FIN with chatter":   {".", func(t *testing.T, ws *rawClient) { _ = ws.CloseWrite() }},
	} {
		far, conns := handServer(t)
		scenarios[name] = func(t *testing.T) {
			ws := dialSlow(t, s, far)
			conn := accept(t, conns)
			_ = conn.SetReadBuffer(64 << 10)
			_ = conn.SetDeadline(time.Now().Add(2 * patience))
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				if _, err := copyBy(50_000, frames{ws}, said.reader()); err != nil {
					t.Error(err)
					return
				}
				c.end(t, ws)
			}()
			got := newTally()
			_, err := copyBy(8<<10, got, slowly(conn, func() { _, _ = io.WriteString(conn, c.chatter) }))
			if err != nil {
				t.Errorf("after %d bytes of %d: %v", got.n, tailSize, err)
			}
			got.expect(t, said)
			<-sent
			conn.Close()
			ws.expectClose(t, websocket.CloseNormalClosure, "")
		}
	}
	together(t, scenarios)
}
