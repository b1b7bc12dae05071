package fields

import (
	"crypto/tls"
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

// newRules are rules that trust 10.0.0.0/8.
func newRules(credentials bool) *Rules {
	return &Rules{Sources: netpolicy.NewSources([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}), ForwardCredentials: credentials}
}

func list(pairs ...string) (f []messages.Field) {
	for pair := range slices.Chunk(pairs, 2) {
		f = append(f, messages.Field{Name: pair[0], Value: pair[1]})
	}
	return f
}

func TestRequestHeadersThatATunnelGets(t *testing.T) {
	for name, c := range map[string]struct {
		peer        string // 192.0.2.1 if empty
		credentials bool
		in          http.Header
		want        map[string]string // beside the forwarded ones
		proto       string            // http if empty
	}{
		"what passes": {in: http.Header{"Accept": {"a"}, "X-Anything": {""}, "Origin": {"null"}}, want: map[string]string{"Accept": "a", "X-Anything": "", "Origin": "null"}},
		"repeated":    {in: http.Header{"Accept": {"a", "b, c", "d"}}, want: map[string]string{"Accept": "a, b, c, d"}},
		"names with _": {credentials: true, in: http.Header{"X_forwarded_for": {"a"}, "X_Forwarded-Proto": {"https"}, "X_real_ip": {"b"}, "Content_length": {"5"}, "Transfer_encoding": {"chunked"}, "X_anything": {"c"}},
			want: map[string]string{"X_anything": "c"}},
		"credentials with _":   {in: http.Header{"X_csrf_token": {"a"}, "Proxy_authorization": {"b"}, "X-Csrf_token": {"c"}}},
		"who asks, and Proxy":  {in: http.Header{"Forwarded": {"for=1.2.3.4"}, "X-Real-Ip": {"1.2.3.4"}, "Proxy": {"http://evil"}, "Proxy_": {"a"}}, want: map[string]string{"Proxy_": "a"}},
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
		"a trusted proxy says wss":         {peer: "10.1.1.1", in: http.Header{"X-Forwarded-Proto": {"WSS"}}, proto: "https"},
		"a trusted proxy says ws":          {peer: "10.1.1.1", in: http.Header{"X-Forwarded-Proto": {"ws"}}},
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
			for _, f := range newRules(c.credentials).Request(r, netip.MustParseAddr("198.51.100.7")) {
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

func TestAnswerHeadersThatPass(t *testing.T) {
	long, name := strings.Repeat("v", maxAnswerHeaderBytes-1), "N"+strings.Repeat("n", maxAnswerHeaderBytes-1)
	half := strings.Repeat("v", maxAnswerHeaderBytes/2)
	for name, c := range map[string]struct {
		credentials bool
		in          []messages.Field
		want        http.Header
		Framing     Framing
		unfit       bool
	}{
		"what passes":       {in: list("content-type", "a", "Access-Control-Allow-Origin", "*", "Content-Security-Policy", "b", "X-A", ""), want: http.Header{"Content-Type": {"a"}, "Access-Control-Allow-Origin": {"*"}, "Content-Security-Policy": {"b"}, "X-A": {""}}},
		"several of a name": {in: list("Link", "a", "link", "b"), want: http.Header{"Link": {"a", "b"}}},
		"hop by hop":        {in: list("connection", "close", "Proxy-Connection", "a", "KEEP-ALIVE", "b", "TE", "c", "Trailer", "d", "upgrade", "e")},
		"named by Connection": {in: list("X-A", "1", "X-B", "2", "X-C", "3", "Connection", "x-a", "connection", "close, X-B"),
			want: http.Header{"X-C": {"3"}}},
		"for the whole domain": {credentials: true, in: list("Strict-Transport-Security", "a", "public-key-pins", "b", "Clear-Site-Data", "\"*\"", "set-cookie2", "c")},
		"Framing": {in: list("Content-Length", "5", "transfer-encoding", "gzip, chunked", "content-length", "6"),
			Framing: Framing{lengths: []string{"5", "6"}, codings: []string{"gzip, chunked"}}},
		"bad names":         {in: list("", "a", "A B", "b", "A:", "c", "A\n", "d", "Trailer:X-A", "e", "\u00c4", "f", "(x)", "g", "A\x00", "h")},
		"bad values":        {in: list("A", "a\r\nSet-Cookie: b=c", "B", "\x00", "C", "\n", "D", "\x7f", "E", "\r", "F", "ok\ttab \u00e9\xff"), want: http.Header{"F": {"ok\ttab \u00e9\xff"}}},
		"a long value":      {in: list("A", long), want: http.Header{"A": {long}}},
		"a longer one":      {in: list("A", long+"v"), unfit: true},
		"a long name":       {in: list(name, ""), want: http.Header{name: {""}}},
		"a longer name":     {in: list(name, "a"), unfit: true},
		"long together":     {in: list("A", half, "B", half), unfit: true},
		"long, and dropped": {in: list("Strict-Transport-Security", long+"v"), unfit: true},
		"200":               {in: slices.Repeat(list("A", "b"), 200), want: http.Header{"A": slices.Repeat([]string{"b"}, 200)}},
		"201":               {in: slices.Repeat(list("Connection", "b"), 201), unfit: true},
		"orders to front proxies": {in: list("x-accel-redirect", "a", "X-Accel-Buffering", "no", "X-SENDFILE", "b", "X-Lighttpd-Send-File", "c", "X-Reproxy-URL", "d",
			"X-Accel", "e"), want: http.Header{"X-Accel": {"e"}}},
		"cookies": {in: list("Set-Cookie", "a=b")},
		"cookies, allowed": {credentials: true, in: list(
			"set-cookie", "a=b; Domain=t.example; Path=/", "Set-Cookie", "c=d;domain=.t.example", "Set-Cookie", "e=f; DOMAIN = x ;Secure;\tdomain",
			"Set-Cookie", "Domain=g; HttpOnly", "Set-Cookie", "h=\"; Domain=x; \"", "Set-Cookie", "i", "Set-Cookie", "", "Set-Cookie", "j=k; Domain=a; domain=b", "Set-Cookie", "l=m; xDomain=n"),
			want: http.Header{"Set-Cookie": {"a=b; Path=/", "c=d", "e=f;Secure", "Domain=g; HttpOnly", "h=\"; \"", "i", "", "j=k", "l=m; xDomain=n"}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := http.Header{}
			f, unfit := newRules(c.credentials).Answer(c.in, got)
			if c.unfit {
				if unfit == nil || unfit.Reason != messages.ReasonAnswerHeaders {
					t.Errorf("it is no more than passes: %v", unfit)
				}
				return
			}
			if unfit != nil {
				t.Fatal(unfit)
			}
			if c.want == nil {
				c.want = http.Header{}
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("outside comes %q\nwant %q", got, c.want)
			}
			if !reflect.DeepEqual(f, c.Framing) {
				t.Errorf("the Framing is %q, want %q", f, c.Framing)
			}
		})
	}
}

// What a trailer may have is less: nothing of it has an effect on how the message
// was read.
func TestTrailersThatPass(t *testing.T) {
	trailer := http.Header{
		"X-Checksum": {"a", "b\n", "c"}, "Announced": nil, "Bad": {"\x00"}, "Server-Timing": {"d"}, "Etag": {"e"},
		"Content-Length": {"5"}, "Transfer-Encoding": {"chunked"}, "Content-Type": {"f"}, "Host": {"g"}, "Set-Cookie": {"h=i"}, "Location": {"/"},
		"Strict-Transport-Security": {"j"}, "X-Accel-Redirect": {"k"}, "Clear-Site-Data": nil, "Authorization": {"l"}, "Cache-Control": {"m"}, "Connection": nil,
	}
	newRules(true).Trailer(trailer)
	want := http.Header{"X-Checksum": {"a", "c"}, "Announced": nil, "Server-Timing": {"d"}, "Etag": {"e"}}
	if trailer["Announced"] != nil {
		t.Errorf("what has not come yet is %q", trailer["Announced"])
	}
	delete(trailer, "Announced")
	delete(want, "Announced")
	if !reflect.DeepEqual(trailer, want) {
		t.Errorf("it is %q, want %q", trailer, want)
	}
}

// Orders to a front proxy don't pass, however they are written.
func TestOrdersDoNotPass(t *testing.T) {
	to := http.Header{}
	if _, unfit := newRules(false).Answer(list("x-accel-redirect", "a", "X_ACCEL_Redirect", "a", "X-Accel_Buffering", "no", "x_sendfile", "a",
		"X_Sendfile", "a", "X-LIGHTTPD-send-file", "a", "x_lighttpd_send_file", "a", "X-Reproxy_URL", "a", "A", "b"), to); unfit != nil {
		t.Fatal(unfit)
	}
	if len(to) != 1 || to.Get("A") != "b" {
		t.Errorf("what passes is %v", to)
	}
}

// Whatever a tunnel answers, outside comes what RFC 9110 allows, within the
// bounds, and nothing that is about another connection or for another tunnel.
func FuzzAnswerHeaders(f *testing.F) {
	f.Add("Connection: X-A\nx-a: 1\nX-B: 2\nSet-Cookie: a=b; Domain=c\nset-cookie: d; domain \t= e;DOMAIN", true)
	f.Add("Content-Length: 5\nTransfer-Encoding: chunked\nTrailer:A: b\nA\r: b\nB: \r\nC:\x00\nupgrade: x", false)
	f.Add(strings.Repeat("A: b\n", 200), false)
	f.Add("Strict-Transport-Security: max-age=1\npublic-key-pins: a\nKEEP-ALIVE: b\nTE: c\nProxy-Connection: d\nLink: e\nlink: f", true)
	f.Add("A: "+strings.Repeat("v", 4096)+"\nB: "+strings.Repeat("v", 4096+1)+"\nC: \x7f\nD: a\vSet-Cookie: b=c\nE: \xff\t", false)
	f.Add("connection: close, x-a ,,\tX-B\nX-A: 1\nx-b: 2\nSet-Cookie: Domain=a; domain=b\nSet-Cookie: a=\"; Domain=x; \"\nSet-Cookie: ", true)
	f.Add(strings.Repeat("n", 4096+1)+": a\nX-A: b\nX-B: c\nConnection: X-B\nConnection: X-A,"+strings.Repeat("v", 4096), false)
	f.Add(": a\nA B: b\nA:: c\n\xc3\x84: d\n(x): e\nA\x00: f\nno colon\n", false)
	f.Add("X-Accel-Redirect: /a\nx-sendfile: b\nClear-Site-Data: *\nSet-Cookie2: c\nA: "+strings.Repeat("v", maxAnswerHeaderBytes), true)
	f.Fuzz(func(t *testing.T, lines string, credentials bool) {
		var in []messages.Field
		named, size := map[string]bool{}, 0
		for line := range strings.SplitSeq(lines, "\n") {
			name, value, _ := strings.Cut(line, ": ")
			value = strings.ReplaceAll(value, "\v", "\n")
			in = append(in, messages.Field{Name: name, Value: value})
			size += len(name) + len(value)
			if strings.EqualFold(name, "Connection") {
				for option := range strings.SplitSeq(value, ",") {
					named[strings.ToLower(strings.Trim(option, " \t\r\n"))] = true
				}
			}
		}
		out := http.Header{}
		_, unfit := newRules(credentials).Answer(in, out)
		if (unfit != nil) != (len(in) > maxAnswerHeaders || size > maxAnswerHeaderBytes) {
			t.Fatalf("%d headers of %d bytes: %v", len(in), size, unfit)
		}
		for name, values := range out {
			if !httpguts.ValidHeaderFieldName(name) || name != http.CanonicalHeaderKey(name) {
				t.Fatalf("the name %q passes", name)
			}
			switch lower := strings.ToLower(name); lower {
			case "connection", "proxy-connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade",
				"content-length", "strict-transport-security", "public-key-pins", "clear-site-data", "set-cookie2",
				"x-accel-redirect", "x-sendfile", "x-lighttpd-send-file", "x-reproxy-url":
				t.Fatalf("%s passes", name)
			default:
				if named[lower] {
					t.Fatalf("%s passes, which Connection names", name)
				}
			}
			for _, v := range values {
				if !httpguts.ValidHeaderFieldValue(v) {
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
	})
}

func BenchmarkHeaders(b *testing.B) {
	g := newRules(false)
	r := httptest.NewRequest("GET", "http://s.t.example/", nil)
	r.RemoteAddr = "192.0.2.1:5"
	r.Header = http.Header{"Accept": {"*/*"}, "User-Agent": {"benchmark"}, "Accept-Encoding": {"gzip"}, "Accept-Language": {"en"}, "Cookie": {"a=b"}, "Connection": {"keep-alive"}, "Referer": {"http://s.t.example/a"}}
	source := netip.MustParseAddr("192.0.2.1")
	b.Run("request", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			g.Request(r, source)
		}
	})
	in := list("Content-Type", "application/json", "Content-Length", "512", "Cache-Control", "no-store", "ETag", "\"a\"", "Connection", "keep-alive", "Keep-Alive", "timeout=5", "Date", "Sun, 06 Nov 1994 08:49:37 GMT")
	b.Run("answer", func(b *testing.B) {
		b.ReportAllocs()
		out := http.Header{}
		for b.Loop() {
			clear(out)
			_, _ = g.Answer(in, out)
		}
	})
}

// A request that came over TLS of our own was made by https, unless a trusted proxy says
// that its client speaks otherwise.
func TestForwardedProtoOverTLS(t *testing.T) {
	for peer, want := range map[string]string{"192.0.2.1:1": "https", "10.0.0.1:1": "http"} {
		r := &http.Request{RemoteAddr: peer, TLS: &tls.ConnectionState{}, Header: http.Header{"X-Forwarded-Proto": {"http"}}}
		if got := newRules(false).forwardedProto(r); got != want {
			t.Errorf("from %s: %s", peer, got)
		}
	}
}
