package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // registers the hashes of RS384 and RS512
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestOtherAlgorithmsAreRefused(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, v *Verifier, _ *fakeEndpoint) {
		claims := segment(encode(goodClaims()))
		withHeader := func(alg any) string {
			return segment(encode(object{"alg": alg, "kid": "a", "typ": "JWT"})) + "." + claims
		}
		public, err := x509.MarshalPKIXPublicKey(&keyA.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
		hs256 := func(secret []byte) string {
			input := withHeader("HS256")
			mac := hmac.New(sha256.New, secret)
			mac.Write([]byte(input))
			return input + "." + segment(string(mac.Sum(nil)))
		}
		rsaSigned := func(alg string, hash crypto.Hash, sign func(digest []byte) ([]byte, error)) string {
			input := withHeader(alg)
			hasher := hash.New()
			hasher.Write([]byte(input))
			signature, err := sign(hasher.Sum(nil))
			if err != nil {
				t.Fatal(err)
			}
			return input + "." + segment(string(signature))
		}
		pkcs := func(hash crypto.Hash) func([]byte) ([]byte, error) {
			return func(digest []byte) ([]byte, error) { return rsa.SignPKCS1v15(nil, keyA, hash, digest) }
		}
		pss := func(digest []byte) ([]byte, error) {
			return rsa.SignPSS(rand.Reader, keyA, crypto.SHA256, digest, nil)
		}
		curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		es256 := func() string {
			input := withHeader("ES256")
			digest := sha256.Sum256([]byte(input))
			r, s, err := ecdsa.Sign(rand.Reader, curve, digest[:])
			if err != nil {
				t.Fatal(err)
			}
			return input + "." + segment(string(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)))
		}

		for name, token := range map[string]string{
			"none":                    withHeader("none") + ".",
			"None":                    withHeader("None") + ".",
			"none with a signature":   withHeader("none") + "." + segment("x"),
			"HS256 with the PEM":      hs256(publicPEM),
			"HS256 with the DER":      hs256(public),
			"HS256 with the modulus":  hs256(keyA.N.Bytes()),
			"HS256 with nothing":      hs256(nil),
			"RS384":                   rsaSigned("RS384", crypto.SHA384, pkcs(crypto.SHA384)),
			"RS512":                   rsaSigned("RS512", crypto.SHA512, pkcs(crypto.SHA512)),
			"PS256":                   rsaSigned("PS256", crypto.SHA256, pss),
			"ES256":                   es256(),
			"rs256 in lower case":     rsaSigned("rs256", crypto.SHA256, pkcs(crypto.SHA256)),
			"with a space":            rsaSigned("RS256 ", crypto.SHA256, pkcs(crypto.SHA256)),
			"unheard of":              rsaSigned("XX256", crypto.SHA256, pkcs(crypto.SHA256)),
			"empty":                   rsaSigned("", crypto.SHA256, pkcs(crypto.SHA256)),
			"a list":                  withHeader([]string{"RS256"}) + ".AA",
			"a number":                withHeader(256) + ".AA",
			"absent":                  sign(goodClaims(), object{"alg": nil}),
			"under another case":      sign(goodClaims(), object{"alg": nil, "ALG": "RS256"}),
			"named twice, none last":  signText(keyA, `{"alg":"RS256","kid":"a","alg":"none"}`, encode(goodClaims())),
			"of an encrypted token":   sign(goodClaims(), object{"alg": "RSA-OAEP", "enc": "A256GCM"}),
			"a header that is null":   signText(keyA, `null`, encode(goodClaims())),
			"RS256 but RS512 by hash": rsaSigned("RS512", crypto.SHA256, pkcs(crypto.SHA256)),
		} {
			if got := reasonOf(t, v, token); got != ReasonAlgorithm {
				t.Errorf("alg %s: refused for %q, want %q", name, got, ReasonAlgorithm)
			}
		}

		for name, token := range map[string]string{
			"PS256 as RS256": rsaSigned("RS256", crypto.SHA256, pss),
			"RS512 as RS256": rsaSigned("RS256", crypto.SHA512, pkcs(crypto.SHA512)),
		} {
			if got := reasonOf(t, v, token); got != ReasonSignature {
				t.Errorf("%s: refused for %q, want %q", name, got, ReasonSignature)
			}
		}
	})
}

