package e2e

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// tunnelAnswers opens a tunnel whose client answers /N with the Nth answer.
func tunnelAnswers(t *testing.T, s *server, answers []tunnelJSON) *tunnelClient {
	t.Helper()
	return tunnelOpen(t, s, tunnelScript{http: func(c *tunnelClient, m tunnelMessage) {
		n, _ := strconv.Atoi(m.Path[1:])
		answer := tunnelJSON{"type": "http_response", "id": m.ID}
		for name, value := range answers[n] {
			answer[name] = value
		}
		_ = c.send(answer)
	}})
}

func TestTunnelResponses(t *testing.T) {
	t.Parallel()
	type h = tunnelJSON
	chunked := h{"Transfer-Encoding": "chunked"}
	b64 := base64.StdEncoding.EncodeToString
	const ok, bad = 200, 502
	tests := []struct {
		name   string
		answer tunnelJSON
		method string
		status int
		body   string
		check  func(reply tunnelReply) bool // may be nil
	}{
		{"plain", h{"status": 200, "body": "grüße\n\x00", "headers": h{"Content-Type": "text/x"}}, "", ok, "grüße\n\x00",
			func(r tunnelReply) bool { return r.length == 9 && r.header.Get("Content-Type") == "text/x" }},
		{"base64", h{"status": 201, "body": b64([]byte("\xff\x00\xfe")), "bodyEncoding": "base64"}, "", 201, "\xff\x00\xfe", nil},
		{"nothing but a status", h{"status": 204}, "", 204, "", nil},
		{"no body", h{"status": 200}, "", ok, "", func(r tunnelReply) bool { return r.length == 0 }},
		{"no type is guessed", h{"status": 200, "body": "<html><body>x"}, "", ok, "<html><body>x",
			func(r tunnelReply) bool {
				return r.header["Content-Type"] == nil && r.header["X-Content-Type-Options"] == nil
			}},
		{"unknown fields", h{"status": 200, "body": "x", "more": h{"a": []int{1}}, "time": 1.5e3}, "", ok, "x", nil},
		{"null fields", h{"status": 200, "body": nil, "headers": nil, "bodyEncoding": nil}, "", ok, "", nil},
		{"an error of its own", h{"status": 599, "body": "x"}, "", 599, "x", nil},
		{"not found", h{"status": 404, "body": "x"}, "", 404, "x", nil},
		{"redirect", h{"status": 307, "headers": h{"Location": "http://elsewhere.example/"}}, "", 307, "",
			func(r tunnelReply) bool { return r.header.Get("Location") == "http://elsewhere.example/" }},
		{"101", h{"status": 101, "headers": h{"Upgrade": "websocket", "Connection": "Upgrade"}}, "", bad, "", nil},
		{"100", h{"status": 100}, "", bad, "", nil}, {"103", h{"status": 103}, "", bad, "", nil},
		{"600", h{"status": 600}, "", bad, "", nil}, {"0", h{"status": 0}, "", bad, "", nil}, {"-1", h{"status": -1}, "", bad, "", nil},
		{"no status", h{"body": "x"}, "", bad, "", nil}, {"a large status", h{"status": 1 << 40}, "", bad, "", nil},
		{"bad base64", h{"status": 200, "body": "a$b=", "bodyEncoding": "base64"}, "", bad, "", nil},
		{"short base64", h{"status": 200, "body": "YWJ", "bodyEncoding": "base64"}, "", bad, "", nil},
		{"unknown encoding", h{"status": 200, "body": "x", "bodyEncoding": "gzip"}, "", bad, "", nil},
		{"too large", h{"status": 200, "body": strings.Repeat("x", 1<<20+1)}, "", bad, "", nil},
		{"too large in base64", h{"status": 200, "body": b64(make([]byte, 1<<20+1)), "bodyEncoding": "base64"}, "", bad, "", nil},
		{"just large enough", h{"status": 200, "body": b64(make([]byte, 1<<20)), "bodyEncoding": "base64"}, "", ok, string(make([]byte, 1<<20)), nil},
		{"right length", h{"status": 200, "body": "four", "headers": h{"Content-Length": "4"}}, "", ok, "four", nil},
		{"short", h{"status": 200, "body": "four", "headers": h{"content-length": "5"}}, "", bad, "", nil},
		{"long", h{"status": 200, "body": "four", "headers": h{"Content-Length": "3"}}, "", bad, "", nil},
		{"empty though announced", h{"status": 200, "headers": h{"Content-Length": "3"}}, "", bad, "", nil},
		{"length of the bytes", h{"status": 200, "body": "ü", "headers": h{"Content-Length": "2"}}, "", ok, "ü", nil},
		{"HEAD", h{"status": 200, "headers": h{"Content-Length": "1234", "Etag": "\"x\""}}, "HEAD", ok, "",
			func(r tunnelReply) bool { return r.length == 1234 && r.header.Get("Etag") == "\"x\"" }},
		{"HEAD with a body", h{"status": 200, "body": "four"}, "HEAD", ok, "", nil},
		{"HEAD with a bad length", h{"status": 200, "headers": h{"Content-Length": "x"}}, "HEAD", ok, "",
			func(r tunnelReply) bool { return r.header["Content-Length"] == nil }},
		{"HEAD 404", h{"status": 404, "headers": h{"Content-Length": "7"}}, "HEAD", 404, "", func(r tunnelReply) bool { return r.length == 7 }},
		{"204 with a body", h{"status": 204, "body": "x"}, "", 204, "", func(r tunnelReply) bool { return r.header["Content-Length"] == nil }},
		{"304", h{"status": 304, "headers": h{"Content-Length": "99", "Etag": "x", "Content-Type": "a/b"}}, "", 304, "",
			func(r tunnelReply) bool {
				return r.header.Get("Content-Length") == "99" && r.header.Get("Content-Type") == "a/b"
			}},
		{"304 with a body", h{"status": 304, "body": "x"}, "", 304, "", nil},
		{"chunked", h{"status": 200, "headers": chunked, "body": "4;x=y\r\nWiki\r\nA\r\npedia in c\r\n0\r\nTrailer: x\r\n\r\n"}, "", ok, "Wikipedia in c",
			func(r tunnelReply) bool { return r.length == 14 && r.header["Trailer"] == nil }},
		{"chunked and a length", h{"status": 200, "headers": h{"transfer-encoding": "Chunked", "Content-Length": "99"}, "body": "1\r\nx\r\n0\r\n\r\n"}, "", ok, "x", nil},
		{"chunked in base64", h{"status": 200, "headers": chunked, "body": b64([]byte("2\r\n\xff\x00\r\n0\r\n\r\n")), "bodyEncoding": "base64"}, "", ok, "\xff\x00", nil},
		{"chunked and empty", h{"status": 200, "headers": chunked, "body": "0\r\n\r\n"}, "", ok, "", nil},
		{"chunked but decoded", h{"status": 200, "headers": chunked, "body": "<p>already decoded"}, "", ok, "<p>already decoded", nil},
		{"chunked and cut", h{"status": 200, "headers": chunked, "body": "4\r\nWiki\r\n5\r\npe"}, "", ok, "4\r\nWiki\r\n5\r\npe", nil},
		{"chunked without an end", h{"status": 200, "headers": chunked, "body": "4\r\nWiki\r\n"}, "", ok, "4\r\nWiki\r\n", nil},
		{"chunked and more", h{"status": 200, "headers": chunked, "body": "1\r\nx\r\n0\r\n\r\nmore"}, "", ok, "1\r\nx\r\n0\r\n\r\nmore", nil},
		{"chunked and wrong", h{"status": 200, "headers": chunked, "body": "3\r\nWiki\r\n0\r\n\r\n"}, "", ok, "3\r\nWiki\r\n0\r\n\r\n", nil},
	}
	s := tunnelServer(t, "TUNNEL_MAX_BODY=1MiB")
	var answers []tunnelJSON
	for _, test := range tests {
		answers = append(answers, test.answer)
	}
	c := tunnelAnswers(t, s, answers)
	client := tunnelHTTP(t)
	for i, test := range tests {
		method := test.method
		if method == "" {
			method = "GET"
		}
		reply, err := tunnelAsk(client, s, method, c.host, fmt.Sprintf("/%d", i), nil, nil)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if reply.status != test.status {
			t.Errorf("%s: %d, not %d", test.name, reply.status, test.status)
		} else if test.status != bad && reply.body != test.body {
			t.Errorf("%s: the body is %.100q, not %.100q", test.name, reply.body, test.body)
		} else if test.check != nil && !test.check(reply) {
			t.Errorf("%s: %v, length %d", test.name, reply.header, reply.length)
		}
		if method != "HEAD" && reply.status != 304 && reply.status != 204 && reply.length != int64(len(reply.body)) {
			t.Errorf("%s: no Content-Length", test.name)
		}
	}
}

