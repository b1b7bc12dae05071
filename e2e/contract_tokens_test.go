package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"
)

// Section 5: who is let in. A token that passes is answered 426, for these
// requests are no upgrades.

func TestClaims(t *testing.T) {
	t.Parallel()
	keys := newIssuer(t)
	target := relayPath(echoServer(t))
	strict := start(t, allowLoopback(), "CLERK_JWKS_URL="+keys.url, "JWT_ISSUER=https://issuer.example", "JWT_AUDIENCE=wsproxy",
		"JWT_AUTHORIZED_PARTIES=https://app.example,http://localhost:3000")
	lax := start(t, allowLoopback(), "CLERK_JWKS_URL="+keys.url)
	const in, out = 426, 401
	at := func(seconds int64) int64 { return time.Now().Unix() + seconds }
	for _, c := range []struct {
		name        string
		strict, lax int
		changes     func() fields
	}{
		{"good", in, in, func() fields { return nil }},
		{"no exp", out, out, func() fields { return fields{"exp": nil} }},
		{"exp past", out, out, func() fields { return fields{"exp": at(-6)} }},
		{"exp as text", out, out, func() fields { return fields{"exp": "2100-01-01"} }},
		{"exp 0", out, out, func() fields { return fields{"exp": 0} }},
		{"exp with a fraction", in, in, func() fields { return fields{"exp": float64(at(60)) + 0.5} }},
		{"nbf ahead within the leeway", in, in, func() fields { return fields{"nbf": at(3)} }},
		{"nbf ahead", out, out, func() fields { return fields{"nbf": at(60)} }},
		{"iat ahead within the leeway", in, in, func() fields { return fields{"iat": at(3)} }},
		{"iat ahead", in, in, func() fields { return fields{"iat": at(60)} }},
		{"no nbf, no iat", in, in, func() fields { return fields{"nbf": nil, "iat": nil} }},
		{"no sub", out, out, func() fields { return fields{"sub": nil} }},
		{"empty sub", out, out, func() fields { return fields{"sub": ""} }},
		{"sub is a number", out, out, func() fields { return fields{"sub": 7} }},
		{"other iss", out, in, func() fields { return fields{"iss": "https://other.example"} }},
		{"iss with a slash", out, in, func() fields { return fields{"iss": "https://issuer.example/"} }},
		{"no iss", out, in, func() fields { return fields{"iss": nil} }},
		{"aud in a list", in, in, func() fields { return fields{"aud": []string{"other", "wsproxy"}} }},
		{"other aud", out, in, func() fields { return fields{"aud": "other"} }},
		{"other auds", out, in, func() fields { return fields{"aud": []string{"other", "wsproxy2"}} }},
		{"no aud", out, in, func() fields { return fields{"aud": nil} }},
		{"second azp", in, in, func() fields { return fields{"azp": "http://localhost:3000"} }},
		{"other azp", out, in, func() fields { return fields{"azp": "https://evil.example"} }},
		{"azp in a list", out, in, func() fields { return fields{"azp": []string{"https://app.example"}} }},
		{"no azp", out, in, func() fields { return fields{"azp": nil} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			for s, want := range map[*server]int{strict: c.strict, lax: c.lax} {
				r := ask(t, s, "GET", target+"&token="+keys.token(c.changes()))
				if r.status != want {
					t.Errorf("status %d (%s), want %d (strict: %v)", r.status, strings.TrimSpace(r.body), want, s == strict)
				}
				if want == out {
					oneSentence(t, r)
				}
			}
		})
	}
	t.Run("exp past within the leeway", func(t *testing.T) {
		// It may take a moment from here to there, so it may try again.
		eventually(t, patience, "accepted one second late", func() bool {
			return ask(t, strict, "GET", target+"&token="+keys.token(fields{"exp": at(-1)})).status == in
		})
	})
}