func TestForgedSignatures(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, v *Verifier, e *fakeEndpoint) {
		good := sign(goodClaims())
		if got := reasonOf(t, v, good); got != "" {
			t.Fatalf("the good token is refused for %q", got)
		}
		parts := strings.Split(good, ".")
		other := strings.Split(sign(goodClaims(object{"sub": "user_2"})), ".")
		for name, token := range map[string]string{
			"another key":              signText(keyB, `{"alg":"RS256","kid":"a"}`, encode(goodClaims())),
			"signature of another":     parts[0] + "." + parts[1] + "." + other[2],
			"claims of another":        parts[0] + "." + other[1] + "." + parts[2],
			"no signature":             parts[0] + "." + parts[1] + ".",
			"short signature":          parts[0] + "." + parts[1] + "." + parts[2][:100],
			"signature twice as long":  parts[0] + "." + parts[1] + "." + parts[2][:340] + parts[2][:340],
			"signature of zeroes":      parts[0] + "." + parts[1] + "." + segment(string(make([]byte, 256))),
			"signature as large as n":  parts[0] + "." + parts[1] + "." + segment(string(keyA.N.Bytes())),
			"header of another field":  segment(`{"alg":"RS256","kid":"a","x":1}`) + "." + parts[1] + "." + parts[2],
			"first letters exchanged":  parts[0] + "." + parts[1] + "." + flip(parts[2], 0),
			"last but one letter else": parts[0] + "." + parts[1] + "." + flip(parts[2], len(parts[2])-2),
		} {
			if got := reasonOf(t, v, token); got != ReasonSignature {
				t.Errorf("%s: refused for %q, want %q", name, got, ReasonSignature)
			}
		}

		// Two keys: naming one and signing with the other.
		time.Sleep(DefaultUnknownKeyInterval)
		e.succeed(0, jwk("a", keyA), jwk("b", keyB))
		claims := goodClaims()
		if got := reasonOf(t, v, signText(keyB, `{"alg":"RS256","kid":"b"}`, encode(claims))); got != "" {
			t.Fatalf("the second key is refused for %q", got)
		}
		if got := reasonOf(t, v, signText(keyB, `{"alg":"RS256","kid":"a"}`, encode(claims))); got != ReasonSignature {
			t.Errorf("signed by b, naming a: refused for %q", got)
		}
		if got := reasonOf(t, v, signText(keyA, `{"alg":"RS256","kid":"a","kid":"b"}`, encode(claims))); got != ReasonSignature {
			t.Errorf("signed by a, naming a and then b: refused for %q", got)
		}
	})
}

func flip(text string, at int) string {
	letter := byte('A')
	if text[at] == letter {
		letter = 'B'
	}
	return text[:at] + string(letter) + text[at+1:]
}

func TestForm(t *testing.T) {
	bubble(t, Config{}, func(t *testing.T, v *Verifier, _ *fakeEndpoint) {
		good := sign(goodClaims())
		parts := strings.Split(good, ".")
		last := good[len(good)-1]
		for name, c := range map[string]struct {
			token string
			want  Reason
		}{
			"empty":                {"", ReasonMissing},
			"one part":             {"abc", ReasonMalformed},
			"two parts":            {parts[0] + "." + parts[1], ReasonMalformed},
			"four parts":           {good + ".", ReasonMalformed},
			"dots":                 {"..", ReasonMalformed},
			"many dots":            {strings.Repeat(".", MaxTokenBytes), ReasonMalformed},
			"a space before":       {" " + good, ReasonMalformed},
			"a line end after":     {good + "\n", ReasonMalformed},
			"a line end within":    {good[:40] + "\r\n" + good[40:], ReasonMalformed},
			"padded":               {good + "=", ReasonMalformed},
			"standard base64":      {parts[0] + "." + parts[1] + "." + "ab+/", ReasonMalformed},
			"percent encoded":      {good + "%20", ReasonMalformed},
			"not ASCII":            {good + "é", ReasonMalformed},
			"with NUL":             {good + "\x00", ReasonMalformed},
			"quoted":               {`"` + good + `"`, ReasonMalformed},
			"with the scheme":      {"Bearer " + good, ReasonMalformed},
			"spare bits set":       {good[:len(good)-1] + string(spare(last)), ReasonMalformed},
			"header no JSON":       {segment("alg") + "." + parts[1] + "." + parts[2], ReasonMalformed},
			"header a list":        {segment("[]") + "." + parts[1] + "." + parts[2], ReasonMalformed},
			"longest of rubbish":   {strings.Repeat("a", MaxTokenBytes), ReasonMalformed},
			"too long":             {sign(goodClaims(object{"x": strings.Repeat("x", MaxTokenBytes)})), ReasonMalformed},
			"as long as allowed":   {padded(MaxTokenBytes), ""},
			"a letter longer":      {padded(MaxTokenBytes) + "A", ReasonMalformed},
			"without kid":          {sign(goodClaims(), object{"kid": nil}), ReasonNoKeyID},
			"kid empty":            {sign(goodClaims(), object{"kid": ""}), ReasonNoKeyID},
			"kid a number":         {sign(goodClaims(), object{"kid": 1}), ReasonNoKeyID},
			"kid a list":           {sign(goodClaims(), object{"kid": []string{"a"}}), ReasonNoKeyID},
			"kid under other case": {sign(goodClaims(), object{"kid": nil, "KID": "a"}), ReasonNoKeyID},
			"kid a path":           {sign(goodClaims(), object{"kid": "../../dev/null"}), ReasonUnknownKey},
			"crit":                 {sign(goodClaims(), object{"crit": []string{"exp"}}), ReasonMalformed},
			"crit empty":           {sign(goodClaims(), object{"crit": []string{}}), ReasonMalformed},
			"crit null":            {signText(keyA, `{"alg":"RS256","kid":"a","crit":null}`, encode(goodClaims())), ReasonMalformed},
			"crit b64":             {sign(goodClaims(), object{"crit": []string{"b64"}, "b64": false}), ReasonMalformed},
			"another typ":          {sign(goodClaims(), object{"typ": "at+jwt"}), ""},
			"without typ":          {sign(goodClaims(), object{"typ": nil}), ""},
		} {
			if got := reasonOf(t, v, c.token); got != c.want {
				t.Errorf("%s: refused for %q, want %q", name, got, c.want)
			}
		}
	})
}

