package transport

import (
	"bytes"
	"encoding/base64"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"wsproxy/messages"
)

type tunnelMeter struct{ refused []messages.Reason }

func (m *tunnelMeter) Refused(_ string, reason messages.Reason) {
	m.refused = append(m.refused, reason)
}

func TestContentLengthOfAnAnswer(t *testing.T) {
	for _, c := range []struct {
		lines []string
		n     int64
		ok    bool
	}{
		{nil, 0, false},
		{[]string{"0"}, 0, true},
		{[]string{"5"}, 5, true},
		{[]string{" 5\t"}, 5, true},
		{[]string{"005"}, 5, true},
		{[]string{"5, 5"}, 5, true},
		{[]string{"5", "5,5"}, 5, true},
		{[]string{"9223372036854775807"}, 1<<63 - 1, true},
		{[]string{"5, 6"}, 0, false},
		{[]string{"5", "6"}, 0, false},
		{[]string{"0", "6"}, 0, false},
		{[]string{"9223372036854775808"}, 0, false},
		{[]string{""}, 0, false}, {[]string{"5,"}, 0, false}, {[]string{"-5"}, 0, false}, {[]string{"+5"}, 0, false},
		{[]string{"5 5"}, 0, false}, {[]string{"0x5"}, 0, false}, {[]string{"5.0"}, 0, false}, {[]string{"1_0"}, 0, false}, {[]string{"five"}, 0, false},
	} {
		n, ok := framing{lengths: c.lines}.contentLength()
		if ok != c.ok || ok && n != c.n {
			t.Errorf("%q is read as %d, %t", c.lines, n, ok)
		}
	}
}