func TestForgeries(t *testing.T) {
	t.Parallel()
	keys := newIssuer(t)
	target := relayPath(echoServer(t))
	s := start(t, allowLoopback(), "CLERK_JWKS_URL="+keys.url)
	first, second := signingKeys()[0], signingKeys()[1]
	good := keys.token(nil)
	parts := strings.Split(good, ".")
	hmacWith := func(key []byte) string {
		input := segmentOf(jsonOf(fields{"alg": "HS256", "kid": "first"})) + "." + parts[1]
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(input))
		return input + "." + segmentOf(mac.Sum(nil))
	}
	der, err := x509.MarshalPKIXPublicKey(&first.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"nothing":                  "",
		"rubbish":                  "rubbish",
		"two parts":                parts[0] + "." + parts[1],
		"four parts":               good + ".x",
		"no signature":             parts[0] + "." + parts[1] + ".",
		"another's signature":      signed(second, fields{"kid": "first"}, claimsWith(nil)),
		"other claims":             parts[0] + "." + segmentOf(jsonOf(claimsWith(fields{"sub": "admin"}))) + "." + parts[2],
		"alg none":                 segmentOf(jsonOf(fields{"alg": "none", "kid": "first"})) + "." + parts[1] + ".",
		"HS256 by the public key":  hmacWith(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
		"HS256 by the modulus":     hmacWith(first.N.Bytes()),
		"alg RS512":                signed(first, fields{"kid": "first", "alg": "RS512"}, claimsWith(nil)),
		"no kid":                   signed(first, fields{"kid": nil}, claimsWith(nil)),
		"empty kid":                signed(first, fields{"kid": ""}, claimsWith(nil)),
		"kid is a number":          signed(first, fields{"kid": 1}, claimsWith(nil)),
		"unknown kid":              signed(first, fields{"kid": "second"}, claimsWith(nil)),
		"a key of its own":         signed(second, fields{"kid": "second", "jwk": jwkOf("second", second)}, claimsWith(nil)),
		"a key set of its own":     signed(second, fields{"kid": "second", "jku": keys.url}, claimsWith(nil)),
		"a critical extension":     signed(first, fields{"kid": "first", "crit": []string{"x"}, "x": 1}, claimsWith(nil)),
		"claims that are no JSON":  parts[0] + "." + segmentOf([]byte("hello")) + "." + parts[2],
		"far too long":             good + strings.Repeat("A", 30_000),
		"not base64":               strings.Replace(good, parts[1], "%3F"+parts[1], 1),
		"with a line feed":         good + "%0A",
		"signature of other bytes": good[:len(good)-8] + "AAAAAAAA",
	} {
		t.Run(name, func(t *testing.T) {
			r := ask(t, s, "GET", target+"&token="+token)
			if r.status != 401 {
				t.Errorf("status %d, want 401", r.status)
			}
			oneSentence(t, r)
		})
	}
	if r := ask(t, s, "GET", target+"&token="+good); r.status != 426 {
		t.Errorf("after all that a good token is answered %d", r.status)
	}
}