// spare is another letter that a lenient decoder reads alike at the end of a
// signature of 256 bytes, whose last letter has four bits to spare.
func spare(letter byte) byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return alphabet[strings.IndexByte(alphabet, letter)|1]
}

// padded is a good token of exactly so many bytes.
func padded(length int) string {
	// Three bytes of claims are four of token; the header takes up the rest.
	for extra := range 4 {
		header := `{"alg":"RS256","kid":"a"` + strings.Repeat(" ", extra) + `}`
		rest := length - len(segment(header)) - 2 - 342
		claims := fmt.Sprintf(`{"sub":"user_1","exp":4102444800,"x":"%s"}`, strings.Repeat("x", rest/4*3-43))
		for len(segment(claims)) < rest {
			claims += " "
		}
		if len(segment(claims)) == rest {
			return signText(keyA, header, claims)
		}
	}
	panic("no token has that length")
}

// A header may bring a key along or point to one. Both are the sender's word.
func TestKeysInTheHeaderAreIgnored(t *testing.T) {
	var asked atomic.Int32
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		fmt.Fprint(w, jwks(jwk("a", keyB)))
	}))
	defer evil.Close()
	bubble(t, Config{}, func(t *testing.T, v *Verifier, e *fakeEndpoint) {
		for name, field := range map[string]object{
			"jku": {"jku": evil.URL},
			"x5u": {"x5u": evil.URL},
			"jwk": {"jwk": jwk("a", keyB)},
			"x5c": {"x5c": []string{"MIIB"}},
			"all": {"jku": evil.URL, "x5u": evil.URL, "jwk": jwk("a", keyB), "x5t": "x"},
		} {
			header := object{"alg": "RS256", "kid": "a"}
			merge(header, field)
			if got := reasonOf(t, v, signText(keyB, encode(header), encode(goodClaims()))); got != ReasonSignature {
				t.Errorf("%s with a forged token: refused for %q", name, got)
			}
			if got := reasonOf(t, v, signText(keyA, encode(header), encode(goodClaims()))); got != "" {
				t.Errorf("%s with a good token: refused for %q", name, got)
			}
		}
		if asked := e.asked(); len(asked) != 1 {
			t.Errorf("the header caused %d fetches", len(asked)-1)
		}
	})
	if asked.Load() != 0 {
		t.Errorf("the address in the header was asked %d times", asked.Load())
	}
}

func TestErrorsDoNotRepeatTheToken(t *testing.T) {
	bubble(t, strictConfig(), func(t *testing.T, v *Verifier, _ *fakeEndpoint) {
		const secret = "s3cr3t-claim-value"
		for _, token := range []string{
			secret,
			sign(goodClaims(object{"iss": secret})),
			sign(goodClaims(object{"aud": secret})),
			sign(goodClaims(object{"azp": secret})),
			sign(goodClaims(object{"sub": secret + "\n"})),
			sign(goodClaims(object{"exp": secret})),
			sign(goodClaims(), object{"kid": secret}),
			sign(goodClaims(), object{"alg": secret}),
			sign(goodClaims(), object{"crit": []string{secret}}),
			segment(secret) + "." + segment(secret) + "." + segment(secret),
		} {
			_, err := v.Verify(t.Context(), token)
			if err == nil || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), segment(secret)) {
				t.Errorf("the error is %v", err)
			}
		}
	})
}

func TestEveryReasonIsListedOnceAndHasASentence(t *testing.T) {
	seen := map[Reason]bool{}
	for _, reason := range Reasons() {
		if seen[reason] || strings.Trim(string(reason), "abcdefghijklmnopqrstuvwxyz_") != "" {
			t.Errorf("reason %q occurs twice or is no label", reason)
		}
		seen[reason] = true
	}
	for _, err := range []*Error{
		errMissing, errTooLong, errMalformed, errCritical, errNoExpiry, errBadTime, errAlgorithm, errNoKeyID,
		errUnknownKey, errSignature, errExpired, errNotYetValid, errIssuer, errAudience, errAuthorizedParty,
		errSubject, errKeysUnavailable, errCanceled(nil),
	} {
		if !seen[err.Reason] || len(err.Error()) < 20 || strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("%q: %q", err.Reason, err)
		}
	}
}
