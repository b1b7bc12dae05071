package server

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"

	"wsproxy/messages"
)

// The benchmarks of tunnels measure the whole server and a client in one
// process. Each has a baseline in the same run, without a server in between:
// only the ratio to that says anything.

// A benchTunnel is a tunnel's client that answers requests with a body, and
// either echoes credit for what comes on raw connections or sends on them.
type benchTunnel struct {
	ws     *websocket.Conn
	host   string
	port   int
	mu     sync.Mutex // held by who writes to ws
	conn   func(c *benchTunnel, connID string)
	data   func(c *benchTunnel, connID string, payload []byte)
	credit func(c *benchTunnel, connID string, bytes int)
}

// openBenchTunnel opens a tunnel whose client answers with the path's number of
// bytes.
func openBenchTunnel(b *testing.B, server, query string, c *benchTunnel) {
	b.Helper()
	ws, _, err := websocket.DefaultDialer.Dial("ws://"+server+"/tunnel?"+query, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { ws.Close() })
	var ready struct {
		TunnelURL string
		RawPort   int
	}
	if err := ws.ReadJSON(&ready); err != nil {
		b.Fatal(err)
	}
	u, err := url.Parse(ready.TunnelURL)
	if err != nil || ready.RawPort == 0 {
		b.Fatalf("tunnel_ready says %+v: %v", ready, err)
	}
	c.ws, c.host, c.port = ws, u.Host, ready.RawPort
	go c.serve()
}

func (c *benchTunnel) serve() {
	bodies := map[string]string{}
	for {
		kind, message, err := c.ws.ReadMessage()
		if err != nil {
			return
		}
		if kind == websocket.BinaryMessage {
			n := binary.BigEndian.Uint32(message)
			c.data(c, string(message[4:4+n]), message[4+n:])
			continue
		}
		var m struct {
			Type, ID, Path, ConnID string
			Bytes                  int
		}
		if json.Unmarshal(message, &m) != nil {
			return
		}
		switch m.Type {
		case "http_request":
			if bodies[m.Path] == "" {
				bodies[m.Path] = benchBody(m.Path)
			}
			c.send(websocket.TextMessage, []byte(`{"type":"http_response","id":"`+m.ID+`","status":200,"body":"`+bodies[m.Path]+`"}`))
		case "tcp_open":
			if c.conn != nil {
				go c.conn(c, m.ConnID)
			}
		case "tcp_credit":
			c.credit(c, m.ConnID, m.Bytes)
		}
	}
}

func (c *benchTunnel) send(kind int, message []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ws.WriteMessage(kind, message)
}

func benchBody(path string) string {
	n := 0
	_, _ = fmt.Sscanf(path, "/%d", &n)
	return strings.Repeat("x", n)
}

// benchBytes is the client of a tunnel with http=bytes. It speaks for the service
// behind it.
func benchBytes() *benchTunnel {
	type connection struct {
		allowed int    // to be sent
		waits   []byte // what was not
		taken   int    // of what has come, since credit was granted last
	}
	conns := map[string]*connection{} // of the client's goroutine alone
	flush := func(c *benchTunnel, id string) {
		for s := conns[id]; len(s.waits) > 0 && s.allowed > 0; {
			n := min(len(s.waits), s.allowed, 32<<10)
			if c.send(websocket.BinaryMessage, benchFrame(id, s.waits[:n])) != nil {
				return
			}
			s.allowed, s.waits = s.allowed-n, s.waits[n:]
		}
	}
	return &benchTunnel{
		data: func(c *benchTunnel, id string, payload []byte) {
			if conns[id] == nil {
				conns[id] = &connection{allowed: messages.Window}
			}
			if conns[id].taken += len(payload); conns[id].taken >= messages.Window/2 {
				_ = c.send(websocket.TextMessage, fmt.Appendf(nil, `{"type":"tcp_credit","connId":%q,"bytes":%d}`, id, conns[id].taken))
				conns[id].taken = 0
			}
			_, path, _ := strings.Cut(string(payload), " ") // a request is one frame
			body := benchBody(path)
			conns[id].waits = fmt.Appendf(conns[id].waits, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
			flush(c, id)
		},
		credit: func(c *benchTunnel, id string, n int) {
			conns[id].allowed += n
			flush(c, id)
		},
	}
}

// BenchmarkTunnelHTTP measures requests for answers of 1 KiB, 64 KiB and 1 MiB, eight
// at a time.
func BenchmarkTunnelHTTP(b *testing.B) {
	server := restartServer(b)
	tunnel, asBytes := &benchTunnel{}, benchBytes()
	openBenchTunnel(b, server, "", tunnel)
	openBenchTunnel(b, server, "flow=credit&http=bytes", asBytes)
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, benchBody(r.URL.Path))
	}))
	b.Cleanup(plain.Close)
	for _, size := range []int{1 << 10, 64 << 10, 1 << 20} {
		for _, by := range []struct{ name, base, host string }{
			{"tunnel", "http://" + server, tunnel.host}, {"bytes", "http://" + server, asBytes.host}, {"plain", plain.URL, ""},
		} {
			b.Run(fmt.Sprintf("%dKiB/%s", size>>10, by.name), func(b *testing.B) {
				client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
				defer client.CloseIdleConnections()
				b.SetBytes(int64(size))
				b.SetParallelism(4)
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						r, _ := http.NewRequest("GET", fmt.Sprintf("%s/%d", by.base, size), nil)
						if by.host != "" {
							r.Host = by.host
						}
						answer, err := client.Do(r)
						if err != nil {
							b.Error(err)
							return
						}
						n, err := io.Copy(io.Discard, answer.Body)
						answer.Body.Close()
						if err != nil || n != int64(size) || answer.StatusCode != 200 {
							b.Errorf("status %d, %d bytes, %v", answer.StatusCode, n, err)
							return
						}
					}
				})
			})
		}
	}
}

