package auth

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// FuzzVerify: whatever comes, Verify doesn't panic, refuses with a reason, and
// accepts a token only if it is, to the letter, one that the issuer signed.
func FuzzVerify(f *testing.F) {
	server := newIssuer(f, publish(jwk("a", keyA)))
	v, err := New(Config{JWKSURL: server.URL, Logger: slog.New(slog.DiscardHandler), Audience: "wsproxy"})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(v.Close)

	signed := map[string]bool{}
	for _, token := range []string{
		sign(goodClaims(distant)),
		sign(goodClaims(distant, object{"aud": []string{"x", "wsproxy"}, "nbf": 0.5})),
		sign(goodClaims(distant, object{"aud": "other"})),
		sign(goodClaims(distant, object{"exp": 1e18, "iat": -1e18})),
		sign(goodClaims(distant), object{"crit": []string{"x"}}),
		sign(goodClaims(distant), object{"kid": "unknown"}),
		sign(goodClaims(distant), object{"jwk": jwk("a", keyB), "jku": "https://evil.example"}),
	} {
		signed[token] = true
		f.Add(token)
	}
	for _, token := range []string{
		"", ".", "..", "...", "a.b.c", "eyJhbGciOiJub25lIn0.e30.",
		segment(`{"alg":"none","kid":"a"}`) + "." + segment(encode(goodClaims(distant))) + ".",
		segment(`{"alg":"HS256","kid":"a"}`) + "." + segment(encode(goodClaims(distant))) + ".AAAA",
		signText(keyB, `{"alg":"RS256","kid":"a"}`, encode(goodClaims(distant))),
		segment(`null`) + "." + segment(`null`) + ".",
		segment(strings.Repeat("[", 1000)) + ".." + "",
	} {
		f.Add(token)
	}
	f.Fuzz(func(t *testing.T, token string) {
		reason := reasonOf(t, v, token)
		if reason == "" && !signed[token] {
			t.Errorf("accepted without being signed: %q", token)
		}
	})
}

