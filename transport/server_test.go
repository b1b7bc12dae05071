package transport

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/supervise"
	"wsproxy/auth"
	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/messages/refused"
	"wsproxy/netpolicy"
	"wsproxy/transport/wsock"
)

// A desk is a server whose relays actor is this test: what the handlers ask it
// comes out of opened.
type desk struct {
	*Server
	*testkit.Probe
	refusals
}

// refusals is a Recorder.
type refusals struct {
	mu   sync.Mutex
	list []string
	last refused.Refusal
}

func (r *refusals) Refused(no refused.Refusal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pair := string(no.Endpoint) + " " + string(no.Reason)
	if !refused.IsKnown(no.Endpoint, no.Reason) {
		pair += ", which the table has not"
	}
	r.list, r.last = append(r.list, pair), no
}

func (r *refusals) latest() refused.Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

func (r *refusals) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := r.list
	r.list = nil
	return list
}

// onlyToken lets one token in, as ann.
type onlyToken string

func (o onlyToken) Verify(_ context.Context, token string) (auth.Identity, error) {
	if token != string(o) {
		return auth.Identity{}, &wrongToken{auth.Error{Reason: auth.ReasonSignature}}
	}
	return auth.Identity{Subject: "ann"}, nil
}

type wrongToken struct{ cause auth.Error }

func (*wrongToken) Error() string   { return "The token is not the one." }
func (e *wrongToken) Unwrap() error { return &e.cause }

func newDesk(t testing.TB, change func(*Config)) *desk {
	t.Helper()
	system := supervise.NewSystem(slog.New(slog.DiscardHandler))
	t.Cleanup(system.Shutdown)
	keepalive := wsock.NewKeepalive(time.Hour)
	t.Cleanup(keepalive.Close)
	origins, err := netpolicy.ParseOrigins("https://app.example.com")
	if err != nil {
		t.Fatal(err)
	}
	d := &desk{Probe: testkit.NewProbe(t, system)}
	config := Config{
		Root: system.Root, Relays: d.PID, Policy: netpolicy.New(netpolicy.Options{}), Origins: origins,
		Keepalive: keepalive, DialTimeout: testkit.Patience, Ping: time.Hour, Refused: &d.refusals, Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&config)
	}
	d.Server = NewServer(config)
	return d
}

// listen serves d on loopback until the test ends.
func (d *desk) listen(t *testing.T) (address string, server *http.Server) {
	t.Helper()
	server = d.HTTP()
	return d.listenWith(t, server), server
}

func (d *desk) listenWith(t *testing.T, server *http.Server) (address string) {
	t.Helper()
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(d.Listener(l))
	}()
	t.Cleanup(func() {
		server.Close()
		<-ended
	})
	return l.Addr().String()
}

// opened returns the next request for a session.
func (d *desk) opened() *messages.OpenRelay {
	d.T.Helper()
	m := testkit.Receive(d.T, d.Got)
	open, ok := m.(*messages.OpenRelay)
	if !ok {
		d.T.Fatalf("the relays are sent a %T", m)
	}
	return open
}

func handshake(target string, headers ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-WebSocket-Version", "13")
	r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

func (d *desk) serve(r *http.Request) *http.Response {
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w.Result()
}

func wantSentence(t *testing.T, answer *http.Response, status int) {
	t.Helper()
	body, _ := io.ReadAll(answer.Body)
	if answer.StatusCode != status {
		t.Errorf("status %d %q, want %d", answer.StatusCode, body, status)
	}
	if text := strings.TrimSuffix(string(body), "\n"); len(text) < 5 || strings.Contains(text, "\n") || !isPlain(text) {
		t.Errorf("the body is no sentence: %q", body)
	}
}

// Every reason that the actors may refuse for has its status (protocol,
// section 2), and no other text than its own.
func TestActorsRefusalsHaveTheirStatus(t *testing.T) {
	for reason, status := range map[messages.Reason]int{
		messages.ReasonTargetRefused: 403,
		messages.ReasonAddressLimit:  429,
		messages.ReasonUserLimit:     429,
		messages.ReasonLookupLimit:   429,
		messages.ReasonDraining:      503,
		messages.ReasonInternal:      500,
		"one that nobody knows":      500,
	} {
		d := newDesk(t, nil)
		go func() { d.opened().Answer <- messages.Admission{Refusal: reason} }()
		answer := d.serve(handshake("/relay?host=192.0.2.1&port=22"))
		wantSentence(t, answer, status)
		if got, want := answer.Header.Get("Retry-After") != "", status == 429 || status == 503; got != want {
			t.Errorf("%s: Retry-After is %v", reason, got)
		}
		if answer.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: a cache may keep the refusal", reason)
		}
		want := "relay " + string(reason)
		if status == 500 {
			want = "relay internal"
		}
		if got := d.take(); len(got) != 1 || got[0] != want {
			t.Errorf("%s: counted as %q", reason, got)
		}
	}
}