// Where the token may be, which of several counts, and what is selected.
func TestTokenPlaces(t *testing.T) {
	t.Parallel()
	keys := newIssuer(t)
	target := relayPath(echoServer(t))
	s := start(t, allowLoopback(), "CLERK_JWKS_URL="+keys.url, "MAX_CONNS_PER_IP=0", "MAX_CONNS_PER_USER=0")
	good := keys.token(nil)
	const offer = "Sec-WebSocket-Protocol: "
	for _, c := range []struct {
		name     string
		query    string
		lines    []string
		status   int
		selected string
	}{
		{"query", good, nil, 101, ""},
		{"query, with an offer", good, []string{offer + "wsproxy.v1"}, 101, "wsproxy.v1"},
		{"query, with other offers", good, []string{offer + "chat, mqtt"}, 101, ""},
		{"header", "", []string{"Authorization: Bearer " + good}, 101, ""},
		{"header, scheme in another case", "", []string{"Authorization: bearer " + good}, 101, ""},
		{"header, other scheme", "", []string{"Authorization: Basic " + good}, 401, ""},
		{"subprotocol", "", []string{offer + "wsproxy.v1, bearer." + good}, 101, "wsproxy.v1"},
		{"subprotocol, the other way round", "", []string{offer + "bearer." + good + ",wsproxy.v1"}, 101, "wsproxy.v1"},
		{"subprotocol, in two lines", "", []string{offer + "wsproxy.v1", offer + "bearer." + good}, 101, "wsproxy.v1"},
		{"subprotocol, in two lines, the other way round", "", []string{offer + "bearer." + good, offer + "wsproxy.v1"}, 101, "wsproxy.v1"},
		{"subprotocol with nothing beside it", "", []string{offer + "bearer." + good}, 101, ""},
		{"subprotocol, bad token", "", []string{offer + "wsproxy.v1, bearer.rubbish"}, 401, ""},
		{"the name alone", "", []string{offer + "wsproxy.v1"}, 401, ""},
		{"the name in another case is another", good, []string{offer + "WSPROXY.V1"}, 101, ""},
		{"query before header", "rubbish", []string{"Authorization: Bearer " + good}, 401, ""},
		{"header before subprotocol", "", []string{"Authorization: Bearer rubbish", offer + "wsproxy.v1, bearer." + good}, 401, ""},
		{"a good query is enough", good, []string{"Authorization: Bearer rubbish", offer + "wsproxy.v1, bearer.rubbish"}, 101, "wsproxy.v1"},
		{"cookie", "", []string{"Cookie: __session=" + good}, 401, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := target
			if c.query != "" {
				path += "&token=" + c.query
			}
			r := ask(t, s, "GET", path, upgrading(c.lines...)...)
			if r.status != c.status {
				t.Fatalf("status %d (%s), want %d", r.status, strings.TrimSpace(r.body), c.status)
			}
			if got := strings.Join(r.header.Values("Sec-WebSocket-Protocol"), "|"); got != c.selected {
				t.Errorf("selected %q, want %q", got, c.selected)
			}
			if c.status == 401 && !strings.HasPrefix(r.header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("WWW-Authenticate %q, want Bearer (RFC 9110 section 11.6.1)", r.header.Get("WWW-Authenticate"))
			}
		})
	}
	t.Run("anonymous", func(t *testing.T) {
		s := start(t, allowLoopback())
		r := ask(t, s, "GET", target, upgrading(offer+"bearer."+good+", wsproxy.v1")...)
		if r.status != 101 || r.header.Get("Sec-WebSocket-Protocol") != "wsproxy.v1" {
			t.Errorf("status %d, selected %q; want 101, wsproxy.v1", r.status, r.header.Get("Sec-WebSocket-Protocol"))
		}
	})
}

// Everyone is anonymous without keys, and the log warns of it: louder where
// others can reach the server.
func TestAnonymousWarning(t *testing.T) {
	t.Parallel()
	loud := func(s *server) bool {
		return len(s.logLines(`"level":"ERROR"`)) > 0
	}
	for bind, wantLoud := range map[string]bool{"127.0.0.1": false, "localhost": false, "127.0.0.2": false, "0.0.0.0": true, "": true, "::": true} {
		t.Run("BIND="+bind, func(t *testing.T) {
			s := start(t, "BIND="+bind)
			warning := s.waitLog(t, "anonymous")
			if warning["level"] != "WARN" || !strings.Contains(fmt.Sprint(warning["msg"]), "CLERK_JWKS_URL") {
				t.Errorf("the warning is %v", warning)
			}
			if loud(s) != wantLoud {
				t.Errorf("a louder warning: %v, want %v\n%s", loud(s), wantLoud, s.log())
			}
		})
	}
	t.Run("with keys", func(t *testing.T) {
		s := start(t, "BIND=0.0.0.0", "CLERK_JWKS_URL="+newIssuer(t).url)
		if strings.Contains(s.log(), "anonymous") || loud(s) {
			t.Errorf("there is a warning, though tokens are checked\n%s", s.log())
		}
	})
	t.Run("sessions are anonymous", func(t *testing.T) {
		s := start(t, allowLoopback())
		goodbye(t, open(t, s, relayPath(echoServer(t))))
		if line := s.waitLog(t, "relay started"); line["user"] != "anonymous" {
			t.Errorf("the user is %v", line["user"])
		}
	})
}