// FuzzClaims signs arbitrary header and claims, which a fuzzer can't: what passes
// our own rules must pass the library's, and have a subject fit to be logged.
func FuzzClaims(f *testing.F) {
	server := newIssuer(f, publish(jwk("a", keyA)))
	v, err := New(Config{JWKSURL: server.URL, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(v.Close)
	for _, claims := range []string{
		`{"sub":"x","exp":4102444800}`, `{"sub":"x","exp":4102444800.5,"nbf":1,"iat":-1}`, `{"sub":"\u0000","exp":1e10}`,
		`{"sub":"x","exp":1e19}`, `{"sub":"x","sub":"y","exp":4102444800,"exp":0}`, `null`, `[]`, `{}`, `{"exp":null,"sub":null}`,
	} {
		f.Add(`{"alg":"RS256","kid":"a"}`, claims)
	}
	f.Add(`{"alg":"RS256","kid":"a","crit":[]}`, `{"sub":"x","exp":4102444800}`)
	f.Add(`{"alg":"RS512","kid":"a","kid":1}`, `{"sub":"x","exp":4102444800}`)
	f.Fuzz(func(t *testing.T, header, claims string) {
		identity, err := v.Verify(t.Context(), signText(keyA, header, claims))
		var refused *Error
		switch {
		case err == nil && !isSubject(identity.Subject):
			t.Errorf("accepted with the subject %q", identity.Subject)
		case err != nil && !errors.As(err, &refused):
			t.Errorf("refused with a %T: %v", err, err)
		case refused != nil && refused.Reason == ReasonSignature:
			t.Error("our own signature is refused")
		}
	})
}

// FuzzTokenFrom: whatever a request carries, no panic, and a token comes from
// where it says.
func FuzzTokenFrom(f *testing.F) {
	f.Add("token=abc", "", "")
	f.Add("", "Bearer abc", "")
	f.Add("token=", "bearer  ", "wsproxy.v1, bearer.a.b.c")
	f.Add("a=%zz&token=%00", "Basic abc", "bearer.,,\t,bearer.x")
	f.Fuzz(func(t *testing.T, rawQuery, authorization, offered string) {
		query, _ := url.ParseQuery(rawQuery) // what can be read of it, as a server does
		header := http.Header{"Authorization": {authorization}, "Sec-Websocket-Protocol": {offered, offered}}
		token := TokenFrom(query, header)
		switch {
		case query.Get("token") != "":
			if token != query.Get("token") {
				t.Errorf("the query's token is %q, got %q", query.Get("token"), token)
			}
		case !strings.Contains(authorization, token) && !strings.Contains(offered, "bearer."+token):
			t.Errorf("%q is from nowhere", token)
		}
		switch name := SelectSubprotocol(header); name {
		case "":
		case Subprotocol, LegacySubprotocol:
			if !strings.Contains(offered, name) {
				t.Errorf("%q is selected, which isn't offered", name)
			}
		default:
			t.Errorf("%q is selected, which the server doesn't speak", name)
		}
	})
}

// FuzzParseKeySet: whatever an endpoint answers, no panic, and only keys that are
// strong enough and have a name.
func FuzzParseKeySet(f *testing.F) {
	f.Add(jwks(jwk("a", keyA), jwk("b", keyB)))
	f.Add(jwks())
	f.Add(`{"keys":[{"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB"},{"kty":"EC"},null,7]}`)
	f.Add(`{"keys":[{"kty":"RSA","kid":"a","n":"` + strings.Repeat("_", 400) + `","e":"Aw","d":"AQ","oth":[{}],"x5c":["AA"]}]}`)
	f.Add(`<html>`)
	f.Fuzz(func(t *testing.T, body string) {
		set, err := parseKeySet([]byte(body))
		if (err == nil) != (len(set.keys) > 0) {
			t.Errorf("%d keys and %v", len(set.keys), err)
		}
		for kid, key := range set.keys {
			if kid == "" || key.N.BitLen() < minKeyBits || key.N.BitLen() > maxKeyBits || key.E < 3 || key.E%2 == 0 {
				t.Errorf("accepted: kid %q, %d bits, exponent %d", kid, key.N.BitLen(), key.E)
			}
		}
	})
}

// What a naive reader sees of a list of subprotocols.
var (
	resumeGiven   = regexp.MustCompile(`(?:^|,)[ \t]*resume\.([^,]*?)[ \t]*(?:,|$)`)
	resumeOffered = regexp.MustCompile(`(?:^|,)[ \t]*wsproxy\.resume[ \t]*(?:,|$)`)
	plainOffered  = regexp.MustCompile(`(?:^|,)[ \t]*wsproxy\.v1[ \t]*(?:,|$)`)
)

// FuzzResumeOffers: whatever a client offers, in however many lines, is read as a
// naive reader does: whose session it wants to take up, whether it wants one that may
// outlive its WebSocket, and what is selected, which is never a token.
func FuzzResumeOffers(f *testing.F) {
	for _, lines := range []string{
		"wsproxy.v1, wsproxy.resume", "wsproxy.resume\nwsproxy.v1", "wsproxy.resume", "wsproxy.resume, resume.abc.def",
		"resume.", " resume.a , resume.b", "resume.a\nresume.b", ",,\t resume.x\t,", "resume", "wsproxy.resume.x", "Resume.x, WSPROXY.RESUME, wsproxy.v1",
		"wsproxy.resumeresume.x", "bearer.resume.x,binary", "resume. x y ,wsproxy.v1", "resume.\xff\x00", "",
	} {
		f.Add(lines)
	}
	f.Fuzz(func(t *testing.T, lines string) {
		header := http.Header{}
		wantToken, wantGiven, resume, plain := "", false, false, false
		for line := range strings.SplitSeq(lines, "\n") {
			header.Add("Sec-WebSocket-Protocol", line)
			if m := resumeGiven.FindStringSubmatch(line); m != nil && !wantGiven {
				wantToken, wantGiven = m[1], true
			}
			resume = resume || resumeOffered.MatchString(line)
			plain = plain || plainOffered.MatchString(line)
		}
		if token, given := ResumeToken(header); token != wantToken || given != wantGiven {
			t.Errorf("%q takes up %q, %v, want %q, %v", lines, token, given, wantToken, wantGiven)
		}
		if got := OffersResume(header); got != (resume && plain) {
			t.Errorf("%q offers a session that may outlive its WebSocket: %v", lines, got)
		}
		want := SelectSubprotocol(header)
		if resume {
			want = ResumeSubprotocol
		}
		if got := SelectResume(header); got != want || strings.HasPrefix(got, "resume.") {
			t.Errorf("%q selects %q, want %q", lines, got, want)
		}
	})
}
