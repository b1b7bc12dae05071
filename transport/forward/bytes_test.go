package forward

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/netip"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/tunnelrig"
	"wsproxy/messages"
	"wsproxy/transport/service"
	"wsproxy/transport/tunnel"
)

// A bytesDialect carries everything as bytes, over plain streams. It notes how
// they were used.
type bytesDialect struct {
	tunnel.Dialect
	messagesOnly
	services *service.Pool
	patience time.Duration // set before the first request
	outcomes chan service.Outcome
	idle     chan time.Duration
}

func newBytesDialect(m *tunnel.Mux, conns int) *bytesDialect {
	d := &bytesDialect{
		Dialect: tunnel.Text, patience: testkit.Patience,
		outcomes: make(chan service.Outcome, 100), idle: make(chan time.Duration, 100),
	}
	d.services = service.NewPool(service.Settings{Max: conns, Tried: true, Open: func(peer string) (service.Conn, error) {
		pipe, err := m.OpenPipe(tunnelrig.Peer, "", d.patience)
		return &notedConn{service.Plain{Pipe: pipe}, d}, err
	}})
	return d
}

func (d *bytesDialect) AsBytes(*http.Request, []byte) bool { return true }
func (d *bytesDialect) Services() *service.Pool            { return d.services }
func (d *bytesDialect) TakesInline(int) bool               { return false }

type notedConn struct {
	service.Plain
	dialect *bytesDialect
}

func (c *notedConn) Begin(idle time.Duration, _ bool) bool {
	c.dialect.idle <- idle
	return false
}
func (c *notedConn) End(outcome service.Outcome) { c.dialect.outcomes <- outcome }

// A bytesRig is a front for requests as bytes; the test is the tunnel's client,
// and its handler.
type bytesRig struct {
	*tunnelrig.Rig
	dialect *bytesDialect
	gateway *Gateway
	meter   *meter
	front   *httptest.Server
	word    chan messages.Answer // the handler's, of which all requests wait
}

func newBytesRig(t *testing.T, conns int, timeout time.Duration) *bytesRig {
	t.Helper()
	r := &bytesRig{word: make(chan messages.Answer, 1), meter: &meter{}}
	r.Rig = tunnelrig.New(t, func(m *tunnel.Mux) tunnel.Dialect {
		r.dialect = newBytesDialect(m, conns)
		return r.dialect
	})
	g := newGateway(false)
	r.gateway = g
	g.settings.Root, g.settings.Refused, g.settings.HTTPTimeout = r.System.Root, r.meter, timeout
	g.settings.Exists = func(handler *actor.PID) bool { return true }
	r.front = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		x := &exchange{
			gateway: g, w: w, r: request, handler: r.Handler.PID, id: messages.NewID(messages.IDBytes),
			source: netip.MustParseAddr("127.0.0.1"), answer: r.word,
		}
		body, _ := io.ReadAll(request.Body)
		request.Body = http.NoBody
		x.asBytes(r.Mux, r.dialect.services, body)
	}))
	r.front.Listener = headerListener{r.front.Listener}
	r.front.Config.ConnContext = headerContext
	r.front.Start()
	t.Cleanup(r.front.Close)
	return r
}

// A result is what came of it outside.
type result struct {
	answer  *http.Response
	body    string
	interim int
	err     error
}

// asks sends a request from outside.
func (r *bytesRig) asks(ctx context.Context, method, body string) <-chan result {
	came := make(chan result, 1)
	go func() {
		var o result
		request, _ := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			Got1xxResponse: func(int, textproto.MIMEHeader) error { o.interim++; return nil },
		}), method, r.front.URL, strings.NewReader(body))
		if o.answer, o.err = r.front.Client().Do(request); o.err == nil {
			var body []byte
			body, o.err = io.ReadAll(o.answer.Body)
			o.answer.Body.Close()
			o.body = string(body)
		}
		came <- o
	}()
	return came
}

// reads reads what the service is sent, up to end.
func (r *bytesRig) reads(end string) (asked string) {
	r.T.Helper()
	for !strings.HasSuffix(asked, end) {
		asked += string(r.Reads().Data)
	}
	return asked
}

// over waits until the edge says that a request is done.
func (r *bytesRig) over() {
	r.T.Helper()
	testkit.Hears[*messages.RequestEnded](r.Handler)
}

// serves is a request and its answer. Then the service ends its side if it says
// that it does.
func (r *bytesRig) serves(answer string) result {
	r.T.Helper()
	came := r.asks(r.T.Context(), "GET", "")
	s := r.Takes()
	r.reads("\r\n\r\n")
	s.Gives(answer)
	s.EndWrite()
	r.over()
	return testkit.Receive(r.T, came)
}