func TestTunnelResponseHeaders(t *testing.T) {
	t.Parallel()
	many := func(n int) tunnelJSON {
		headers := tunnelJSON{}
		for i := range n {
			headers[fmt.Sprintf("X-%d", i)] = "v"
		}
		return headers
	}
	answers := []tunnelJSON{
		{"status": 200, "headers": tunnelJSON{
			"Connection": "close, X-Hop", "X-Hop": "1", "Keep-Alive": "1", "Proxy-Connection": "1", "TE": "1", "Trailer": "X", "Upgrade": "h2c",
			"Strict-Transport-Security": "max-age=1", "public-key-pins": "x",
			"X-Accel-Redirect": "/etc/passwd", "x-accel-limit-rate": "1", "X-Sendfile": "/etc/passwd", "X-Lighttpd-Send-File": "/x", "X-Reproxy-URL": "http://x/",
			"Clear-Site-Data": "*", "Set-Cookie2": "a=1",
			"Access-Control-Allow-Origin": "*", "Content-Security-Policy": "default-src 'none'", "x-lower": "1", "Date": "Thu, 01 Jan 1970 00:00:00 GMT",
			"Set-Cookie": []string{"a=1; Domain=tunnel.test; Path=/", "b=2; domain = .tunnel.test;Secure", "c=domain=3; DOMAIN"},
			"Vary":       []string{"A", "B"}, "X-Empty": "", "X-Utf8": "ü", "Server": "its own", "WWW-Authenticate": "Basic",
		}},
		{"status": 200, "headers": tunnelJSON{
			"": "1", "a b": "1", "x:y": "1", "nül": "1", "a\nb": "1", "X-Crlf": "a\r\nX-Injected: 1", "X-Nul": "a\x00b", "X-Del": "a\x7f",
			"X-Long": strings.Repeat("v", 9<<10), "X-Good": "1", "X-Null": nil, "X-None": []string{},
			"X-Some": []any{"1", strings.Repeat("v", 9<<10), "2\n", "3"},
		}},
		{"status": 302, "headers": tunnelJSON{"Location": "https://login.example/?state=" + strings.Repeat("v", 16<<10), "X-Long": strings.Repeat("v", 47<<10)}},
		{"status": 200, "headers": many(200)},
		{"status": 200, "headers": many(201)},
		{"status": 200, "headers": tunnelJSON{"X-Long": strings.Repeat("v", 64<<10)}},
		{"status": 200, "headers": tunnelJSON{"Set-Cookie": slices.Repeat([]string{"a=1"}, 201)}},
	}
	for _, credentials := range []bool{false, true} {
		s := tunnelServer(t, fmt.Sprintf("TUNNEL_FORWARD_CREDENTIALS=%v", credentials))
		c := tunnelAnswers(t, s, answers)
		client := tunnelHTTP(t)
		check := func(path string, want http.Header) {
			t.Helper()
			reply := tunnelGet(t, client, s, c.host, path)
			if reply.status != 200 {
				t.Fatalf("%s: %d", path, reply.status)
			}
			want["Content-Length"] = []string{"0"}
			if _, given := want["Date"]; !given {
				delete(reply.header, "Date")
			}
			for name, values := range want {
				if fmt.Sprintf("%q", reply.header[name]) != fmt.Sprintf("%q", values) {
					t.Errorf("%s: %s is %.200q, not %.200q", path, name, reply.header[name], values)
				}
			}
			for name := range reply.header {
				if want[name] == nil {
					t.Errorf("%s: %s was passed on", path, name)
				}
			}
		}
		want := http.Header{
			"Access-Control-Allow-Origin": {"*"}, "Content-Security-Policy": {"default-src 'none'"}, "X-Lower": {"1"},
			"Date": {"Thu, 01 Jan 1970 00:00:00 GMT"}, "Vary": {"A", "B"}, "X-Empty": {""}, "X-Utf8": {"ü"},
			"Server": {"its own"}, "Www-Authenticate": {"Basic"},
		}
		if credentials {
			want["Set-Cookie"] = []string{"a=1; Path=/", "b=2;Secure", "c=domain=3"}
		}
		check("/0", want)
		check("/1", http.Header{"X-Long": {strings.Repeat("v", 9<<10)}, "X-Good": {"1"}, "X-Some": {"1", strings.Repeat("v", 9<<10), "3"}})
		// Whatever passes at all passes whole, and if there is too much nothing does.
		reply := tunnelGet(t, client, s, c.host, "/2")
		if location, long := reply.header.Get("Location"), reply.header.Get("X-Long"); reply.status != 302 || len(location) < 16<<10 || len(long) != 47<<10 {
			t.Errorf("a Location of 16 KiB arrives as %d bytes, another header of 47 KiB as %d, status %d", len(location), len(long), reply.status)
		}
		reply = tunnelGet(t, client, s, c.host, "/3")
		count := 0
		for name := range reply.header {
			if strings.HasPrefix(name, "X-") {
				count++
			}
		}
		if reply.status != 200 || count != 200 {
			t.Errorf("of 200 headers %d arrive, status %d", count, reply.status)
		}
		for _, path := range []string{"/4", "/5", "/6"} {
			if reply := tunnelGet(t, client, s, c.host, path); reply.status != 502 || !strings.Contains(reply.body, "headers") || reply.header.Get("X-Long") != "" {
				t.Errorf("%s, which has too many headers: %d %q", path, reply.status, reply.body)
			}
		}
	}
}

