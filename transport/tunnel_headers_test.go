package transport

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http/httpguts"

	"wsproxy/messages"
	"wsproxy/netpolicy"
)

// tunnelServer is as much of a server as headers need. It trusts 10.0.0.0/8.
func tunnelServer(credentials bool) *Server {
	return &Server{config: Config{
		Sources: netpolicy.NewSources([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}),
		Tunnels: &Tunnels{Domain: "t.example", ForwardCredentials: credentials, MaxBody: 1 << 20, HTTPTimeout: patience},
	}}
}

func TestRequestHeadersThatATunnelGets(t *testing.T) {
	for name, c := range map[string]struct {
		peer        string // 192.0.2.1 if empty
		credentials bool
		in          http.Header
		want        map[string]string // beside the forwarded ones
		proto       string            // http if empty
	}{
		"what passes":          {in: http.Header{"Accept": {"a"}, "X-Anything": {""}, "Origin": {"null"}}, want: map[string]string{"Accept": "a", "X-Anything": "", "Origin": "null"}},
		"repeated":             {in: http.Header{"Accept": {"a", "b, c", "d"}}, want: map[string]string{"Accept": "a, b, c, d"}},
		"hop by hop":           {in: http.Header{"Connection": {"close"}, "Proxy-Connection": {"a"}, "Keep-Alive": {"a"}, "Te": {"trailers"}, "Trailer": {"A"}, "Transfer-Encoding": {"chunked"}, "Upgrade": {"h2c"}}},
		"named by Connection":  {in: http.Header{"Connection": {"close, x-a", " X-B ,,\tX-C"}, "X-A": {"1"}, "X-B": {"2"}, "X-C": {"3"}, "X-D": {"4"}}, want: map[string]string{"X-D": "4"}},
		"what would be double": {in: http.Header{"Content-Length": {"5"}, "Accept-Encoding": {"gzip"}, "Expect": {"100-continue"}}},
		"credentials":          {in: http.Header{"Cookie": {"a=b"}, "Authorization": {"c"}, "Proxy-Authorization": {"d"}, "X-Csrf-Token": {"e"}, "X-Xsrf-Token": {"f"}}},
		"credentials, allowed": {credentials: true, in: http.Header{"Cookie": {"a=b", "c=d; e=f"}, "Authorization": {"c"}, "Proxy-Authorization": {"d"}, "X-Csrf-Token": {"e"}, "X-Xsrf-Token": {"f"}},
			want: map[string]string{"Cookie": "a=b; c=d; e=f", "Authorization": "c", "Proxy-Authorization": "d", "X-Csrf-Token": "e", "X-Xsrf-Token": "f"}},
		"forged":                           {in: http.Header{"X-Forwarded-For": {"203.0.113.1"}, "X-Forwarded-Host": {"evil"}, "X-Forwarded-Proto": {"https"}}},
		"forwarded ones named":             {in: http.Header{"Connection": {"X-Forwarded-For, X-Forwarded-Proto"}}},
		"a trusted proxy says https":       {peer: "10.1.1.1", in: http.Header{"X-Forwarded-Proto": {" HTTPS "}}, proto: "https"},
		"a trusted proxy says http":        {peer: "10.1.1.1", in: http.Header{"X-Forwarded-Proto": {"http"}}},
		"trusted proxies in a chain":       {peer: "10.1.1.1", in: http.Header{"X-Forwarded-Proto": {"https , http"}}, proto: "https"},
		"trusted proxies in lines":         {peer: "10.1.1.1", in: http.Header{"X-Forwarded-Proto": {"https", "http"}}, proto: "https"},
		"a trusted proxy says what is not": {peer: "10.1.1.1", in: http.Header{"X-Forwarded-Proto": {"https\", \"x"}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "http://s.t.example:8080/", nil)
			r.Header = c.in
			r.RemoteAddr = "192.0.2.1:5555"
			if c.peer != "" {
				r.RemoteAddr = c.peer + ":5555"
			}
			want := map[string]string{"X-Forwarded-For": "198.51.100.7", "X-Forwarded-Host": "s.t.example:8080", "X-Forwarded-Proto": "http"}
			maps.Copy(want, c.want)
			if c.proto != "" {
				want["X-Forwarded-Proto"] = c.proto
			}
			got := map[string]string{}
			for _, f := range tunnelServer(c.credentials).requestHeaders(r, netip.MustParseAddr("198.51.100.7")) {
				if _, twice := got[f.Name]; twice {
					t.Errorf("%s comes twice", f.Name)
				}
				got[f.Name] = f.Value
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("the tunnel gets %v\nwant %v", got, want)
			}
		})
	}
}

func tunnelFields(pairs ...string) (f []messages.Field) {
	for pair := range slices.Chunk(pairs, 2) {
		f = append(f, messages.Field{Name: pair[0], Value: pair[1]})
	}
	return f
}