// An interim answer comes outside, and nothing of it in the final one, whose type is
// not guessed in spite of it.
func TestBytesWithInterimAnswers(t *testing.T) {
	r := newBytesRig(t, 1, testkit.Patience)
	got := r.serves("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nStrict-Transport-Security: max-age=1\r\n\r\n" +
		"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-A: b\r\nConnection: close\r\n\r\n<html>")
	if got.err != nil || got.answer.StatusCode != 200 || got.body != "<html>" {
		t.Fatalf("outside comes %+v", got)
	}
	if got.interim != 1 {
		t.Errorf("%d interim answers come outside", got.interim)
	}
	header := got.answer.Header
	header.Del("Date")
	header.Del("Content-Length")
	if len(header) != 1 || header.Get("X-A") != "b" {
		t.Errorf("the headers outside are %v", header)
	}
	if outcome := testkit.Receive(t, r.dialect.outcomes); outcome != service.OutcomeLast {
		t.Errorf("the outcome is %d", outcome)
	}
}

func TestBytesWithTrailers(t *testing.T) {
	for _, announced := range []string{"", "Trailer: X-Sum, Strict-Transport-Security, Set-Cookie\r\n"} {
		r := newBytesRig(t, 1, testkit.Patience)
		got := r.serves("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n" + announced + "\r\n" +
			"5\r\nhello\r\n0\r\nX-Sum: 1\r\nStrict-Transport-Security: a\r\nSet-Cookie: b=c\r\nX-Accel-Redirect: /d\r\n\r\n")
		if got.err != nil || got.body != "hello" {
			t.Fatalf("outside comes %+v", got)
		}
		if trailer := got.answer.Trailer; len(trailer) != 1 || trailer.Get("X-Sum") != "1" {
			t.Errorf("announced %q: the trailer is %v", announced, trailer)
		}
	}
}

