package forward

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/messages/refused"
	"wsproxy/transport/budget"
	"wsproxy/transport/fields"
)

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
		"its own length":                     {in: messages.Response{Status: 200, Body: []byte("hello"), Headers: list("content-length", "5")}, status: 200, body: "hello", length: "5"},
		"another length":                     {in: messages.Response{Status: 200, Body: []byte("hello"), Headers: list("Content-Length", "6")}, status: 502},
		"no valid length":                    {in: messages.Response{Status: 200, Body: []byte("hello"), Headers: list("Content-Length", "x")}, status: 200, body: "hello", length: "5"},
		"HEAD with a length":                 {method: "HEAD", in: messages.Response{Status: 200, Headers: list("Content-Length", "77")}, status: 200, length: "77"},
		"HEAD with a bad length":             {method: "HEAD", in: messages.Response{Status: 200, Headers: list("Content-Length", "7x")}, status: 200, length: "-"},
		"HEAD with a body":                   {method: "HEAD", in: messages.Response{Status: 200, Body: []byte("hello")}, status: 200, length: "-"},
		"HEAD, 204, with a length":           {method: "HEAD", in: messages.Response{Status: 204, Headers: list("Content-Length", "77")}, status: 204, length: "-"},
		"304 with a length":                  {in: messages.Response{Status: 304, Headers: list("Content-Length", "77")}, status: 304, length: "77"},
		"lengths of which one fits":          {in: messages.Response{Status: 200, Body: []byte("hello"), Headers: list("Content-Length", "6", "Content-Length", "5")}, status: 200, body: "hello", length: "5"},
		"lengths of which none fits":         {in: messages.Response{Status: 200, Body: []byte("hello"), Headers: list("Content-Length", "4, 6")}, status: 502},
		"lengths in lines, none fits":        {in: messages.Response{Status: 200, Body: []byte("hello"), Headers: list("Content-Length", "4", "Content-Length", "6")}, status: 502},
		"a length that is none, one wrong":   {in: messages.Response{Status: 200, Body: []byte("hello"), Headers: list("Content-Length", "x, 6")}, status: 502},
		"204 with a length":                  {in: messages.Response{Status: 204, Headers: list("Content-Length", "77")}, status: 502},
		"204 with two lengths":               {in: messages.Response{Status: 204, Headers: list("Content-Length", "7, 8")}, status: 502},
		"204 with the length 0":              {in: messages.Response{Status: 204, Headers: list("Content-Length", "0")}, status: 204, length: "-"},
		"204 with a body and no length":      {in: messages.Response{Status: 204, Body: []byte("hello")}, status: 204, length: "-"},
		"204 with a body and a length":       {in: messages.Response{Status: 204, Body: []byte("hello"), Headers: list("Content-Length", "77")}, status: 502},
		"chunks":                             {in: messages.Response{Status: 200, Body: []byte("5\r\nhello\r\n0\r\n\r\n"), Headers: list("Transfer-Encoding", "Chunked", "Content-Length", "99")}, status: 200, body: "hello", length: "5"},
		"chunks that were decoded":           {in: messages.Response{Status: 200, Body: []byte("hello"), Headers: list("Transfer-Encoding", "chunked")}, status: 200, body: "hello", length: "5"},
		"damaged chunks":                     {in: messages.Response{Status: 200, Body: []byte("6\r\nhello\r\n0\r\n\r\n"), Headers: list("Transfer-Encoding", "chunked")}, status: 200, body: "6\r\nhello\r\n0\r\n\r\n", length: "15"},
		"damaged chunks with their length":   {in: messages.Response{Status: 200, Body: []byte("6\r\nhello\r\n0\r\n\r\n"), Headers: list("Transfer-Encoding", "chunked", "Content-Length", "15")}, status: 200, body: "6\r\nhello\r\n0\r\n\r\n", length: "15"},
		"damaged chunks of another length":   {in: messages.Response{Status: 200, Body: []byte("6\r\nhello\r\n0\r\n\r\n"), Headers: list("Transfer-Encoding", "chunked", "Content-Length", "5")}, status: 502},
		"too many headers":                   {in: messages.Response{Status: 200, Headers: make([]messages.Field, 200)}, status: 502},
		"what looks like chunks and is text": {in: messages.Response{Status: 200, Body: []byte("5\r\nhello\r\n0\r\n\r\n")}, status: 200, body: "5\r\nhello\r\n0\r\n\r\n", length: "15"},
		"the largest body":                   {in: messages.Response{Status: 200, Body: []byte(large)}, status: 200, body: large, length: "1048576"},
		"a larger body":                      {in: messages.Response{Status: 200, Body: []byte(large + "x")}, status: 502},
		"a larger body in base64":            {in: messages.Response{Status: 200, Body: []byte(base64.StdEncoding.EncodeToString([]byte(large + "x"))), BodyEncoding: "base64"}, status: 502},
		"chunks of the largest body":         {in: messages.Response{Status: 200, Body: []byte("100000\r\n" + large + "\r\n0\r\n\r\n"), Headers: list("Transfer-Encoding", "chunked")}, status: 200, body: large, length: "1048576"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.method == "" {
				c.method = "GET"
			}
			c.in.Headers = append(c.in.Headers, list("X-From", "the tunnel")...)
			answer, meter, held := respondTo(t, c.method, &c.in)
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
			reason := messages.ReasonBadAnswer
			if name == "too many headers" {
				reason = messages.ReasonAnswerHeaders
			}
			if c.status == 502 {
				if len(meter.refused) != 1 || meter.refused[0] != reason || meter.last.Cause == nil || answer.Header.Get("X-From") != "" || answer.Header.Get("Cache-Control") != "no-store" {
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

// respondTo returns what an outside client gets for a tunnel's answer, and
// how many bytes are charged after that.
func respondTo(t *testing.T, method string, answer *messages.Response) (*http.Response, *meter, int64) {
	g, memory := newGateway(false), budget.New(1<<30)
	m := &meter{}
	g.settings.Refused = m
	done := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(done)
		x := &exchange{gateway: g, w: w, r: r}
		if err := x.respond(answer, reserve(memory, int64(len(answer.Body))), messagesOnly{}); err != nil {
			x.refuse(err.Reason)
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
	testkit.Receive(t, done)
	return got, m, memory.Held()
}

// An answer that has no length of its own, or is not as chunked as it says, is
// for the client's dialect to judge.
func TestAnswersThatTheDialectJudges(t *testing.T) {
	g := newGateway(false)
	for _, c := range []struct {
		what    string
		body    string
		headers []messages.Field
		asked   bool
	}{
		{"a length", "hello", list("Content-Length", "5"), false},
		{"no length", "hello", nil, true},
		{"no valid length", "hello", list("Content-Length", "x"), true},
		{"chunks", "5\r\nhello\r\n0\r\n\r\n", list("Transfer-Encoding", "chunked"), false},
		{"damaged chunks", "6\r\nhello\r\n0\r\n\r\n", list("Transfer-Encoding", "chunked", "Content-Length", "15"), true},
	} {
		f, _ := g.fields.Answer(c.headers, http.Header{})
		for _, doubts := range []bool{false, true} {
			d := &doubter{doubts: doubts}
			_, err := g.answerBody(&messages.Response{Status: 200, Body: []byte(c.body)}, f, "GET", d)
			if d.asked != c.asked || (err != nil) != (c.asked && doubts) {
				t.Errorf("%s, doubts %t: asked %t, %v", c.what, doubts, d.asked, err)
			}
		}
	}
}

type doubter struct {
	messagesOnly
	doubts, asked bool
}

func (d *doubter) Doubts([]byte, bool) bool {
	d.asked = true
	return d.doubts
}

// Refusals say what they are about, and nothing of them is kept by caches.
func TestEveryRefusalOfATunnelHasItsStatus(t *testing.T) {
	for reason, status := range map[messages.Reason]int{
		messages.ReasonNoTunnel: 404, messages.ReasonHTTPLimit: 429, messages.ReasonTunnelBusy: 503, messages.ReasonMemory: 503, messages.ReasonShutdown: 503,
		messages.ReasonBodyTooBig: 413, messages.ReasonBodyBad: 400, messages.ReasonBodyLate: 408, messages.ReasonAnswerLate: 504, messages.ReasonTunnelGone: 502,
		messages.ReasonRestarted: 502, messages.ReasonBadAnswer: 502, messages.ReasonAnswerTooBig: 502, messages.ReasonAnswerHeaders: 502, messages.ReasonInternal: 502,
		messages.ReasonServiceRefused: 502, messages.ReasonServiceEnded: 502,
	} {
		meter := &meter{}
		g := NewGateway(Settings{Refused: meter})
		w := httptest.NewRecorder()
		g.refuse(w, httptest.NewRequest("GET", "/", nil), refused.Refusal{Reason: reason})
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
	g := newGateway(false)
	for n := range 300 {
		for _, every := range []int{1 << 20, 76, 5, 1} {
			var encoded []byte
			for i, c := range []byte(base64.StdEncoding.EncodeToString(testkit.Pattern(n))) {
				if i%every == every-1 {
					encoded = append(encoded, "\r\n"...)
				}
				encoded = append(encoded, c)
			}
			body, err := g.answerBody(&messages.Response{Status: 200, Body: encoded, BodyEncoding: "base64"}, fields.Framing{}, "GET", messagesOnly{})
			if err != nil || !bytes.Equal(body, testkit.Pattern(n)) {
				t.Fatalf("%d bytes, a line end every %d: got %x, %v", n, every, body, err)
			}
		}
	}
}

// A heldWriter is an outside client that notes what is held while it is written
// to.
type heldWriter struct {
	*httptest.ResponseRecorder
	memory *budget.Budget
	held   []int64
}

func (w *heldWriter) Write(p []byte) (int, error) {
	w.held = append(w.held, w.memory.Held())
	return w.ResponseRecorder.Write(p)
}

// What an answer is charged comes back while the rest is written.
func TestAnswerIsGivenBackAsItIsWritten(t *testing.T) {
	const size = 1<<20 - 123
	memory := budget.New(1 << 30)
	body := testkit.Pattern(size)
	w := &heldWriter{ResponseRecorder: httptest.NewRecorder(), memory: memory}
	answer := &messages.Response{Status: 200, Body: bytes.Clone(body)}
	x := &exchange{gateway: newGateway(false), w: w, r: httptest.NewRequest("GET", "/", nil)}
	held := reserve(memory, 2*size) // it came in twice as many bytes
	if err := x.respond(answer, held, messagesOnly{}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(w.Body.Bytes(), body) || w.Code != http.StatusOK {
		t.Errorf("%d, %d bytes", w.Code, w.Body.Len())
	}
	for i, held := range w.held {
		rest := int64(size - i*bodyPiece)
		if held < rest || i > 0 && held >= 2*rest {
			t.Errorf("%d bytes are held while %d are left", held, rest)
		}
	}
	if len(w.held) != 4 || memory.Held() != 0 || answer.Body != nil {
		t.Errorf("%d writes; %d bytes are held at the end", len(w.held), memory.Held())
	}
}
