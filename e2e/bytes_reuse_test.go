package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// secondService answers the first request of each connection, and at the second says
// something and ends. It counts the requests that it has read.
func secondService(t *testing.T, says string, count *atomic.Int32) string {
	t.Helper()
	return target(t, func(conn *net.TCPConn) {
		in := bufio.NewReader(conn)
		for i := range 2 {
			request, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, request.Body)
			count.Add(1)
			if i == 1 {
				_, _ = io.WriteString(conn, says)
				return
			}
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst")
		}
	}).String()
}

// A request that met the end of a connection which had served another goes once more,
// if nothing can be done twice by that and nothing of an answer has come.
func TestBytesSecondTry(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		says, method string
		body         io.Reader
		status       int
		count        int32
	}{
		"GET":                   {"", "GET", nil, 200, 3},
		"HEAD":                  {"", "HEAD", nil, 200, 3},
		"OPTIONS":               {"", "OPTIONS", nil, 200, 3},
		"TRACE":                 {"", "TRACE", nil, 200, 3},
		"half a head":           {"HTTP/1.1 200 OK\r\nX: y\r\n", "GET", nil, 502, 2},
		"one byte":              {"H", "GET", nil, 502, 2},
		"an interim answer":     {"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n", "GET", nil, 502, 2},
		"a POST":                {"", "POST", strings.NewReader("x"), 200, 2}, // over one of its own
		"a PUT without a body":  {"", "PUT", nil, 200, 2},
		"DELETE":                {"", "DELETE", nil, 200, 2},
		"a GET that has a body": {"", "GET", strings.NewReader("x"), 200, 2},
		"a method of their own": {"", "PROPFIND", nil, 200, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var count atomic.Int32
			r := newBytesRigTo(t, secondService(t, c.says, &count), "")
			if reply := r.get(t, "/"); reply.body != "first" {
				t.Fatalf("the first is %d %q", reply.status, reply.body)
			}
			if reply := r.ask(t, c.method, "/", c.body); reply.status != c.status {
				t.Errorf("the second is %d %q", reply.status, reply.body)
			}
			if n := count.Load(); n != c.count {
				t.Errorf("the service has read %d requests, not %d", n, c.count)
			}
		})
	}
}

// A client that knows one end of a connection only says no reason: that is as good as
// eof for an answer that lasts until then.
func TestBytesEndWithoutReason(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	const until = "HTTP/1.1 200 OK\r\n\r\nthe body"
	for reason, whole := range map[string]bool{"": true, "eof": true, "reset": false, "refused": false} {
		b := bytesOpenEnding(t, s, reason, saysAndEnds(t, until, false))
		reply, err := tunnelAsk(tunnelHTTP(t), s, "GET", b.host, "/", nil, nil)
		if (err == nil && reply.status == 200) != whole || whole && reply.body != "the body" {
			t.Errorf("reason %q: %d %q, %v", reason, reply.status, reply.body, err)
		}
	}
}

// Bodies may be longer than those that have to be held in memory.
func TestBytesNoMaxBody(t *testing.T) {
	t.Parallel()
	r := newBytesRig(t, bytesEcho(), "TUNNEL_MAX_BODY=1KiB")
	body := strings.Repeat("x", 1<<20)
	for _, reader := range []io.Reader{strings.NewReader(body), struct{ io.Reader }{strings.NewReader(body)}} {
		if reply := r.ask(t, "POST", "/", reader); reply.status != 200 || reply.body != body {
			t.Errorf("%d, %d bytes", reply.status, len(reply.body))
		}
	}
}

// A client that sends more than it has credit for loses that connection, and its
// request; others go on.
func TestBytesOverrun(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	ended := make(chan string, 1)
	c := tunnelOpen(t, s, tunnelScript{query: "flow=credit&http=bytes", raw: func(c *tunnelClient, n *tunnelRawConn) {
		request, err := http.ReadRequest(bufio.NewReader(struct{ io.Reader }{n}))
		if err != nil {
			return
		}
		if request.URL.Path == "/probe" {
			_, _ = fmt.Fprint(struct{ io.Writer }{n}, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			return
		}
		_, _ = fmt.Fprint(struct{ io.Writer }{n}, "HTTP/1.1 200 OK\r\n\r\n")
		n.mu.Lock()
		n.sent = 1 << 40 // it doesn't keep count
		n.mu.Unlock()
		block := make([]byte, 32<<10)
		for range 4096 {
			n.mu.Lock()
			reasons := n.reasons
			n.mu.Unlock()
			if len(reasons) > 0 {
				ended <- reasons[0]
				return
			}
			if n.push(block) != nil {
				break
			}
		}
		ended <- "nothing"
	}})
	wire := tunnelWireTo(t, s)
	_ = wire.SetReadBuffer(4 << 10)
	wire.say(t, "GET /flood HTTP/1.1", "Host: "+c.host)
	if reason := <-ended; reason == "eof" || reason == "nothing" {
		t.Errorf("the client is told %q", reason)
	}
	if reply := tunnelGet(t, tunnelHTTP(t), s, c.host, "/probe"); reply.status != 200 || reply.body != "ok" {
		t.Errorf("another gets %d %q", reply.status, reply.body)
	}
	response, err := http.ReadResponse(wire.in, nil)
	if err != nil {
		return
	}
	if _, err := io.Copy(io.Discard, response.Body); err == nil {
		t.Error("the answer looks whole")
	}
}