func TestBytesWithManyHeaders(t *testing.T) {
	for name, header := range map[string]string{
		"many": strings.Repeat("A: b\r\n", messages.MaxAnswerFields+1),
		"long": "A: " + strings.Repeat("b", messages.MaxAnswerHeader) + "\r\n",
	} {
		r := newBytesRig(t, 1, testkit.Patience)
		got := r.serves("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + header + "\r\nhello")
		if got.err != nil || got.answer.StatusCode != 502 || !strings.Contains(got.body, "more headers") || got.answer.Header.Get("A") != "" {
			t.Errorf("%s: outside comes %+v", name, got)
		}
		if len(r.meter.refused) != 1 || r.meter.refused[0] != messages.ReasonAnswerHeaders || r.meter.last.Cause == nil {
			t.Errorf("%s: it is counted as %q", name, r.meter.refused)
		}
		if outcome := testkit.Receive(t, r.dialect.outcomes); outcome != service.OutcomeLeft {
			t.Errorf("%s: the outcome is %d", name, outcome)
		}
	}
}

// A 304 says of its length and type what a 200 would.
func TestBytesNotModified(t *testing.T) {
	r := newBytesRig(t, 1, testkit.Patience)
	got := r.serves("HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\nContent-Type: a/b\r\nConnection: close\r\n\r\n")
	if got.err != nil || got.answer.StatusCode != 304 || got.answer.Header.Get("Content-Length") != "77" || got.answer.Header.Get("Content-Type") != "a/b" {
		t.Errorf("outside comes %+v", got)
	}
}

// The connection is kept and used again, unless the service has not the whole
// request; and what a visitor gives up is known as such.
func TestBytesOutcomes(t *testing.T) {
	r := newBytesRig(t, 1, testkit.Patience)
	came := r.asks(t.Context(), "GET", "")
	s := r.Takes()
	r.reads("\r\n\r\n")
	s.Gives("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	r.over()
	testkit.Receive(t, came)
	if outcome := testkit.Receive(t, r.dialect.outcomes); outcome != service.OutcomeKept {
		t.Errorf("the outcome is %d", outcome)
	}

	came = r.asks(t.Context(), "POST", "hello")
	r.reads("hello")
	s.Gives("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	r.over()
	if got := testkit.Receive(t, came); got.err != nil || got.body != "ok" {
		t.Errorf("outside comes %+v", got)
	}
	if outcome := testkit.Receive(t, r.dialect.outcomes); outcome != service.OutcomeKept {
		t.Errorf("the outcome is %d", outcome)
	}
	if first, second := <-r.dialect.idle, <-r.dialect.idle; first != 0 || second == 0 {
		t.Errorf("the connection was idle for %s, then %s", first, second)
	}

	ctx, giveUp := context.WithCancel(t.Context())
	came = r.asks(ctx, "GET", "")
	r.reads("\r\n\r\n")
	giveUp()
	r.over()
	testkit.Receive(t, came)
	if outcome := testkit.Receive(t, r.dialect.outcomes); outcome != service.OutcomeLeft {
		t.Errorf("the outcome is %d", outcome)
	}
}

func TestOutcomeOfARoundTrip(t *testing.T) {
	failed := errors.New("any")
	for _, c := range []struct {
		what    string
		rt      *roundTrip
		err     error
		whole   bool // the body was sent
		outcome service.Outcome
	}{
		{"nothing has come", &roundTrip{sent: true}, failed, true, service.OutcomeLeft},
		{"nothing was sent", &roundTrip{}, failed, true, service.OutcomeBroken},
		{"a part of a body was sent", &roundTrip{sent: true}, failed, false, service.OutcomeBroken},
		{"a part of the answer has come, which is the last", &roundTrip{sent: true, closes: true}, failed, true, service.OutcomeLeft},
		{"an answer before the body was sent", &roundTrip{sent: true}, nil, false, service.OutcomeBroken},
		{"the same, and the service ends", &roundTrip{sent: true, closes: true}, nil, false, service.OutcomeLast},
		{"all of it", &roundTrip{sent: true}, nil, true, service.OutcomeKept},
		{"an upgrade that nobody asked for", &roundTrip{sent: true, switched: true}, failed, true, service.OutcomeBroken},
	} {
		if got := c.rt.outcome(c.err, c.whole); got != c.outcome {
			t.Errorf("%s: %d, want %d", c.what, got, c.outcome)
		}
	}
}

// All connections serve what has no end: a request doesn't wait for ever.
func TestBytesWithoutAConnection(t *testing.T) {
	r := newBytesRig(t, 1, 300*time.Millisecond)
	ctx, giveUp := context.WithCancel(t.Context())
	first := r.asks(ctx, "GET", "")
	s := r.Takes()
	r.reads("\r\n\r\n")
	s.Gives("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata:\n\n")
	second := r.asks(t.Context(), "GET", "")
	r.over()
	if got := testkit.Receive(t, second); got.err != nil || got.answer.StatusCode != 504 {
		t.Errorf("outside comes %+v", got)
	}
	giveUp()
	r.over()
	testkit.Receive(t, first)
}

// What the handler says of a request that waits for a connection is its answer.
func TestBytesWhileTheyWaitForAConnection(t *testing.T) {
	r := newBytesRig(t, 1, testkit.Patience)
	ctx, giveUp := context.WithCancel(t.Context())
	first := r.asks(ctx, "GET", "")
	r.Takes()
	r.reads("\r\n\r\n")
	second := r.asks(t.Context(), "GET", "")
	r.word <- messages.Answer{Refusal: messages.ReasonRestarted}
	r.over()
	if got := testkit.Receive(t, second); got.err != nil || got.answer.StatusCode != 502 || !strings.Contains(got.body, "began anew") {
		t.Errorf("outside comes %+v", got)
	}
	giveUp()
	r.over()
	testkit.Receive(t, first)
}

// What a service is asked is what came, but for the headers that are the
// proxy's.
func TestBytesRequest(t *testing.T) {
	r := newBytesRig(t, 1, testkit.Patience)
	conn, err := net.Dial("tcp4", r.front.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "PUT /a%2Fb/../\xff?c=%41 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\nCookie: a=b\r\nX-Latin: gr\xfc\xdfe\r\nTransfer_Encoding: chunked\r\nConnection: close\r\n\r\nhi")
	s := r.Takes()
	asked := r.reads("hi")
	s.Gives("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	r.over()
	request, err := http.ReadRequest(bufio.NewReader(strings.NewReader(asked)))
	if err != nil {
		t.Fatalf("%q: %v", asked, err)
	}
	if request.RequestURI != "/a%2Fb/../%FF?c=%41" || request.Host != "a.example" || request.ContentLength != 2 ||
		request.Header.Get("X-Latin") != "gr\xfc\xdfe" || request.Header.Get("Cookie") != "" || request.Header["Transfer_encoding"] != nil ||
		request.Header.Get("X-Forwarded-For") != "127.0.0.1" || request.Header["Idempotency-Key"] != nil {
		t.Errorf("the service is asked %q", asked)
	}
}