// The checks before the actors, each failing together with all after it.
func TestFirstFailingCheckAnswers(t *testing.T) {
	d := newDesk(t, func(c *Config) { c.Auth = onlyToken("good") })
	plain := func(target string, headers ...string) *http.Request {
		r := handshake(target, headers...)
		r.Header.Del("Upgrade")
		return r
	}
	for _, c := range []struct {
		request *http.Request
		status  int
		reason  string
	}{
		{plain("/relay?host=&port=0", "Origin", "https://evil.example"), 401, "token_signature"},
		{plain("/relay?host=&port=0&token=bad", "Origin", "https://evil.example"), 401, "token_signature"},
		{plain("/relay?host=&port=0&token=good", "Origin", "https://evil.example"), 403, "origin"},
		{plain("/relay?token=good&host=a.example&port=22", "Origin", "https://app.example.com", "Origin", "https://app.example.com"), 403, "origin"},
		{plain("/relay?token=good&host=a.example&port=22", "Origin", ""), 403, "origin"},
		{plain("/relay?host=&port=0&token=good", "Origin", "https://app.example.com"), 400, "bad_target"},
		{plain("/relay?host=a.example&port=0", "Authorization", "Bearer good"), 400, "bad_target"},
		{plain("/tunnel"), 404, "no_tunnels"},
	} {
		answer := d.serve(c.request)
		wantSentence(t, answer, c.status)
		if got := d.take(); len(got) != 1 || !strings.HasSuffix(got[0], " "+c.reason) {
			t.Errorf("%v: counted as %q, want %s", c.request.URL, got, c.reason)
		}
		if got := answer.Header.Get("WWW-Authenticate"); (got == "Bearer") != (c.status == 401) {
			t.Errorf("%v: WWW-Authenticate is %q", c.request.URL, got)
		}
		if len(d.Got) > 0 {
			t.Errorf("%v: the actors are asked", c.request.URL)
		}
	}
}

