package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// tunnelSeen opens a tunnel whose client hands every request to the test and
// answers it with 200.
func tunnelSeen(t *testing.T, s *server, query string) (*tunnelClient, <-chan tunnelMessage) {
	t.Helper()
	seen := make(chan tunnelMessage, 1024)
	return tunnelOpen(t, s, tunnelScript{query: query, http: func(c *tunnelClient, m tunnelMessage) {
		seen <- m
		c.answer(m, 200, "seen")
	}}), seen
}

func TestTunnelRequestHeaders(t *testing.T) {
	t.Parallel()
	for _, credentials := range []bool{false, true} {
		t.Run(fmt.Sprint(credentials), func(t *testing.T) {
			t.Parallel()
			s := tunnelServer(t, fmt.Sprintf("TUNNEL_FORWARD_CREDENTIALS=%v", credentials))
			c, seen := tunnelSeen(t, s, "")
			wire := tunnelWireTo(t, s)
			wire.say(t, "POST /headers HTTP/1.1", "Host: "+c.host+":8080", "Content-Length: 2",
				"Connection: keep-alive, X-Named", "connection: x-also", "X-Named: 1", "X-Also: 1",
				"Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "TE: trailers", "Trailer: X-T", "Upgrade: h2c",
				"Expect: 100-continue", "Accept-Encoding: gzip",
				"Cookie: a=1", "cookie: b=2", "Authorization: Bearer x", "Proxy-Authorization: Basic y",
				"X-CSRF-Token: c", "X-XSRF-TOKEN: d",
				"X_Forwarded_For: 198.51.100.1", "X-Forwarded_Host: evil.example", "Forwarded: for=198.51.100.1", "X-Real-IP: 198.51.100.1", "X_Real_IP: 198.51.100.1",
				"Proxy: http://evil.example", "Content_Length: 7", "Transfer_Encoding: chunked", "X-Named-Too: kept",
				"X-Latin1: gr\xfc\xdfe", "X-Mixed: \xc3\xbc\xfc", "X-Under_Score: kept",
				"X-Forwarded-For: 198.51.100.1", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https",
				"Accept: a", "Accept: b", "X-Empty:", "X-Quote: \"a\\b\"", "X-Utf8: grüße", "User-Agent: test/1", "Origin: https://other.example",
				"Content-Type: text/plain")
			if line, _ := wire.in.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
				t.Fatalf("before the body comes %q", line)
			}
			_, _ = wire.in.ReadString('\n')
			_, _ = io.WriteString(wire, "hi")
			if reply := wire.hear(t, "POST"); reply.status != 200 || reply.header.Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("the answer is %+v", reply)
			}
			m := <-seen
			want := map[string]string{
				"Accept": "a, b", "X-Empty": "", "X-Quote": `"a\b"`, "X-Utf8": "grüße",
				"X-Latin1": "grüße", "X-Mixed": "Ã¼ü", "X-Named-Too": "kept", "X-Under_score": "kept", "User-Agent": "test/1",
				"Origin": "https://other.example", "Content-Type": "text/plain",
				"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": c.host + ":8080", "X-Forwarded-Proto": "http",
			}
			if credentials {
				for name, value := range map[string]string{
					"Cookie": "a=1; b=2", "Authorization": "Bearer x", "Proxy-Authorization": "Basic y",
					"X-Csrf-Token": "c", "X-Xsrf-Token": "d",
				} {
					want[name] = value
				}
			}
			for name, value := range want {
				if got, ok := m.Headers[name]; !ok || got != value {
					t.Errorf("%s is %q, not %q", name, got, value)
				}
			}
			for name := range m.Headers {
				if _, ok := want[name]; !ok {
					t.Errorf("%s was forwarded", name)
				}
			}
			if m.Method != "POST" || m.Path != "/headers" || m.Body != "hi" || m.BodyEncoding != "" {
				t.Errorf("the request is %+v", m)
			}
		})
	}
}

