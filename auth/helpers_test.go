package auth

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The issuer's key, and one that is another issuer's or its next.
var keyA, keyB = newKey(2048), newKey(2048)

func newKey(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

type object = map[string]any

// jwk is the public half of key as an issuer publishes it, with fields changed.
func jwk(kid string, key *rsa.PrivateKey, changes ...object) object {
	fields := object{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid,
		"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
	}
	for _, change := range changes {
		merge(fields, change)
	}
	return fields
}

func jwks(keys ...object) string {
	if keys == nil {
		keys = []object{}
	}
	return encode(object{"keys": keys})
}

// goodClaims pass every rule of strictConfig.
func goodClaims(changes ...object) object {
	claims := object{
		"iss": "https://issuer.example", "aud": "wsproxy", "azp": "https://app.example",
		"sub": "user_1", "exp": time.Now().Unix() + 60, "iat": time.Now().Unix(), "nbf": time.Now().Unix(),
	}
	for _, change := range changes {
		merge(claims, change)
	}
	return claims
}

// merge sets fields; nil removes one.
func merge(fields, change object) {
	maps.Copy(fields, change)
	maps.DeleteFunc(fields, func(_ string, value any) bool { return value == nil })
}

func encode(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// sign makes a token of RS256 with keyA as kid "a", the header changed.
func sign(claims object, headerChanges ...object) string {
	header := object{"alg": "RS256", "typ": "JWT", "kid": "a"}
	for _, change := range headerChanges {
		merge(header, change)
	}
	return signText(keyA, encode(header), encode(claims))
}

// withUnknownKid is a token that needs a key to be refused, made without signing,
// which takes a millisecond, so that there can be thousands.
func withUnknownKid(kid string) string {
	return segment(encode(object{"alg": "RS256", "kid": kid})) + "." + segment(encode(goodClaims(distant))) + ".AAAA"
}

// distant is an expiry in the year 2100.
var distant = object{"exp": 4102444800}

// signText signs what it is given, sense or nonsense.
func signText(key *rsa.PrivateKey, header, claims string) string {
	input := segment(header) + "." + segment(claims)
	digest := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
	if err != nil {
		panic(err)
	}
	return input + "." + segment(string(signature))
}

func segment(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// reasonOf verifies token; "" means that it was accepted.
func reasonOf(t testing.TB, v *Verifier, token string) Reason {
	t.Helper()
	identity, err := v.Verify(t.Context(), token)
	if err == nil {
		if identity.Subject == "" {
			t.Error("a token was accepted without a subject")
		}
		return ""
	}
	if identity != (Identity{}) {
		t.Errorf("a refused token has the identity %v", identity)
	}
	var refused *Error
	if !errors.As(err, &refused) {
		t.Fatalf("Verify returned a %T: %v", err, err)
	}
	return refused.Reason
}

// fakeEndpoint answers without a network, so that time can be a bubble's.
type fakeEndpoint struct {
	next  atomic.Pointer[fakeAnswer]
	began atomic.Pointer[[]time.Time] // of each fetch; never changed in place
}

type fakeAnswer struct {
	body  string
	fail  error
	delay time.Duration
}

// succeed, fail and hang say what becomes of the fetches from now on.
func (e *fakeEndpoint) succeed(delay time.Duration, keys ...object) {
	e.next.Store(&fakeAnswer{body: jwks(keys...), delay: delay})
}

func (e *fakeEndpoint) fail() { e.next.Store(&fakeAnswer{fail: errDown}) }
func (e *fakeEndpoint) hang() { e.next.Store(&fakeAnswer{fail: errDown, delay: 1000 * time.Hour}) }

var errDown = errors.New("connection refused")

// asked says when each fetch began, once nothing in the bubble moves any more.
func (e *fakeEndpoint) asked() []time.Time {
	synctest.Wait()
	if began := e.began.Load(); began != nil {
		return *began
	}
	return nil
}

func (e *fakeEndpoint) RoundTrip(request *http.Request) (*http.Response, error) {
	began := []time.Time{time.Now()}
	if earlier := e.began.Load(); earlier != nil {
		began = slices.Concat(*earlier, began)
	}
	e.began.Store(&began)
	answer := e.next.Load()
	select {
	case <-time.After(answer.delay):
	case <-request.Context().Done():
		return nil, request.Context().Err()
	}
	if answer.fail != nil {
		return nil, answer.fail
	}
	return &http.Response{
		StatusCode: http.StatusOK,
		Header:     http.Header{},
		Body:       io.NopCloser(strings.NewReader(answer.body)),
		Request:    request,
	}, nil
}

// bubble runs a test in fake time with a Verifier whose first fetch has ended.
func bubble(t *testing.T, cfg Config, check func(t *testing.T, v *Verifier, e *fakeEndpoint)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		e := &fakeEndpoint{}
		e.succeed(0, jwk("a", keyA))
		v := start(t, cfg, e)
		synctest.Wait()
		check(t, v, e)
	})
}

// start is New for a fakeEndpoint, closed with the test.
func start(t *testing.T, cfg Config, e *fakeEndpoint) *Verifier {
	t.Helper()
	cfg.JWKSURL = "https://issuer.example/jwks"
	cfg.Client = &http.Client{Transport: e}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	v, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

// logLines is a slog.Handler that hands every line to the test as text.
type logLines struct {
	lines  chan string
	fields string
}

func newLogLines() *logLines { return &logLines{lines: make(chan string, 10_000)} }

func (l *logLines) Enabled(context.Context, slog.Level) bool { return true }
func (l *logLines) WithGroup(string) slog.Handler            { return l }
func (l *logLines) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &logLines{lines: l.lines, fields: l.fields + fmt.Sprint(attrs)}
}

func (l *logLines) Handle(_ context.Context, record slog.Record) error {
	line := record.Level.String() + " " + record.Message + l.fields
	record.Attrs(func(field slog.Attr) bool {
		line += " " + field.String()
		return true
	})
	l.lines <- line
	return nil
}

// await returns the next line that contains text; it blocks until there is one.
func (l *logLines) await(t testing.TB, text string) string {
	t.Helper()
	for {
		select {
		case line := <-l.lines:
			if strings.Contains(line, text) {
				return line
			}
		case <-t.Context().Done():
			t.Fatalf("the test ended without a log line containing %q", text)
		}
	}
}

// drain returns the lines there are.
func (l *logLines) drain() []string {
	var lines []string
	for {
		select {
		case line := <-l.lines:
			lines = append(lines, line)
		default:
			return lines
		}
	}
}