// What the actors are asked is what the request says, and no more than that.
func TestActorsAreAskedForWhatTheRequestSays(t *testing.T) {
	d := newDesk(t, func(c *Config) {
		c.Auth = onlyToken("good")
		c.Sources = netpolicy.NewSources([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	})
	for _, c := range []struct {
		peer, target, source, count string
		lookup                      bool
	}{
		{"10.0.0.1:5", "host=EXAMPLE.com&port=22", "2001:db8::7", "2001:db8::/64", true},
		{"192.0.2.9:5", "host=192.0.2.1&port=22", "192.0.2.9", "192.0.2.9/32", false},
		{"[::ffff:192.0.2.9]:5", "host=192.0.2.1&port=22", "192.0.2.9", "192.0.2.9/32", false},
	} {
		request := handshake("/relay?"+c.target, "Authorization", "Bearer good", "X-Forwarded-For", "2001:db8::7")
		request.RemoteAddr = c.peer
		go d.serve(request)
		open := d.opened()
		if open.Source.String() != c.source || open.Count.String() != c.count || open.User != "ann" || open.Lookup != c.lookup || !open.Upgrade || strings.ToLower(open.Target) != open.Target {
			t.Errorf("%s, %s: asked for %+v", c.peer, c.target, open)
		}
		open.Answer <- messages.Admission{Refusal: messages.ReasonDraining}
	}
}

// HTTP/1.0 knows no upgrades (RFC 6455, section 4.1).
func TestHandshakeOfHTTP10IsNone(t *testing.T) {
	d := newDesk(t, nil)
	request := handshake("/relay?host=192.0.2.1&port=22")
	request.Proto, request.ProtoMajor, request.ProtoMinor = "HTTP/1.0", 1, 0
	go func() {
		open := d.opened()
		if open.Upgrade {
			t.Error("the actors are told of a handshake")
		}
		open.Answer <- messages.Admission{Refusal: messages.ReasonNotWebSocket}
	}()
	wantSentence(t, d.serve(request), http.StatusUpgradeRequired)
}

func TestAdmittedWithoutAnUpgradeIsAbandoned(t *testing.T) {
	d := newDesk(t, nil)
	session := testkit.NewProbe(t, d.probeSystem())
	request := handshake("/relay?host=192.0.2.1&port=22")
	request.Header.Set("Sec-WebSocket-Version", "8")
	go func() { d.opened().Answer <- messages.Admission{Session: session.PID} }()
	answer := d.serve(request)
	wantSentence(t, answer, http.StatusUpgradeRequired)
	if answer.Header.Get("Upgrade") != "websocket" || answer.Header.Get("Sec-WebSocket-Version") != "13" {
		t.Errorf("the header does not say what to upgrade to: %v", answer.Header)
	}
	if _, ok := testkit.Receive(t, session.Got).(*messages.Abandoned); !ok {
		t.Error("the session is not told")
	}
}

// probeSystem returns the system that the desk's probe lives in.
func (d *desk) probeSystem() *actor.ActorSystem { return d.Root.ActorSystem() }

// The client goes away while the actors think: whatever they admit then must
// hear that nobody will come.
func TestClientThatLeavesDuringAdmissionIsAbandoned(t *testing.T) {
	d := newDesk(t, nil)
	session := testkit.NewProbe(t, d.probeSystem())
	ctx, leave := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		d.serve(handshake("/relay?host=192.0.2.1&port=22").WithContext(ctx))
		close(ended)
	}()
	open := d.opened()
	leave()
	testkit.Receive(t, ended)
	open.Answer <- messages.Admission{Session: session.PID}
	if _, ok := testkit.Receive(t, session.Got).(*messages.Abandoned); !ok {
		t.Error("the session is not told")
	}
}

func TestHealthSaysThatTheServerDrains(t *testing.T) {
	d := newDesk(t, func(c *Config) { c.Auth = onlyToken("good") }) // none of health's business
	for _, want := range []struct {
		status int
		body   string
		then   func()
	}{{200, "ok", d.Leave}, {503, "draining", d.Drain}, {503, "draining", func() {}}} {
		answer := d.serve(httptest.NewRequest(http.MethodGet, "/health", nil))
		if body, _ := io.ReadAll(answer.Body); answer.StatusCode != want.status || string(body) != want.body {
			t.Errorf("%d %q, want %d %q", answer.StatusCode, body, want.status, want.body)
		}
		want.then()
	}
}

func TestOtherMethodsAndPathsAreRefused(t *testing.T) {
	d := newDesk(t, nil)
	wantSentence(t, d.serve(httptest.NewRequest(http.MethodPost, "/relay", nil)), 405)
	wantSentence(t, d.serve(httptest.NewRequest(http.MethodGet, "/", nil)), 404)
	wantSentence(t, d.serve(httptest.NewRequest(http.MethodGet, "/relay/", nil)), 404)
}

// A page may read why it was refused only if its origin is allowed.
func TestOnlyAllowedOriginsReadAnswers(t *testing.T) {
	d := newDesk(t, nil)
	for origin, want := range map[string]string{"https://app.example.com": "https://app.example.com", "https://evil.example": "", "null": "", "": ""} {
		request := httptest.NewRequest(http.MethodOptions, "/relay", nil)
		request.Header.Set("Access-Control-Request-Method", "GET")
		if origin != "" {
			request.Header.Set("Origin", origin)
		}
		header := d.serve(request).Header
		if got := header.Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("%q: allowed is %q, want %q", origin, got, want)
		}
		headers := map[bool]string{true: "Authorization, Content-Type"}[want != ""]
		if got := header.Get("Access-Control-Allow-Headers"); got != headers {
			t.Errorf("%q: the headers %q are allowed, want %q", origin, got, headers)
		}
		if header.Get("Vary") != "Origin" {
			t.Errorf("%q: a cache may give the answer to another origin", origin)
		}
	}
	everyone, err := netpolicy.ParseOrigins("*")
	if err != nil {
		t.Fatal(err)
	}
	open := newDesk(t, func(c *Config) { c.Origins = everyone })
	if got := open.serve(httptest.NewRequest(http.MethodGet, "/health", nil)).Header.Get("Access-Control-Allow-Origin"); got != "*" {
		t.Errorf("for everyone: allowed is %q", got)
	}
}

// A stranger's connection has bounds before anything is known about it, and they
// are what operators are told.
func TestHTTPServerHasBounds(t *testing.T) {
	h := newDesk(t, nil).HTTP()
	if h.Handler == nil || h.ErrorLog == nil {
		t.Errorf("something is missing: %+v", h)
	}
	if h.ReadHeaderTimeout != 10*time.Second || h.IdleTimeout != 2*time.Minute || h.MaxHeaderBytes <= 0 || h.MaxHeaderBytes > 64<<10 {
		t.Errorf("a header has %v and %d bytes, a connection is kept for %v", h.ReadHeaderTimeout, h.MaxHeaderBytes, h.IdleTimeout)
	}
}

// A connection on which no request comes is closed in time, and nothing is
// counted: nobody was refused.
func TestConnectionsWithoutARequestEnd(t *testing.T) {
	d := newDesk(t, nil)
	server := d.HTTP()
	server.ReadHeaderTimeout, server.IdleTimeout = 50*time.Millisecond, 50*time.Millisecond
	address := d.listenWith(t, server)
	for name, text := range map[string]string{
		"nothing": "", "half a header": getHealth + "Host: a\r\n", "no second request": getHealth + "Host: a\r\n\r\n",
		"half a second one": getHealth + "Host: a\r\n\r\n" + getHealth,
	} {
		conn := dialText(t, address, text)
		if _, err := io.Copy(io.Discard, conn); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := d.take(); len(got) != 0 {
		t.Errorf("counted as %q", got)
	}
}