// What a trusted proxy says of the outside client is passed on.
func TestTunnelForwardedFor(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "TRUSTED_PROXIES=127.0.0.0/8")
	c, seen := tunnelSeen(t, s, "")
	for _, test := range []struct {
		header   http.Header
		from, by string
	}{
		{http.Header{"X-Forwarded-For": {"192.0.2.1, 203.0.113.9"}, "X-Forwarded-Proto": {"https"}}, "203.0.113.9", "https"},
		{http.Header{"X-Forwarded-For": {"203.0.113.9"}, "X-Forwarded-Proto": {"wss"}}, "203.0.113.9", "https"},
		{http.Header{"X-Forwarded-For": {"203.0.113.9"}, "X-Forwarded-Proto": {"WS, https"}}, "203.0.113.9", "http"},
		{http.Header{"X-Forwarded-For": {"203.0.113.9", "127.0.0.5"}, "X-Forwarded-Proto": {"gopher"}}, "203.0.113.9", "http"},
		{http.Header{"X-Real-Ip": {"::ffff:203.0.113.8"}}, "203.0.113.8", "http"},
		{nil, "127.0.0.1", "http"},
	} {
		if _, err := tunnelAsk(tunnelHTTP(t), s, "GET", c.host, "/", test.header, nil); err != nil {
			t.Fatal(err)
		}
		m := <-seen
		if m.Headers["X-Forwarded-For"] != test.from || m.Headers["X-Forwarded-Proto"] != test.by || m.Headers["X-Forwarded-Host"] != c.host {
			t.Errorf("%v becomes %v", test.header, m.Headers)
		}
	}
}

func TestTunnelRequestLines(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	c, seen := tunnelSeen(t, s, "")
	wire := tunnelWireTo(t, s)
	for _, test := range []struct{ method, target, want string }{
		{"GET", "//a/../b?x=%2f&y=a+b", ""}, {"GET", "/%2e%2e/%E4%F6?&&=;a", ""}, {"GET", "/a//b/./c/?", ""},
		{"GET", "/health", ""}, {"GET", "/relay?host=x&port=1", ""}, {"GET", "/tunnel", ""}, {"GET", "/metrics", ""},
		{"OPTIONS", "*", ""}, {"OPTIONS", "/health", ""}, {"GET", "/#x", ""}, {"GET", "/\"\\<>", ""},
		{"GET", "http://" + c.host + "/abs/../x?y=%20", "/abs/../x?y=%20"},
		{"GET", "/gr\xfc\xdfe/\xc3\xbc?q=\xe4\xff%2f", "/gr%FC%DFe/ü?q=%E4%FF%2f"}, {"GET", "/\xf0\x9f\x98\x80/\xed\xa0\x80", "/\U0001F600/%ED%A0%80"},
		{"HEAD", "/h", ""}, {"PUT", "/p", ""}, {"PATCH", "/p", ""}, {"DELETE", "/d", ""}, {"POST", "/", ""},
		{"TRACE", "/t", ""}, {"PROPFIND", "/dav", ""}, {"M-SEARCH", "/m", ""}, {"GET", "/" + strings.Repeat("long/", 4000), ""},
	} {
		wire.say(t, test.method+" "+test.target+" HTTP/1.1", "Host: "+c.host)
		reply := wire.hear(t, test.method)
		if reply.status != 200 {
			t.Fatalf("%s %.60s: %d %q", test.method, test.target, reply.status, reply.body)
		}
		want := test.want
		if want == "" {
			want = test.target
		}
		if m := <-seen; m.Method != test.method || m.Path != want || m.Body != "" || m.BodyEncoding != "" {
			t.Errorf("%s %.60s arrives as %s %.60s, body %q", test.method, test.target, m.Method, m.Path, m.Body)
		}
	}
}

