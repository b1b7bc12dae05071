package socket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/transport/wsock/replay"
)

// noProxy keeps the environment out of a test.
func noProxy(*http.Request) (*url.URL, error) { return nil, nil }

// serve starts a server that upgrades everything, and notes the requests.
func serve(t *testing.T, protocol string) (*httptest.Server, <-chan *http.Request) {
	t.Helper()
	requests := make(chan *http.Request, 16)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- r
		upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
		if protocol != "" {
			upgrader.Subprotocols = []string{protocol}
		}
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		for {
			kind, b, err := conn.ReadMessage()
			if err != nil || conn.WriteMessage(kind, b) != nil {
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	return server, requests
}

// echo tries a Conn.
func echo(t *testing.T, c *Conn) {
	t.Helper()
	defer c.Abandon()
	c.SetReadDeadline(time.Now().Add(30 * time.Second))
	text := strings.Repeat("x", 100_000)
	c.Write(Binary, []byte(text[:1]), []byte(text[1:]))
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
	if kind, err := c.Next(); kind != Binary || err != nil {
		t.Fatal(kind, err)
	}
	if got, err := io.ReadAll(reader{c}); string(got) != text || err != nil {
		t.Fatalf("%d bytes come back, %v", len(got), err)
	}
	if c.Came() < 100_000 || c.Written() < 100_000 {
		t.Errorf("%d bytes have come, %d were written", c.Came(), c.Written())
	}
}

type reader struct{ *Conn }

func TestHandshake(t *testing.T) {
	server, requests := serve(t, "wsproxy.resume")
	server.Start()
	asked := 0
	o := &Options{
		URL: server.URL + "/below/", Proxy: noProxy,
		Token:  func(context.Context) (string, error) { asked++; return fmt.Sprint("token", asked), nil },
		Header: http.Header{"Origin": {"https://example.com"}},
	}
	c, err := Dial(t.Context(), o, "/relay", url.Values{"host": {"h"}, "port": {"22"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	echo(t, c)
	again, err := Dial(t.Context(), o, "/relay", url.Values{"host": {"h"}}, &TakeUp{Token: "T", Unit: replay.Messages, Position: 7, Attempt: 3})
	if err != nil {
		t.Fatal(err)
	}
	echo(t, again)
	for _, want := range []string{
		"/below/relay?host=h&port=22 [wsproxy.resume wsproxy.v1] Bearer token1 https://example.com ",
		"/below/relay?attempt=3&messages=7 [wsproxy.resume resume.T] Bearer token2 https://example.com ",
	} {
		r := <-requests
		if got := fmt.Sprint(r.URL, " ", websocket.Subprotocols(r), " ", r.Header.Get("Authorization"), " ", r.Header.Get("Origin"), " ", r.Header.Get("Sec-WebSocket-Extensions")); got != want {
			t.Errorf("the request is %q, not %q", got, want)
		}
	}
	if !c.Resumes() || len(o.Header) != 1 {
		t.Error("the selected protocol is unknown, or the options have changed")
	}
}

func TestPlainHandshake(t *testing.T) {
	server, requests := serve(t, "")
	server.Start()
	c, err := Dial(t.Context(), &Options{URL: "ws" + strings.TrimPrefix(server.URL, "http"), Proxy: noProxy, NoResume: true}, "/tunnel", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	echo(t, c)
	if r := <-requests; r.URL.String() != "/tunnel" || r.Header.Get("Sec-WebSocket-Protocol") != "wsproxy.v1" || r.Header["Authorization"] != nil || c.Resumes() {
		t.Errorf("%v is asked for with %v", r.URL, r.Header)
	}
	if _, err := Dial(t.Context(), &Options{URL: server.URL, Proxy: noProxy}, "/tunnel", nil, &TakeUp{Token: "T"}); err != errSubprotocol {
		t.Errorf("a server that selects nothing has taken a session up: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		header http.Header
		status int
		body   string
		want   RefusedError
	}{
		"a sentence":    {http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, 403, "this target is blocked\n", RefusedError{403, "this target is blocked", 0}},
		"control":       {http.Header{"Content-Type": {"text/plain"}}, 401, "a\x1b[31m \x00b\tc\xff\u202ed", RefusedError{401, "a[31m b cd", 0}},
		"a long one":    {http.Header{"Content-Type": {"text/plain"}}, 429, strings.Repeat("é", 600), RefusedError{429, strings.Repeat("é", 256), 0}},
		"seconds":       {http.Header{"Retry-After": {"7"}, "Content-Type": {"text/plain"}}, 503, "draining", RefusedError{503, "draining", 7 * time.Second}},
		"no seconds":    {http.Header{"Retry-After": {"-7"}, "Content-Type": {"text/plain"}}, 503, "", RefusedError{503, "", 0}},
		"a time past":   {http.Header{"Retry-After": {"Mon, 02 Jan 2006 15:04:05 GMT"}, "Content-Type": {"text/plain"}}, 503, "", RefusedError{503, "", 0}},
		"a page":        {http.Header{"Content-Type": {"text/html"}}, 502, "<h1>nginx</h1>", RefusedError{502, "", 0}},
		"a redirection": {http.Header{"Location": {"https://elsewhere"}, "Content-Type": {"text/plain"}}, 301, "", RefusedError{301, "", 0}},
		"no upgrade":    {http.Header{"Content-Type": {"text/plain"}}, 200, "ok", RefusedError{200, "ok", 0}},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for name, values := range test.header {
					w.Header()[name] = values
				}
				w.WriteHeader(test.status)
				_, _ = io.WriteString(w, test.body)
			}))
			defer server.Close()
			_, err := Dial(t.Context(), &Options{URL: server.URL, Proxy: noProxy}, "/relay", nil, nil)
			var refused *RefusedError
			if !errors.As(err, &refused) || *refused != test.want {
				t.Errorf("the error is %#v, not of %+v", err, test.want)
			}
		})
	}
}

// What can't be asked for is not, and the error shows no secret.
func TestOptionsThatCanNotBe(t *testing.T) {
	for address, want := range map[string]string{
		"":                         "must begin with",
		"localhost:8080":           "must begin with",
		"ftp://host":               "must begin with",
		"wss://":                   "has no host",
		"wss://:443":               "has no host",
		"ws://u:s3cret@host":       "user name",
		"ws://host?token=s3cret":   "end with its path",
		"ws://host/s3cret\x7f%zz?": "can't be read",
	} {
		_, err := Dial(t.Context(), &Options{URL: address, Proxy: noProxy}, "/relay", nil, nil)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v, not %q", address, err, want)
		}
	}
	for _, token := range []string{"s3cret\r\nX: y", "s3 cret", "s3crét"} {
		_, err := Dial(t.Context(), &Options{URL: "ws://host", Proxy: noProxy, Token: func(context.Context) (string, error) { return token, nil }}, "/relay", nil, nil)
		if err == nil || strings.Contains(err.Error(), "s3") {
			t.Errorf("the token %q: %v", token, err)
		}
	}
	failed := errors.New("the command fails")
	_, err := Dial(t.Context(), &Options{URL: "ws://host", Proxy: noProxy, Token: func(context.Context) (string, error) { return "", failed }}, "/relay", nil, nil)
	if !errors.Is(err, failed) {
		t.Errorf("a token that can't be had: %v", err)
	}
}

// mute starts a server that accepts and says nothing.
func mute(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { // until the other side leaves
				_, _ = io.Copy(io.Discard, c)
				c.Close()
			}()
		}
	}()
	return l
}