// benchChunk is how much one operation of BenchmarkTunnelRaw moves, in bytes.
const benchChunk = 1 << 20

// BenchmarkTunnelRaw measures one raw connection each way: in from the outside
// to the tunnel's client, out from there.
func BenchmarkTunnelRaw(b *testing.B) {
	server := restartServer(b)
	arrived := make(chan int, 1<<16)
	receiver := &benchTunnel{data: func(_ *benchTunnel, _ string, payload []byte) { arrived <- len(payload) }}
	openBenchTunnel(b, server, "", receiver)
	sender := &benchTunnel{conn: func(c *benchTunnel, connID string) {
		frame := benchFrame(connID, bytes.Repeat([]byte{'x'}, 32<<10))
		for c.send(websocket.BinaryMessage, frame) == nil {
		}
	}}
	openBenchTunnel(b, server, "", sender)

	b.Run("in/tunnel", func(b *testing.B) {
		benchIn(b, fmt.Sprintf("127.0.0.1:%d", receiver.port), func(n int) {
			for n > 0 {
				n -= <-arrived
			}
		})
	})
	b.Run("in/plain", func(b *testing.B) {
		sink := benchPeer(b, func(conn net.Conn) {
			buf := make([]byte, 64<<10)
			for {
				n, err := conn.Read(buf)
				if err != nil {
					return
				}
				arrived <- n
			}
		})
		benchIn(b, sink, func(n int) {
			for n > 0 {
				n -= <-arrived
			}
		})
	})
	b.Run("out/tunnel", func(b *testing.B) { benchOut(b, fmt.Sprintf("127.0.0.1:%d", sender.port)) })
	b.Run("out/plain", func(b *testing.B) {
		frame := bytes.Repeat([]byte{'x'}, 32<<10)
		benchOut(b, benchPeer(b, func(conn net.Conn) {
			for {
				if _, err := conn.Write(frame); err != nil {
					return
				}
			}
		}))
	})
}

// BenchmarkTunnelStall measures the echo of a few bytes over a raw connection of
// a tunnel with credit: without others, which is the baseline, and beside one
// whose peer doesn't read and whose client sends all that it may.
func BenchmarkTunnelStall(b *testing.B) {
	server := restartServer(b)
	conns := make(chan string, 2)
	var stalled atomic.Value // the connId of the one whose peer doesn't read
	tunnel := &benchTunnel{
		credit: func(c *benchTunnel, connID string, n int) {
			if connID == stalled.Load() {
				_ = c.send(websocket.BinaryMessage, benchFrame(connID, make([]byte, n)))
			}
		},
		conn: func(_ *benchTunnel, connID string) { conns <- connID },
		data: func(c *benchTunnel, connID string, payload []byte) {
			_ = c.send(websocket.BinaryMessage, benchFrame(connID, payload))
			_ = c.send(websocket.TextMessage, fmt.Appendf(nil, `{"type":"tcp_credit","connId":%q,"bytes":%d}`, connID, len(payload)))
		},
	}
	openBenchTunnel(b, server, "flow=credit", tunnel)
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", tunnel.port))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
		return conn
	}
	echo := dial()
	<-conns
	run := func(b *testing.B) {
		buf := make([]byte, 4)
		for range b.N {
			if _, err := echo.Write(buf); err != nil {
				b.Fatal(err)
			}
			if _, err := io.ReadFull(echo, buf); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("calm", run)
	_ = dial().(*net.TCPConn).SetReadBuffer(4096)
	id := <-conns
	stalled.Store(id)
	if err := tunnel.send(websocket.BinaryMessage, benchFrame(id, make([]byte, messages.Window))); err != nil {
		b.Fatal(err)
	}
	b.Run("stalled", run)
}

func benchFrame(connID string, payload []byte) []byte {
	frame := append(binary.BigEndian.AppendUint32(nil, uint32(len(connID))), connID...)
	return append(frame, payload...)
}

// benchPeer listens for connections, which serve gets.
func benchPeer(b *testing.B, serve func(net.Conn)) (address string) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	return l.Addr().String()
}

func benchIn(b *testing.B, address string, arrived func(n int)) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	chunk := make([]byte, benchChunk)
	b.SetBytes(benchChunk)
	b.ResetTimer()
	for range b.N {
		go func() { _, _ = conn.Write(chunk) }()
		arrived(benchChunk)
	}
}

func benchOut(b *testing.B, address string) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	b.SetBytes(benchChunk)
	b.ResetTimer()
	for range b.N {
		if _, err := io.CopyN(io.Discard, conn, benchChunk); err != nil {
			b.Fatal(err)
		}
	}
}
