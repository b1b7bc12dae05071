package e2e

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// What is lost when the server closes its socket too early is lost by a race
// in the kernel, so each of these tests tries it many times.
const (
	closeTries  = 100
	lastWords   = 4 << 20 // bytes that the target sends before it ends
	pushMessage = 64      // small, so that the pushing costs little more than the system calls
)

// push sends messages of size bytes, beside what ws itself sends, until the
// connection takes no more. The channel that it returns is closed then.
func push(ws *websocket.Conn, size int) <-chan struct{} {
	done := make(chan struct{})
	message := frame(finBit|opBinary, make([]byte, size))
	go func() {
		defer close(done)
		for {
			if _, err := ws.NetConn().Write(message); err != nil {
				return
			}
		}
	}()
	return done
}

// A trigger is a writer that calls pull once more than after bytes have come.
type trigger struct {
	io.Writer
	after int
	pull  func()
}

func (g *trigger) Write(p []byte) (int, error) {
	if g.after -= len(p); g.after < 0 && g.pull != nil {
		g.pull()
		g.pull = nil
	}
	return g.Writer.Write(p)
}

// lastWordsTarget sends said as soon as the client's first byte has come, and
// then ends as end does.
func lastWordsTarget(t *testing.T, said data, end func(conn *net.TCPConn)) net.Addr {
	words, _ := io.ReadAll(said.reader())
	return target(t, func(conn *net.TCPConn) {
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			return
		}
		_, _ = conn.Write(words)
		end(conn)
	})
}

// wordsThenEnd is a lastWordsTarget that ends its sending side and reads on, or
// stays without reading any more.
func wordsThenEnd(t *testing.T, said data, readsOn bool) net.Addr {
	ended := make(chan struct{})
	far := lastWordsTarget(t, said, func(conn *net.TCPConn) {
		_ = conn.CloseWrite()
		if readsOn {
			_, _ = io.Copy(io.Discard, conn)
		} else {
			<-ended
		}
	})
	t.Cleanup(func() { close(ended) }) // before the target's own, which waits
	return far
}

func TestLastBytesOrCloseLostWhileTheClientPushes(t *testing.T) {
	t.Parallel()
	said := newData(lastWords)
	want := said.sum()
	for _, name := range []string{"TargetReadsOn", "TargetReadsNoMore"} {
		t.Run(name, func(t *testing.T) {
			s := start(t, allowLoopback(), "MAX_CONNS_PER_IP=0")
			far := wordsThenEnd(t, said, name == "TargetReadsOn")
			for try := range closeTries {
				ws := dial(t, s, far)
				if err := ws.WriteMessage(websocket.BinaryMessage, []byte("go")); err != nil {
					t.Fatal(err)
				}
				// The later the pushing begins, the further is the server with
				// its goodbye.
				got := newTally()
				begin := &trigger{Writer: got, after: lastWords * try / closeTries}
				var pushed <-chan struct{}
				begin.pull = func() { pushed = push(ws, pushMessage) }
				_ = ws.SetReadDeadline(time.Now().Add(patience))
				closed, err := receive(ws, begin)
				if err != nil || closed.Code != websocket.CloseNormalClosure {
					t.Fatalf("try %d: after %d bytes of %d: %v, error %v", try, got.n, lastWords, closed, err)
				}
				if got.n != lastWords || [32]byte(got.Sum(nil)) != want {
					t.Fatalf("try %d: %d bytes of %d arrived, or others", try, got.n, lastWords)
				}
				ws.Close()
				<-pushed
			}
		})
	}
}

// A target that closes outright answers what the client still pushes with a
// reset, which may overtake its last bytes. So it may be either close, but 1000
// only with every byte.
func TestNormalCloseAfterLoss(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback(), "MAX_CONNS_PER_IP=0")
	const words = 1 << 20
	far := lastWordsTarget(t, newData(words), func(conn *net.TCPConn) { conn.Close() })
	normal := 0
	for try := range closeTries {
		ws := dial(t, s, far)
		pushed := push(ws, pushMessage)
		got := newTally()
		_ = ws.SetReadDeadline(time.Now().Add(patience))
		closed, err := receive(ws, got)
		switch {
		case err != nil:
			t.Fatalf("try %d: no close after %d bytes: %v", try, got.n, err)
		case closed.Code == websocket.CloseNormalClosure && got.n == words:
			normal++
		case closed.Code != websocket.CloseInternalServerErr:
			t.Fatalf("try %d: closed with %d %q after %d bytes of %d", try, closed.Code, closed.Text, got.n, words)
		}
		ws.Close()
		<-pushed
	}
	t.Logf("%d of %d closed with 1000", normal, closeTries)
}

func TestCloseLostWhenTheTargetResets(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback(), "MAX_CONNS_PER_IP=0")
	far := lastWordsTarget(t, newData(64<<10), func(conn *net.TCPConn) {
		_ = conn.SetLinger(0)
		conn.Close()
	})
	for range closeTries {
		ws := dial(t, s, far)
		pushed := push(ws, pushMessage)
		expectClosed(t, ws, websocket.CloseInternalServerErr, "target reset the connection")
		ws.Close()
		<-pushed
	}
}

// A client that pushes without reading gets what was said when it reads at
// last. While the last words fit into the kernel's buffers the proxy sees the
// target's end at once, and pushes that the target won't read hold nobody up.
func TestLastBytesOrCloseLostForAClientThatOnlyWrites(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		said    int64
		readsOn bool
	}{
		{"TargetReadsOn", lastWords, true},
		{"TargetReadsNoMore", 512 << 10, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, allowLoopback(), "MAX_CONNS_PER_IP=0")
			said := newData(tt.said)
			far := wordsThenEnd(t, said, tt.readsOn)
			for range 3 {
				ws := dial(t, s, far)
				block := make([]byte, 1<<20)
				for range 4 {
					if err := ws.WriteMessage(websocket.BinaryMessage, block); err != nil {
						t.Fatal(err)
					}
				}
				expectClosed(t, ws, websocket.CloseNormalClosure, "").expect(t, said)
				ws.Close()
			}
		})
	}
}