func TestAnswersThatPassAndThoseThatDont(t *testing.T) {
	large := strings.Repeat("x", 1<<20)
	for name, c := range map[string]struct {
		method string // GET if empty
		in     messages.Response
		status int
		body   string
		length string // "-" = none
	}{
		"text":                               {in: messages.Response{Status: 200, Body: []byte("hello")}, status: 200, body: "hello", length: "5"},
		"no body":                            {in: messages.Response{Status: 200}, status: 200, length: "0"},
		"base64":                             {in: messages.Response{Status: 404, Body: []byte("aGVsbG//"), BodyEncoding: "base64"}, status: 404, body: "hello\xff", length: "6"},
		"base64 of the wrong length":         {in: messages.Response{Status: 200, Body: []byte("aGVsbG8"), BodyEncoding: "base64"}, status: 502},
		"base64 of another alphabet":         {in: messages.Response{Status: 200, Body: []byte("aGV_bG8="), BodyEncoding: "base64"}, status: 502},
		"an encoding that is not known":      {in: messages.Response{Status: 200, BodyEncoding: "Base64"}, status: 502},
		"no status":                          {in: messages.Response{}, status: 502},
		"status 101":                         {in: messages.Response{Status: 101}, status: 502},
		"status 199":                         {in: messages.Response{Status: 199}, status: 502},
		"status 599":                         {in: messages.Response{Status: 599}, status: 599, length: "0"},
		"status 600":                         {in: messages.Response{Status: 600}, status: 502},
		"a negative status":                  {in: messages.Response{Status: -200}, status: 502},
		"its own length":                     {in: messages.Response{Status: 200, Body: []byte("hello"), Headers: tunnelFields("content-length", "5")}, status: 200, body: "hello", length: "5"},
		"another length":                     {in: messages.Response{Status: 200, Body: []byte("hello"), Headers: tunnelFields("Content-Length", "6")}, status: 502},
		"no valid length":                    {in: messages.Response{Status: 200, Body: []byte("hello"), Headers: tunnelFields("Content-Length", "x")}, status: 200, body: "hello", length: "5"},
		"HEAD with a length":                 {method: "HEAD", in: messages.Response{Status: 200, Headers: tunnelFields("Content-Length", "77")}, status: 200, length: "77"},
		"HEAD with a bad length":             {method: "HEAD", in: messages.Response{Status: 200, Headers: tunnelFields("Content-Length", "7x")}, status: 200, length: "-"},
		"HEAD with a body":                   {method: "HEAD", in: messages.Response{Status: 200, Body: []byte("hello")}, status: 200, length: "-"},
		"HEAD, 204, with a length":           {method: "HEAD", in: messages.Response{Status: 204, Headers: tunnelFields("Content-Length", "77")}, status: 204, length: "-"},
		"304 with a length":                  {in: messages.Response{Status: 304, Headers: tunnelFields("Content-Length", "77")}, status: 304, length: "77"},
		"lengths of which one fits":          {in: messages.Response{Status: 200, Body: []byte("hello"), Headers: tunnelFields("Content-Length", "6", "Content-Length", "5")}, status: 200, body: "hello", length: "5"},
		"lengths of which none fits":         {in: messages.Response{Status: 200, Body: []byte("hello"), Headers: tunnelFields("Content-Length", "4, 6")}, status: 502},
		"lengths in lines, none fits":        {in: messages.Response{Status: 200, Body: []byte("hello"), Headers: tunnelFields("Content-Length", "4", "Content-Length", "6")}, status: 502},
		"a length that is none, one wrong":   {in: messages.Response{Status: 200, Body: []byte("hello"), Headers: tunnelFields("Content-Length", "x, 6")}, status: 502},
		"204 with a length":                  {in: messages.Response{Status: 204, Headers: tunnelFields("Content-Length", "77")}, status: 502},
		"204 with two lengths":               {in: messages.Response{Status: 204, Headers: tunnelFields("Content-Length", "7, 8")}, status: 502},
		"204 with the length 0":              {in: messages.Response{Status: 204, Headers: tunnelFields("Content-Length", "0")}, status: 204, length: "-"},
		"204 with a body and no length":      {in: messages.Response{Status: 204, Body: []byte("hello")}, status: 204, length: "-"},
		"204 with a body and a length":       {in: messages.Response{Status: 204, Body: []byte("hello"), Headers: tunnelFields("Content-Length", "77")}, status: 502},
		"chunks":                             {in: messages.Response{Status: 200, Body: []byte("5\r\nhello\r\n0\r\n\r\n"), Headers: tunnelFields("Transfer-Encoding", "Chunked", "Content-Length", "99")}, status: 200, body: "hello", length: "5"},
		"chunks that were decoded":           {in: messages.Response{Status: 200, Body: []byte("hello"), Headers: tunnelFields("Transfer-Encoding", "chunked")}, status: 200, body: "hello", length: "5"},
		"damaged chunks":                     {in: messages.Response{Status: 200, Body: []byte("6\r\nhello\r\n0\r\n\r\n"), Headers: tunnelFields("Transfer-Encoding", "chunked")}, status: 502},
		"what looks like chunks and is text": {in: messages.Response{Status: 200, Body: []byte("5\r\nhello\r\n0\r\n\r\n")}, status: 200, body: "5\r\nhello\r\n0\r\n\r\n", length: "15"},
		"the largest body":                   {in: messages.Response{Status: 200, Body: []byte(large)}, status: 200, body: large, length: "1048576"},
		"a larger body":                      {in: messages.Response{Status: 200, Body: []byte(large + "x")}, status: 502},
		"a larger body in base64":            {in: messages.Response{Status: 200, Body: []byte(base64.StdEncoding.EncodeToString([]byte(large + "x"))), BodyEncoding: "base64"}, status: 502},
		"chunks of the largest body":         {in: messages.Response{Status: 200, Body: []byte("100000\r\n" + large + "\r\n0\r\n\r\n"), Headers: tunnelFields("Transfer-Encoding", "chunked")}, status: 200, body: large, length: "1048576"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.method == "" {
				c.method = "GET"
			}
			c.in.Headers = append(c.in.Headers, tunnelFields("X-From", "the tunnel")...)
			answer, meter, held := tunnelRespond(t, c.method, &c.in)
			got, err := io.ReadAll(answer.Body)
			if err != nil {
				t.Fatal(err)
			}
			if answer.StatusCode != c.status {
				t.Fatalf("the status is %d, want %d", answer.StatusCode, c.status)
			}
			if held != 0 {
				t.Errorf("%d bytes are held still", held)
			}
			if c.status == 502 {
				if len(meter.refused) != 1 || meter.refused[0] != messages.ReasonBadAnswer || answer.Header.Get("X-From") != "" || answer.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("counted as %q, with the headers %v", meter.refused, answer.Header)
				}
				return
			}
			if string(got) != c.body {
				t.Errorf("the body has %d bytes, want %d", len(got), len(c.body))
			}
			if length, has := answer.Header["Content-Length"]; has == (c.length == "-") || has && (len(length) != 1 || length[0] != c.length) {
				t.Errorf("Content-Length is %q, want %s", length, c.length)
			}
			if kind, has := answer.Header["Content-Type"]; has || answer.Header.Get("X-From") == "" {
				t.Errorf("the type is guessed to be %q, of the headers %v", kind, answer.Header)
			}
		})
	}
}

