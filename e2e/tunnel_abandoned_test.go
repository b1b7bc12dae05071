package e2e

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// A request that is malformed below HTTP's header is refused, and the
// connection closed, because nobody knows where the next one begins.
func TestTunnelBrokenBodies(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	c, seen := tunnelSeen(t, s, "")
	for name, test := range map[string]struct {
		header, body string
		ends         bool // the client's sending side, after the body
	}{
		"no chunk":              {"Transfer-Encoding: chunked", "zz\r\nhello\r\n0\r\n\r\n", false},
		"a chunk without end":   {"Transfer-Encoding: chunked", "5\r\nhelloXX0\r\n\r\n", false},
		"chunks cut short":      {"Transfer-Encoding: chunked", "5\r\nhello\r\n", true},
		"a body cut short":      {"Content-Length: 100", "hello", true},
		"a body that never was": {"Content-Length: 100", "", true},
	} {
		wire := tunnelWireTo(t, s)
		wire.say(t, "POST /broken HTTP/1.1", "Host: "+c.host, test.header)
		_, _ = io.WriteString(wire, test.body)
		if test.ends {
			_ = wire.CloseWrite()
		}
		if reply := wire.hear(t, "POST"); reply.status != 400 {
			t.Errorf("%s: %+v", name, reply)
		}
		if _, err := wire.in.ReadByte(); err != io.EOF {
			t.Errorf("%s: then comes %v", name, err)
		}
	}
	if reply := tunnelGet(t, tunnelHTTP(t), s, c.host, "/after"); reply.status != 200 {
		t.Errorf("then: %d", reply.status)
	}
	if m := <-seen; m.Path != "/after" {
		t.Errorf("%s was forwarded", m.Path)
	}
}

// An outside client that ends its sending side while it waits counts as gone.
// No answer is invented for it, and its slots are free.
func TestTunnelNoAnswerIsInvented(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "MAX_TUNNEL_HTTP=1", "MAX_TUNNEL_HTTP_PER_IP=1")
	for _, query := range []string{"", "control=gossh"} {
		c, held := tunnelHeld(t, s, query)
		for _, lines := range [][]string{{"GET / HTTP/1.1"}, {"POST / HTTP/1.1", "Content-Length: 0"}, {"POST / HTTP/1.1", "Content-Length: 5"}} {
			wire := tunnelWireTo(t, s)
			wire.say(t, append(lines, "Host: "+c.host)...)
			if strings.HasSuffix(lines[len(lines)-1], "5") {
				_, _ = io.WriteString(wire, "hello")
			}
			m := tunnelTake(t, held)
			_ = wire.CloseWrite()
			if got, err := io.ReadAll(wire.in); err != nil || len(got) > 0 {
				t.Errorf("%q gets %q, %v", lines, got, err)
			}
			c.answer(m, 200, "late")
		}
		c.bye(t)
	}
	c, held := tunnelHeld(t, s, "")
	waiting := tunnelStart(t, tunnelHTTP(t), s, c.host, "/", nil, nil)
	c.answer(tunnelTake(t, held), 200, "mine")
	if reply := waiting.get(t); reply.body != "mine" {
		t.Errorf("then: %+v", reply)
	}
}

// A connection whose request was refused does not stay open for a body that
// never comes.
func TestTunnelRefusedConnectionsEnd(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "TUNNEL_HTTP_TIMEOUT=200ms", "TUNNEL_MAX_BODY=64KiB")
	c := tunnelOpen(t, s, tunnelScript{})
	for name, test := range map[string]struct {
		host, header, method string
		status               int
	}{
		"too late":          {c.host, "Content-Length: 10", "POST", 408},
		"chunks too late":   {c.host, "Transfer-Encoding: chunked", "POST", 408},
		"no tunnel":         {"0000000000000000." + tunnelDomain, "Content-Length: 10", "POST", 404},
		"no tunnel, chunks": {"0000000000000000." + tunnelDomain, "Transfer-Encoding: chunked", "POST", 404},
		"too large":         {c.host, "Content-Length: 100000", "POST", 413},
		"CONNECT":           {c.host, "Content-Length: 10", "CONNECT", 405},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wire := tunnelWireTo(t, s)
			target := "/"
			if test.method == "CONNECT" {
				target = test.host + ":443"
			}
			wire.say(t, test.method+" "+target+" HTTP/1.1", "Host: "+test.host, test.header)
			_, _ = io.WriteString(wire, "1\r\n")
			began := time.Now()
			if reply := wire.hear(t, "POST"); reply.status != test.status || reply.header.Get("Cache-Control") != "no-store" {
				t.Errorf("%+v", reply)
			}
			_ = wire.SetReadDeadline(began.Add(12 * time.Second))
			_, err := wire.in.ReadByte()
			var broken *net.OpError
			if errors.Is(err, os.ErrDeadlineExceeded) || err == nil || !errors.Is(err, io.EOF) && !errors.As(err, &broken) {
				t.Errorf("after %v: %v", time.Since(began), err)
			}
		})
	}
}