// Whoever does not wait any more does not wait, wherever the handshake is.
func TestDialEndsWithItsContext(t *testing.T) {
	l := mute(t)
	for name, o := range map[string]*Options{
		"server": {URL: "ws://" + l.Addr().String(), Proxy: noProxy},
		"TLS":    {URL: "wss://" + l.Addr().String(), Proxy: noProxy},
		"proxy":  {URL: "wss://host", Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: l.Addr().String()})},
		"SOCKS":  {URL: "wss://host", Proxy: http.ProxyURL(&url.URL{Scheme: "socks5", Host: l.Addr().String()})},
		"token":  {URL: "wss://host", Proxy: noProxy, Token: func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			start := time.Now()
			if _, err := Dial(ctx, o, "/relay", nil, nil); err == nil || time.Since(start) > handshakeTimeout/2 {
				t.Errorf("%v after %v", err, time.Since(start))
			}
		})
	}
}

// An answer that has no end is given up, and little of it is kept: a server's and a
// proxy's.
func TestEndlessAnswers(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	sent := make(chan int, 2)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			total, _ := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nX: ")
			for fill := make([]byte, 64<<10); err == nil && total < 256<<20; {
				var n int
				n, err = conn.Write(fill)
				total += n
			}
			conn.Close()
			sent <- total
		}
	}()
	server := "http://" + listener.Addr().String()
	for name, proxy := range map[string]func(*http.Request) (*url.URL, error){
		"of a server": noProxy,
		"of a proxy":  func(*http.Request) (*url.URL, error) { return url.Parse(server) },
	} {
		if _, err := Dial(t.Context(), &Options{URL: server, Proxy: proxy}, "/relay", nil, nil); err == nil {
			t.Errorf("%s: it is accepted", name)
		}
		if n := <-sent; n > 32<<20 { // what the kernel has taken is in it
			t.Errorf("%s: %d bytes of it were taken", name, n)
		}
	}
}

// A connection that is cut is no error of a WebSocket library's, with a number.
func TestCutIsPlain(t *testing.T) {
	err := told(&websocket.CloseError{Code: websocket.CloseAbnormalClosure, Text: io.ErrUnexpectedEOF.Error()})
	if !errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "1006") {
		t.Errorf("%v", err)
	}
}

// A counted has a TCP connection in it, and does more when it is read and written.
type counted struct {
	*net.TCPConn
	read, written atomic.Int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.TCPConn.Read(b)
	c.read.Add(int64(n))
	return n, err
}

func (c *counted) Write(b []byte) (int, error) {
	c.written.Add(int64(len(b)))
	return c.TCPConn.Write(b)
}

// Nobody goes past a connection that is not the system's own, or to what of it is in another one.
func TestOtherConnectionsAreNotPassedBy(t *testing.T) {
	server, _ := serve(t, "")
	server.Start()
	var counts *counted
	o := &Options{URL: server.URL, Proxy: noProxy, Connect: func(_ context.Context, address string) (net.Conn, error) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return nil, err
		}
		counts = &counted{TCPConn: conn.(*net.TCPConn)}
		return counts, nil
	}}
	c, err := Dial(t.Context(), o, "/relay", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Tries() {
		t.Error("it is written to past its Write")
	}
	echo(t, c)
	if read, written := counts.read.Load(), counts.written.Load(); read < 100_000 || written < 100_000 {
		t.Errorf("it was asked for %d bytes, and given %d", read, written)
	}
}

// What has no more to do with the kernel is said as package net says it.
func TestDeadlineIsSaidAsByNet(t *testing.T) {
	server, _ := serve(t, "")
	server.Start()
	c, err := Dial(t.Context(), &Options{URL: server.URL, Proxy: noProxy}, "/relay", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Abandon()
	c.SetReadDeadline(time.Now().Add(-time.Second))
	if _, err = c.Next(); err == nil || !strings.HasPrefix(err.Error(), "read tcp ") {
		t.Errorf("the error is %v", err)
	}
}
