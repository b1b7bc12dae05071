package auth

import (
	"compress/gzip"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// issuer is a real HTTP server on loopback whose behaviour can be changed.
type issuer struct {
	*httptest.Server
	behaviour atomic.Pointer[http.HandlerFunc]
	asked     atomic.Int64
}

func newIssuer(t testing.TB, behave http.HandlerFunc) *issuer {
	i := &issuer{}
	i.behave(behave)
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.asked.Add(1)
		(*i.behaviour.Load())(w, r)
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) behave(handler http.HandlerFunc) { i.behaviour.Store(&handler) }

func publish(keys ...object) http.HandlerFunc {
	return answer(200, "application/json", jwks(keys...))
}

func answer(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// quick is for tests that wait for real answers: refreshes and retries at once.
func quick() Timing {
	return Timing{
		RefreshInterval:    time.Millisecond,
		RetryFirst:         time.Millisecond,
		RetryMax:           time.Millisecond,
		UnknownKeyInterval: time.Millisecond,
	}
}

func startReal(t testing.TB, address string, timing Timing) (*Verifier, *logLines) {
	t.Helper()
	lines := newLogLines()
	v, err := New(Config{JWKSURL: address, Logger: slog.New(lines), Timing: timing})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v, lines
}

func TestRotationOverHTTP(t *testing.T) {
	i := newIssuer(t, publish(jwk("a", keyA)))
	v, lines := startReal(t, i.URL+"/jwks?secret=1", Timing{UnknownKeyInterval: time.Nanosecond})
	if got := reasonOf(t, v, sign(goodClaims())); got != "" {
		t.Fatalf("the first token is refused for %q", got)
	}
	fresh := signText(keyB, `{"alg":"RS256","kid":"b"}`, encode(goodClaims()))
	if got := reasonOf(t, v, fresh); got != ReasonUnknownKey {
		t.Errorf("before the rotation: refused for %q", got)
	}
	i.behave(publish(jwk("b", keyB)))
	if got := reasonOf(t, v, fresh); got != "" {
		t.Errorf("after the rotation: refused for %q", got)
	}
	if got := reasonOf(t, v, sign(goodClaims())); got != ReasonUnknownKey {
		t.Errorf("the withdrawn key: refused for %q", got)
	}
	for _, line := range lines.drain() {
		if strings.Contains(line, "secret") || !strings.Contains(line, "url="+i.URL+"/jwks") {
			t.Errorf("logged: %s", line)
		}
	}
}

// Every bad answer keeps the last good keys, is told apart in the log, and is
// forgotten when a good one comes.
func TestBadAnswersKeepTheLastGoodKeys(t *testing.T) {
	elsewhere := newIssuer(t, publish(jwk("b", keyB)))
	good := jwks(jwk("a", keyA))
	for name, c := range map[string]struct {
		behave http.HandlerFunc
		logged string
	}{
		"500":      {answer(500, "application/json", good), "status 500"},
		"404":      {answer(404, "application/json", good), "status 404"},
		"204":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, "status 204"},
		"redirect": {http.RedirectHandler(elsewhere.URL, http.StatusFound).ServeHTTP, "redirect (302)"},
		"redirect for good": {http.RedirectHandler("http://issuer.example/jwks", http.StatusMovedPermanently).ServeHTTP,
			"redirect (301)"},
		"HTML":           {answer(200, "text/html", "<!doctype html><title>Sign in</title>"), "not a JSON Web Key Set"},
		"nothing":        {answer(200, "application/json", ""), "not a JSON Web Key Set"},
		"null":           {answer(200, "application/json", "null"), "0 keys"},
		"truncated JSON": {answer(200, "application/json", good[:len(good)/2]), "not a JSON Web Key Set"},
		"two documents":  {answer(200, "application/json", good+good), "not a JSON Web Key Set"},
		"a list":         {answer(200, "application/json", "["+good+"]"), "not a JSON Web Key Set"},
		"keys no list":   {answer(200, "application/json", `{"keys":{}}`), "not a JSON Web Key Set"},
		"empty set":      {answer(200, "application/json", jwks()), "0 keys"},
		"no RSA key":     {answer(200, "application/json", jwks(object{"kty": "EC", "kid": "e", "crv": "P-256"})), "1 keys, and none"},
		"encryption key": {publish(jwk("a", keyA, object{"use": "enc"})), "1 keys, and none"},
		"huge": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"keys":[],"x":"`)
			_, _ = io.Copy(w, io.LimitReader(forever{}, 64<<20))
		}, "longer than 1048576 bytes"},
		"huge when unpacked": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			packer := gzip.NewWriter(w)
			_, _ = io.Copy(packer, io.LimitReader(forever{}, 2<<20))
			_ = packer.Close()
		}, "longer than 1048576 bytes"},
		"huge header": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Filler", strings.Repeat("x", 2*maxAnswerHeaderBytes))
		}, "headers exceeded"},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "5000")
			_, _ = io.WriteString(w, good[:100])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, "unexpected EOF"},
		"no HTTP": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, "SSH-2.0-OpenSSH\r\n")
				_ = conn.Close()
			}
		}, "malformed HTTP"},
		"silence": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "within 150ms"},
		"a trickle": {func(w http.ResponseWriter, r *http.Request) {
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
					_, _ = io.WriteString(w, " ")
					w.(http.Flusher).Flush()
				case <-r.Context().Done():
					return
				}
			}
		}, "within 150ms"},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIssuer(t, publish(jwk("a", keyA)))
			timing := quick()
			if strings.Contains(c.logged, "within") {
				timing.FetchTimeout = 150 * time.Millisecond
			}
			v, lines := startReal(t, i.URL, timing)
			lines.await(t, "added=[a]")
			i.behave(c.behave)
			if line := lines.await(t, "could not be fetched"); !strings.Contains(line, c.logged) || !strings.Contains(line, "keys_kept=1") {
				t.Errorf("logged: %s\nwant %q", line, c.logged)
			}
			if got := reasonOf(t, v, sign(goodClaims())); got != "" {
				t.Errorf("meanwhile a good token is refused for %q", got)
			}
			i.behave(publish(jwk("a", keyA), jwk("b", keyB)))
			lines.await(t, "added=[b]")
			if s := v.Stats(); s.Keys != 2 || s.Failures == 0 || s.Fetches <= s.Failures {
				t.Errorf("stats are %+v", s)
			}
		})
	}
	if elsewhere.asked.Load() != 0 {
		t.Error("a redirect was followed")
	}
}