func TestAnswerHeadersThatPass(t *testing.T) {
	long, name := strings.Repeat("v", maxAnswerValue), "N"+strings.Repeat("n", maxAnswerName-1)
	for name, c := range map[string]struct {
		credentials bool
		in          []messages.Field
		want        http.Header
		framing     framing
	}{
		"what passes":       {in: tunnelFields("content-type", "a", "Access-Control-Allow-Origin", "*", "Content-Security-Policy", "b", "X-A", ""), want: http.Header{"Content-Type": {"a"}, "Access-Control-Allow-Origin": {"*"}, "Content-Security-Policy": {"b"}, "X-A": {""}}},
		"several of a name": {in: tunnelFields("Link", "a", "link", "b"), want: http.Header{"Link": {"a", "b"}}},
		"hop by hop":        {in: tunnelFields("connection", "close", "Proxy-Connection", "a", "KEEP-ALIVE", "b", "TE", "c", "Trailer", "d", "upgrade", "e")},
		"named by Connection": {in: tunnelFields("X-A", "1", "X-B", "2", "X-C", "3", "Connection", "x-a", "connection", "close, X-B"),
			want: http.Header{"X-C": {"3"}}},
		"for the whole domain": {in: tunnelFields("Strict-Transport-Security", "a", "public-key-pins", "b")},
		"framing": {in: tunnelFields("Content-Length", "5", "transfer-encoding", "gzip, chunked", "content-length", "6"),
			framing: framing{lengths: []string{"5", "6"}, codings: []string{"gzip, chunked"}}},
		"bad names":        {in: tunnelFields("", "a", "A B", "b", "A:", "c", "A\n", "d", "Trailer:X-A", "e", "\u00c4", "f", "(x)", "g", "A\x00", "h")},
		"bad values":       {in: tunnelFields("A", "a\r\nSet-Cookie: b=c", "B", "\x00", "C", "\n", "D", "\x7f", "E", "\r", "F", "ok\ttab \u00e9\xff"), want: http.Header{"F": {"ok\ttab \u00e9\xff"}}},
		"a value too long": {in: tunnelFields("A", long, "B", long+"v"), want: http.Header{"A": {long}}},
		"a name too long":  {in: tunnelFields(name, "a", name+"n", "b"), want: http.Header{name: {"a"}}},
		"a framing too long": {in: tunnelFields("Content-Length", long+"5", "Transfer-Encoding", long+"v", "Content-Length", "5"),
			framing: framing{lengths: []string{"5"}}},
		"Connection, too long": {in: tunnelFields("X-A", "1", "X-B", "2", "X-C", "3", "Connection", "x-a", "Connection", "x-b, "+long, "connection", "x-c"),
			want: http.Header{"X-B": {"2"}}},
		"Connection, too long together": {in: tunnelFields("X-A", "1", "X-B", "2", "X-C", "3", "Connection", "x-a,"+long[4:], "Connection", "x-b", "connection", ""),
			want: http.Header{"X-B": {"2"}, "X-C": {"3"}}},
		"a cookie too long": {credentials: true, in: tunnelFields("Set-Cookie", "a=b; Domain="+long)},
		"cookies":           {in: tunnelFields("Set-Cookie", "a=b")},
		"cookies, allowed": {credentials: true, in: tunnelFields(
			"set-cookie", "a=b; Domain=t.example; Path=/", "Set-Cookie", "c=d;domain=.t.example", "Set-Cookie", "e=f; DOMAIN = x ;Secure;\tdomain",
			"Set-Cookie", "Domain=g; HttpOnly", "Set-Cookie", "h=\"; Domain=x; \"", "Set-Cookie", "i", "Set-Cookie", "", "Set-Cookie", "j=k; Domain=a; domain=b", "Set-Cookie", "l=m; xDomain=n"),
			want: http.Header{"Set-Cookie": {"a=b; Path=/", "c=d", "e=f;Secure", "Domain=g; HttpOnly", "h=\"; \"", "i", "", "j=k", "l=m; xDomain=n"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := http.Header{}
			f := tunnelServer(c.credentials).answerHeaders(c.in, got)
			if c.want == nil {
				c.want = http.Header{}
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("outside comes %q\nwant %q", got, c.want)
			}
			if !reflect.DeepEqual(f, c.framing) {
				t.Errorf("the framing is %q, want %q", f, c.framing)
			}
		})
	}
}

// The first hundred pass, whatever is dropped between them.
func TestAnswerHasAHundredHeaders(t *testing.T) {
	var in []messages.Field
	for i := range 150 {
		in = append(in, tunnelFields(fmt.Sprint("X-", i), "a", "Bad Name", "b", "Connection", "close", "X-Bad", "\n")...)
	}
	got := http.Header{}
	tunnelServer(false).answerHeaders(in, got)
	if len(got) != maxAnswerHeaders || got["X-0"] == nil || got["X-99"] == nil {
		t.Errorf("%d headers pass", len(got))
	}
}

// Whatever a tunnel answers, outside comes what RFC 9110 allows, within the
// bounds, and nothing that is about another connection or for another tunnel.
func FuzzAnswerHeaders(f *testing.F) {
	f.Add("Connection: X-A\nx-a: 1\nX-B: 2\nSet-Cookie: a=b; Domain=c\nset-cookie: d; domain \t= e;DOMAIN", true)
	f.Add("Content-Length: 5\nTransfer-Encoding: chunked\nTrailer:A: b\nA\r: b\nB: \r\nC:\x00\nupgrade: x", false)
	f.Add(strings.Repeat("A: b\n", 200), false)
	f.Add("Strict-Transport-Security: max-age=1\npublic-key-pins: a\nKEEP-ALIVE: b\nTE: c\nProxy-Connection: d\nLink: e\nlink: f", true)
	f.Add("A: "+strings.Repeat("v", maxAnswerValue)+"\nB: "+strings.Repeat("v", maxAnswerValue+1)+"\nC: \x7f\nD: a\vSet-Cookie: b=c\nE: \xff\t", false)
	f.Add("connection: close, x-a ,,\tX-B\nX-A: 1\nx-b: 2\nSet-Cookie: Domain=a; domain=b\nSet-Cookie: a=\"; Domain=x; \"\nSet-Cookie: ", true)
	f.Add(strings.Repeat("n", maxAnswerName+1)+": a\nX-A: b\nX-B: c\nConnection: X-B\nConnection: X-A,"+strings.Repeat("v", maxAnswerValue), false)
	f.Add(": a\nA B: b\nA:: c\n\xc3\x84: d\n(x): e\nA\x00: f\nno colon\n", false)
	f.Fuzz(func(t *testing.T, lines string, credentials bool) {
		var in []messages.Field
		named, options := map[string]bool{}, 0
		for line := range strings.SplitSeq(lines, "\n") {
			name, value, _ := strings.Cut(line, ": ")
			value = strings.ReplaceAll(value, "\v", "\n")
			in = append(in, messages.Field{Name: name, Value: value})
			if strings.EqualFold(name, "Connection") && options+len(value) <= maxAnswerValue {
				options += len(value)
				for option := range strings.SplitSeq(value, ",") {
					named[strings.ToLower(strings.Trim(option, " \t\r\n"))] = true
				}
			}
		}
		out := http.Header{}
		tunnelServer(credentials).answerHeaders(in, out)
		count := 0
		for name, values := range out {
			count += len(values)
			if len(name) > maxAnswerName || !httpguts.ValidHeaderFieldName(name) || name != http.CanonicalHeaderKey(name) {
				t.Fatalf("the name %q passes", name)
			}
			switch lower := strings.ToLower(name); lower {
			case "connection", "proxy-connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade",
				"content-length", "strict-transport-security", "public-key-pins":
				t.Fatalf("%s passes", name)
			default:
				if named[lower] {
					t.Fatalf("%s passes, which Connection names", name)
				}
			}
			for _, v := range values {
				if !httpguts.ValidHeaderFieldValue(v) || len(v) > maxAnswerValue {
					t.Fatalf("the value %q of %s passes", v, name)
				}
				if name != "Set-Cookie" {
					continue
				}
				if !credentials {
					t.Fatal("a cookie passes")
				}
				if cookie, err := http.ParseSetCookie(v); err == nil && cookie.Domain != "" {
					t.Fatalf("the cookie %q is for %s", v, cookie.Domain)
				}
			}
		}
		if count > maxAnswerHeaders {
			t.Fatalf("%d headers pass", count)
		}
	})
}

func BenchmarkTunnelHeaders(b *testing.B) {
	s := tunnelServer(false)
	r := httptest.NewRequest("GET", "http://s.t.example/", nil)
	r.RemoteAddr = "192.0.2.1:5"
	r.Header = http.Header{"Accept": {"*/*"}, "User-Agent": {"benchmark"}, "Accept-Encoding": {"gzip"}, "Accept-Language": {"en"}, "Cookie": {"a=b"}, "Connection": {"keep-alive"}, "Referer": {"http://s.t.example/a"}}
	source := netip.MustParseAddr("192.0.2.1")
	b.Run("request", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.requestHeaders(r, source)
		}
	})
	in := tunnelFields("Content-Type", "application/json", "Content-Length", "512", "Cache-Control", "no-store", "ETag", "\"a\"", "Connection", "keep-alive", "Keep-Alive", "timeout=5", "Date", "Sun, 06 Nov 1994 08:49:37 GMT")
	b.Run("answer", func(b *testing.B) {
		b.ReportAllocs()
		out := http.Header{}
		for b.Loop() {
			clear(out)
			s.answerHeaders(in, out)
		}
	})
}
