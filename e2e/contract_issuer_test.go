package e2e

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Two keys of 2048 bits, made once: the issuer's, and its next or a forger's.
var signingKeys = sync.OnceValue(func() [2]*rsa.PrivateKey {
	var keys [2]*rsa.PrivateKey
	for i := range keys {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		keys[i] = key
	}
	return keys
})

type fields = map[string]any

// An issuer is a JWKS endpoint over HTTP on loopback, which counts its visits.
type issuer struct {
	url     string
	fetches atomic.Int32
	answer  atomic.Pointer[http.HandlerFunc]
	ended   chan struct{} // closed with the test, so that no handler outlasts it
}

// newIssuer starts an endpoint that publishes the first key as "first".
func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{ended: make(chan struct{})}
	i.publish("first")
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.fetches.Add(1)
		(*i.answer.Load())(w, r)
	}))
	i.url = endpoint.URL + "/.well-known/jwks.json"
	t.Cleanup(func() {
		close(i.ended)
		endpoint.Close()
	})
	return i
}

func (i *issuer) answerWith(handler http.HandlerFunc) { i.answer.Store(&handler) }

// publish serves the keys with these names: the first of them is the issuer's
// first key, the second its second.
func (i *issuer) publish(kids ...string) {
	set := []fields{}
	for n, kid := range kids {
		if kid != "" {
			set = append(set, jwkOf(kid, signingKeys()[n]))
		}
	}
	body := jsonOf(fields{"keys": set})
	i.answerWith(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(body)
	})
}

// token is one that passes, signed with the first key, with claims changed; nil
// removes a claim.
func (i *issuer) token(changes fields) string {
	return signed(signingKeys()[0], fields{"kid": "first"}, claimsWith(changes))
}

// claimsWith are the claims of a good token, changed.
func claimsWith(changes fields) fields {
	now := time.Now().Unix()
	claims := fields{"sub": "user_1", "exp": now + 600, "iat": now, "nbf": now,
		"iss": "https://issuer.example", "aud": "wsproxy", "azp": "https://app.example"}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	return claims
}

func jwkOf(kid string, key *rsa.PrivateKey) fields {
	return fields{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid,
		"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
		"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes())}
}

// signed makes a token by RS256, whatever its header claims.
func signed(key *rsa.PrivateKey, header, claims fields) string {
	full := fields{"alg": "RS256", "typ": "JWT"}
	maps.Copy(full, header)
	maps.DeleteFunc(full, func(_ string, value any) bool { return value == nil })
	input := segmentOf(jsonOf(full)) + "." + segmentOf(jsonOf(claims))
	digest := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, digest[:])
	if err != nil {
		panic(err)
	}
	return input + "." + segmentOf(signature)
}

func segmentOf(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

func jsonOf(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return text
}

// Ways in which an endpoint fails its visitors.

func answerDead(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func answerStatus(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusServiceUnavailable)
}

func answerEmptySet(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"keys":[]}`)) }

func answerBroken(w http.ResponseWriter, _ *http.Request) {
	_, _ = w.Write([]byte(`{"keys":[{"kty":"RSA","kid":`))
}

func answerHuge(w http.ResponseWriter, _ *http.Request) {
	block := make([]byte, 64<<10)
	for i := range block {
		block[i] = ' '
	}
	for { // ends when the visitor goes away
		if _, err := w.Write(block); err != nil {
			return
		}
	}
}

func (i *issuer) answerSlow(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write([]byte(`{"keys":[`))
	_ = http.NewResponseController(w).Flush()
	select {
	case <-r.Context().Done():
	case <-i.ended:
	}
}