// tunnelRespond returns what an outside client gets for a tunnel's answer, and
// how many bytes are charged after that.
func tunnelRespond(t *testing.T, method string, answer *messages.Response) (*http.Response, *tunnelMeter, int64) {
	s := tunnelServer(false)
	meter := &tunnelMeter{}
	s.config.Meter, s.config.Log = meter, slog.New(slog.DiscardHandler)
	s.links = &linkTools{total: newBudget(nil, 1<<30)}
	done := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		held := charge{budget: s.links.total}
		held.keep(int64(len(answer.Body)))
		if err := s.respond(w, r, answer, held); err != nil {
			s.refuseForward(w, messages.ReasonBadAnswer)
		}
	}))
	t.Cleanup(server.Close)
	r, err := http.NewRequest(method, server.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { got.Body.Close() })
	receive(t, done)
	return got, meter, s.links.total.held.Load()
}

// What a tunnel is told is where the request came to, whatever form its target
// has.
func TestRequestTarget(t *testing.T) {
	for _, c := range []struct{ uri, want string }{
		{"/", "/"}, {"/a%2Fb//../c?d=%zz#e", "/a%2Fb//../c?d=%zz#e"}, {"//a", "//a"}, {"*", "*"}, {"/\xff", "/\xff"},
		{"http://s.t.example", "/"}, {"http://s.t.example/a?b", "/a?b"}, {"http://s.t.example?b", "/?b"},
	} {
		r := httptest.NewRequest("GET", "http://s.t.example/", nil)
		if strings.HasPrefix(c.uri, "http:") {
			r = httptest.NewRequest("GET", c.uri, nil)
		}
		r.RequestURI = c.uri
		if got := requestTarget(r); got != c.want {
			t.Errorf("%q is %q, want %q", c.uri, got, c.want)
		}
	}
}

var tunnelHosts = []struct {
	host, label string
	ours        bool
}{
	{"0123456789abcdef.t.example", "0123456789abcdef", true},
	{"0123456789ABCDEF.T.Example", "0123456789abcdef", true},
	{"a.t.example:8080", "a", true}, {"a.t.example.", "a", true}, {"a.t.example.:80", "a", true}, {"a.t.example:", "a", true},
	{"a.b.t.example", "a.b", true}, {".t.example", "", true}, {"a..t.example", "a.", true},
	{"t.example", "t.example", false}, {"t.example:80", "t.example", false}, {"at.example", "at.example", false}, {"a.t.example.com", "a.t.example.com", false},
	{"", "", false}, {":80", "", false}, {".", "", false}, {"[::1]", "[::1]", false}, {"[::1]:80", "[::1]", false}, {"127.0.0.1:80", "127.0.0.1", false},
	{"a.t.example..", "a.t.example.", false}, {"a.t.example:80:90", "a.t.example:80", false}, {"[a.t.example]", "[a.t.example]", false},
}