// The names of headers look as everywhere else in a 304, too: some clients want
// them so.
func TestTunnelNotModifiedNames(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	headers := tunnelJSON{"content-length": "99", "content-type": "text/css", "etag": "x", "X-Text": "content-length: 1"}
	c := tunnelAnswers(t, s, []tunnelJSON{{"status": 304, "headers": headers}, {"status": 200}})
	wire := tunnelWireTo(t, s)
	for round := range 3 { // one connection
		wire.say(t, "GET /0 HTTP/1.1", "Host: "+c.host)
		head := ""
		for !strings.HasSuffix(head, "\r\n\r\n") {
			line, err := wire.in.ReadString('\n')
			if err != nil {
				t.Fatalf("after %q: %v", head, err)
			}
			head += line
		}
		for _, line := range []string{"\r\nContent-Length: 99\r\n", "\r\nContent-Type: text/css\r\n", "\r\nEtag: x\r\n", "\r\nX-Text: content-length: 1\r\n"} {
			if strings.Count(head, line) != 1 {
				t.Errorf("round %d: the header is %q, without %q", round, head, line)
			}
		}
		wire.say(t, "GET /1 HTTP/1.1", "Host: "+c.host)
		if reply := wire.hear(t, "GET"); reply.status != 200 || reply.length != 0 {
			t.Errorf("then comes %+v", reply)
		}
	}
}

// A connection carries one request after another, over good answers and bad.
func TestTunnelKeepAlive(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	c := tunnelAnswers(t, s, []tunnelJSON{
		{"status": 200, "body": "x", "headers": tunnelJSON{"Connection": "close"}}, {"status": 0}, {"status": 204}, {"status": 304}, {"status": 404, "body": "none"},
	})
	wire := tunnelWireTo(t, s)
	for round := range 20 {
		for i, status := range []int{200, 502, 204, 304, 404} {
			method := []string{"GET", "HEAD", "POST"}[round%3]
			wire.say(t, fmt.Sprintf("%s /%d HTTP/1.1", method, i), "Host: "+c.host, "Content-Length: 0")
			if reply := wire.hear(t, method); reply.status != status || reply.header.Get("Connection") != "" {
				t.Fatalf("%s /%d: %+v", method, i, reply)
			}
		}
	}
}
