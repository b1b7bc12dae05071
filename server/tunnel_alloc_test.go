//go:build !race

package server

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/tunnelrig"
	"wsproxy/messages"
	"wsproxy/transport/wsock"
)

// requestAllocations is how many allocations a request for 1 KiB may cost the server, from its
// first byte to the last one of the answer: as measured, which is the same in both forms, and a
// tenth. The two clients of the test make none.
const requestAllocations = 83

// A quietClient is a tunnel's client that allocates nothing as it answers requests.
type quietClient struct {
	conn     net.Conn
	in       *bufio.Reader
	taken    int // bytes of in that the last message has
	out      []byte
	response []byte // the answer of a service, for http=bytes
	consumed int    // bytes of data since the last tcp_credit
}

// openQuiet opens a tunnel, and returns the host of its URL. The client answers until the test ends.
func openQuiet(t *testing.T, server, query, body string) (host string) {
	t.Helper()
	ws, host := tunnelrig.Open(t, server, query)
	c := &quietClient{conn: ws.NetConn(), in: bufio.NewReaderSize(ws.NetConn(), 64<<10)}
	c.response = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	request := []byte(`{"type":"http_request","id":"`)
	head, tail := []byte(`{"type":"http_response","id":"`), []byte(`","status":200,"headers":{"Content-Type":"text/plain"},"body":"`+body+`"}`)
	go func() {
		for {
			opcode, message, err := c.next()
			switch {
			case err != nil:
				return
			case opcode == wsock.OpBinary:
				c.respond(message)
			case bytes.HasPrefix(message, request):
				id, _, _ := bytes.Cut(message[len(request):], []byte(`"`))
				c.send(wsock.OpText, head, id, tail)
			}
		}
	}()
	return host
}

// next returns the next message, of at least two bytes and less than 64 KiB, which is the
// buffer's when next is called again.
func (c *quietClient) next() (opcode byte, message []byte, err error) {
	if _, err = c.in.Discard(c.taken); err != nil {
		return 0, nil, err
	}
	header, err := c.in.Peek(4)
	if err != nil {
		return 0, nil, err
	}
	opcode = header[0] & 15
	at, n := 2, int(header[1])
	if n == 126 {
		at, n = 4, int(binary.BigEndian.Uint16(header[2:]))
	}
	if message, err = c.in.Peek(at + n); err != nil {
		return 0, nil, err
	}
	c.taken = at + n
	return opcode, message[at:], nil
}

// respond answers a request as a service does. It has come in one message.
func (c *quietClient) respond(data []byte) {
	header := data[:4+binary.BigEndian.Uint32(data)]
	if c.consumed += len(data) - len(header); c.consumed > messages.Window/2 {
		c.send(wsock.OpText, fmt.Appendf(nil, `{"type":"tcp_credit","connId":"%s","bytes":%d}`, header[4:], c.consumed))
		c.consumed = 0
	}
	c.send(wsock.OpBinary, header, c.response)
}

func (c *quietClient) send(opcode byte, pieces ...[]byte) {
	c.out = wsock.AppendMasked(c.out[:0], opcode, 0, pieces...)
	_, _ = c.conn.Write(c.out)
}

// What a request through a tunnel allocates doesn't grow unnoticed.
func TestAllocsOfRequestsThroughTunnels(t *testing.T) {
	server := restartServer(t)
	body := strings.Repeat("x", 1<<10)
	for _, query := range []string{"", "flow=credit&http=bytes"} {
		t.Run(query, func(t *testing.T) {
			host := openQuiet(t, server, query, body)
			conn, err := net.Dial("tcp", server)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(2 * testkit.Patience))
			request := []byte("GET / HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n")
			answer := make([]byte, 4<<10)
			ask := func() {
				if _, err := conn.Write(request); err != nil {
					t.Fatal(err)
				}
				for n := 0; !bytes.HasSuffix(answer[:n], []byte("\r\n\r\n"+body)); {
					more, err := io.ReadAtLeast(conn, answer[n:], 1)
					if n += more; err != nil {
						t.Fatalf("%q, %v", answer[:n], err)
					}
				}
			}
			const count = 500
			lowest := uint64(1 << 62)
			for range 5 { // the first fills the pools, and the runtime allocates for itself now and then
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				for range count {
					ask()
				}
				runtime.ReadMemStats(&after)
				lowest = min(lowest, after.Mallocs-before.Mallocs)
			}
			if got := float64(lowest) / count; got > requestAllocations {
				t.Errorf("a request costs %.1f allocations, %d are allowed", got, requestAllocations)
			}
		})
	}
}