func TestSubdomainOfAHost(t *testing.T) {
	for _, c := range tunnelHosts {
		label, ours := (&Tunnels{Domain: "t.example"}).subdomain(c.host)
		if label != c.label || ours != c.ours {
			t.Errorf("%q: %q, %t", c.host, label, ours)
		}
	}
}

// A host is the tunnels' if and only if it is a name below their domain. What
// net/http would let through must not be told apart by case, port or last dot.
func FuzzTunnelHost(f *testing.F) {
	for _, c := range tunnelHosts {
		f.Add(c.host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		s := &Tunnels{Domain: "t.example"}
		label, ours := s.subdomain(host)
		if ours && !strings.Contains(strings.ToLower(host), label+".t.example") {
			t.Fatalf("%q is ours, as %q", host, label)
		}
		if messages.IsSubdomain(label) && ours {
			for _, form := range []string{label + ".t.example", strings.ToUpper(label) + ".T.EXAMPLE:1", label + ".t.example.:65535", label + ".t.example."} {
				if again, ours := s.subdomain(form); again != label || !ours {
					t.Fatalf("%q is %q, %q is %q", host, label, form, again)
				}
			}
		}
		if !strings.ContainsAny(host, ":.[]") {
			if got, ours := s.subdomain(host + ".t.example:80"); !ours || got != strings.ToLower(host) {
				t.Fatalf("%q below the domain is %q, %t", host, got, ours)
			}
			if _, ours := s.subdomain(host + "t.example"); ours {
				t.Fatalf("%q is ours", host+"t.example")
			}
		}
	})
}

// Refusals say what they are about, and nothing of them is kept by caches.
func TestEveryRefusalOfATunnelHasItsStatus(t *testing.T) {
	for reason, status := range map[messages.Reason]int{
		messages.ReasonNoTunnel: 404, messages.ReasonHTTPLimit: 429, messages.ReasonTunnelBusy: 503, messages.ReasonMemory: 503, messages.ReasonShutdown: 503,
		messages.ReasonBodyTooBig: 413, messages.ReasonBodyBad: 400, messages.ReasonBodyLate: 408, messages.ReasonAnswerLate: 504, messages.ReasonTunnelGone: 502,
		messages.ReasonRestarted: 502, messages.ReasonBadAnswer: 502, messages.ReasonInternal: 502,
	} {
		meter := &tunnelMeter{}
		s := &Server{config: Config{Meter: meter}}
		w := httptest.NewRecorder()
		s.refuseForward(w, reason)
		retry := w.Header().Get("Retry-After") != ""
		if w.Code != status || len(meter.refused) != 1 || w.Header().Get("Cache-Control") != "no-store" || len(w.Body.String()) < 20 {
			t.Errorf("%s: %d %v %q", reason, w.Code, w.Header(), w.Body)
		}
		if retry != (status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests) {
			t.Errorf("%s: Retry-After is %t", reason, retry)
		}
	}
}

// A body in base64 is decoded where it lies. The package makes no promise of
// that, so it is held to what it does elsewhere, line ends within included.
func TestBase64IsDecodedInPlace(t *testing.T) {
	s := &Server{config: Config{Tunnels: &Tunnels{MaxBody: 1 << 20}}}
	for n := range 300 {
		for _, every := range []int{1 << 20, 76, 5, 1} {
			var encoded []byte
			for i, c := range []byte(base64.StdEncoding.EncodeToString(pattern(n))) {
				if i%every == every-1 {
					encoded = append(encoded, "\r\n"...)
				}
				encoded = append(encoded, c)
			}
			body, err := s.answerBody(&messages.Response{Status: 200, Body: encoded, BodyEncoding: "base64"}, framing{}, "GET")
			if err != nil || !bytes.Equal(body, pattern(n)) {
				t.Fatalf("%d bytes, a line end every %d: got %x, %v", n, every, body, err)
			}
		}
	}
}