// A body that is too long is not read to its end first.
func TestAHugeBodyIsNotRead(t *testing.T) {
	const size = 256 << 20
	sent := make(chan int64, 1)
	i := newIssuer(t, func(w http.ResponseWriter, _ *http.Request) {
		n, _ := io.Copy(w, io.LimitReader(forever{}, size))
		sent <- n
	})
	_, lines := startReal(t, i.URL, Timing{})
	lines.await(t, "longer than 1048576 bytes")
	// What the kernel's buffers take comes on top of what is read.
	if n := <-sent; n > size/4 {
		t.Errorf("%d bytes were taken", n)
	}
}

// forever is a reader of the letter x.
type forever struct{}

func (forever) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestAServerThatIsNotThereAtStart(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	timing := quick()
	timing.UnknownKeyInterval = time.Hour
	v, lines := startReal(t, "http://user:password@"+address+"/jwks?secret=1", timing)
	line := lines.await(t, "could not be fetched")
	if !strings.Contains(line, "connection refused") || strings.Contains(line, "password") || strings.Contains(line, "secret") {
		t.Errorf("logged: %s", line)
	}
	// Requests don't change when it is asked, and are all refused.
	if got := reasonOf(t, v, sign(goodClaims())); got != ReasonKeysUnavailable {
		t.Errorf("refused for %q", got)
	}

	listener, err = net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("the port was taken meanwhile: %v", err)
	}
	server := &http.Server{Handler: publish(jwk("a", keyA))}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	lines.await(t, "added=[a]")
	if got := reasonOf(t, v, sign(goodClaims())); got != "" {
		t.Errorf("once it is there: refused for %q", got)
	}
	_ = server.Close()
	<-served
	if line := lines.await(t, "could not be fetched"); !strings.Contains(line, "keys_kept=1") {
		t.Errorf("logged: %s", line)
	}
	if got := reasonOf(t, v, sign(goodClaims())); got != "" {
		t.Errorf("when it is gone again: refused for %q", got)
	}
}

func TestTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(publish(jwk("a", keyA)))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are meant to fail
	server.StartTLS()
	defer server.Close()
	_, lines := startReal(t, server.URL, Timing{})
	if line := lines.await(t, "could not be fetched"); !strings.Contains(line, "certificate") {
		t.Errorf("an authority that nobody trusts: %s", line)
	}
	v, err := New(Config{JWKSURL: server.URL, Logger: slog.New(slog.DiscardHandler), Client: server.Client()})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if got := reasonOf(t, v, sign(goodClaims())); got != "" {
		t.Errorf("a trusted authority: refused for %q", got)
	}
}

func TestAFloodOfUnknownKeysOverHTTP(t *testing.T) {
	const flood, senders = 10_000, 8
	i := newIssuer(t, publish(jwk("a", keyA)))
	// A minute in small: it passes before the flood, and on a slow machine again
	// within it. TestAFloodOfUnknownKeys is exact.
	timing := Timing{UnknownKeyInterval: 300 * time.Millisecond}
	v, lines := startReal(t, i.URL, timing)
	lines.await(t, "added=[a]")
	tokens := make([]string, flood)
	for n := range tokens {
		tokens[n] = withUnknownKid(fmt.Sprint("random-", n))
	}
	first := v.keys.current.Load().began
	<-time.After(time.Until(first.Add(timing.UnknownKeyInterval)))
	began := time.Now()
	var all sync.WaitGroup
	for own := range slices.Chunk(tokens, flood/senders) {
		all.Go(func() {
			for _, token := range own {
				if got := reasonOf(t, v, token); got != ReasonUnknownKey {
					t.Errorf("refused for %q", got)
				}
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	allowed := 1 + int64(took/timing.UnknownKeyInterval)
	if extra := i.asked.Load() - 1; extra < 1 || extra > allowed {
		t.Errorf("the flood caused %d fetches, allowed are %d", extra, allowed)
	}
	t.Logf("%d refusals by %d senders in %s, %s each; %d extra fetches", flood, senders, took, took/flood, i.asked.Load()-1)
	if got := reasonOf(t, v, sign(goodClaims())); got != "" {
		t.Errorf("a good token afterwards: refused for %q", got)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	hanging := newIssuer(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	working := newIssuer(t, publish(jwk("a", keyA)))
	before := goleak.IgnoreCurrent() // the servers stay, so that it isn't they who end connections
	v, err := New(Config{JWKSURL: hanging.URL, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	v.Close()
	v, err = New(Config{JWKSURL: working.URL, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if got := reasonOf(t, v, sign(goodClaims())); got != "" {
		t.Errorf("refused for %q", got)
	}
	v.Close()
	goleak.VerifyNone(t, before)
}

// A panic on the goroutine that fetches would end the process.
func TestAPanicWithinAFetchIsAFailedFetch(t *testing.T) {
	lines := newLogLines()
	v, err := New(Config{
		JWKSURL: "https://issuer.example/jwks", Logger: slog.New(lines),
		Client: &http.Client{Transport: panicking{}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	lines.await(t, "failed unexpectedly: an odd answer")
	if got := reasonOf(t, v, sign(goodClaims())); got != ReasonKeysUnavailable {
		t.Errorf("refused for %q", got)
	}
}

type panicking struct{}

func (panicking) RoundTrip(*http.Request) (*http.Response, error) { panic("an odd answer") }