// A host names a tunnel in any case, with any port, and with a dot at its end;
// requests may come in a row before the first is answered.
func TestTunnelHosts(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "ALLOWED_ORIGINS=https://page.example")
	c, _ := tunnelSeen(t, s, "")
	wire := tunnelWireTo(t, s)
	good := []string{c.host, c.host + ":80", strings.ToUpper(c.host), c.host + ".", strings.ToUpper(c.host) + ".:8443", c.host}
	for _, host := range good {
		wire.say(t, "GET /pipelined HTTP/1.1", "Host: "+host)
	}
	for _, host := range good {
		if reply := wire.hear(t, "GET"); reply.status != 200 || reply.body != "seen" {
			t.Errorf("%s answers %+v", host, reply)
		}
	}
	label, _, _ := strings.Cut(c.host, ".")
	for _, host := range []string{
		"0123456789abcdef.tunnel.test", "." + tunnelDomain, "x." + c.host, label[:15] + "." + tunnelDomain, label + "0." + tunnelDomain,
		"www.tunnel.test", "..tunnel.test", "handler.tunnel.test", label + "%2fhandler.tunnel.test", label + ".." + tunnelDomain,
		strings.Repeat("a", 300) + ".tunnel.test", "x_y.tunnel.test:99999",
	} {
		for _, method := range []string{"GET", "OPTIONS"} {
			for _, path := range []string{"/health", "/tunnel", "/"} {
				wire.say(t, method+" "+path+" HTTP/1.1", "Host: "+host, "Origin: https://page.example",
					"Access-Control-Request-Method: GET")
				reply := wire.hear(t, method)
				if reply.status != 404 || strings.Contains(fmt.Sprint(reply.header), "Access-Control") || reply.body == "ok" {
					t.Errorf("%s %s of %.60s: %+v", method, path, host, reply)
				}
			}
		}
	}
	// The domain itself is the proxy's own host, and so is every other.
	for _, host := range []string{tunnelDomain, "x" + tunnelDomain, "127.0.0.1"} {
		wire.say(t, "GET /health HTTP/1.1", "Host: "+host, "Origin: https://page.example")
		if reply := wire.hear(t, "GET"); reply.status != 200 || reply.body != "ok" || reply.header.Get("Access-Control-Allow-Origin") == "" {
			t.Errorf("/health of %s: %+v", host, reply)
		}
	}
}

func TestTunnelRequestBodies(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "TUNNEL_MAX_BODY=256KiB")
	noise := make([]byte, 256<<10)
	_, _ = tunnelNoise(1).Read(noise)
	for _, query := range []string{"", "control=binary&flow=credit"} {
		c, seen := tunnelSeen(t, s, query)
		client := tunnelHTTP(t)
		for name, body := range map[string][]byte{
			"text": []byte("plain"), "utf8": []byte("grüße \u2028 \U0001F600 \x00 \x7f \" \\ \n\r\t\b <&>"),
			"binary": {0xff, 0xfe, 0, 1}, "latin1": []byte("gr\xfc\xdfe"), "surrogate": []byte("\xed\xa0\x80"),
			"json": []byte(`{"type":"tcp_close"}`), "empty": {},
			"largest": noise, "largest text": bytes.Repeat([]byte(`a"b`), 256<<10/3),
		} {
			for _, chunked := range []bool{false, true} {
				var reader io.Reader = bytes.NewReader(body)
				if chunked {
					reader = struct{ io.Reader }{reader}
				}
				reply, err := tunnelAsk(client, s, "POST", c.host, "/body", nil, reader)
				if err != nil || reply.status != 200 {
					t.Fatalf("%s: %v, %v", name, reply, err)
				}
				m := <-seen
				if !bytes.Equal(m.bytes(), body) {
					t.Errorf("%s, chunked %v: the body arrives as %.100q, %s", name, chunked, m.Body, m.BodyEncoding)
				}
				isText := strings.ToValidUTF8(string(body), "") == string(body)
				if isText != (m.BodyEncoding == "") {
					t.Errorf("%s: bodyEncoding is %q", name, m.BodyEncoding)
				}
			}
		}
		// Too large, announced or not: never truncated, never forwarded.
		for _, chunked := range []bool{false, true} {
			var reader io.Reader = bytes.NewReader(append(noise, 'x'))
			if chunked {
				reader = struct{ io.Reader }{reader}
			}
			reply, err := tunnelAsk(client, s, "PUT", c.host, "/big", nil, reader)
			if err != nil || reply.status != 413 {
				t.Errorf("a body that is too large, chunked %v: %d, %v", chunked, reply.status, err)
			}
		}
		wire := tunnelWireTo(t, s)
		wire.say(t, "PUT /big HTTP/1.1", "Host: "+c.host, "Content-Length: 99999999999", "Expect: 100-continue")
		if reply := wire.hear(t, "PUT"); reply.status != 413 {
			t.Errorf("a body that is announced as too large: %d", reply.status)
		}
		if reply := tunnelGet(t, client, s, c.host, "/after"); reply.status != 200 {
			t.Errorf("then: %d", reply.status)
		}
		if m := <-seen; m.Path != "/after" {
			t.Errorf("%s was forwarded", m.Path)
		}
	}
}
