package auth

import (
	"encoding/base64"
	"maps"
	"math/big"
	"slices"
	"strings"
	"testing"
)

func TestKeySets(t *testing.T) {
	number := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }
	small := newKey(1024)
	elliptic := object{
		"kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig", "alg": "ES256",
		"x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
	}
	edwards := object{"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
	secret := object{"kty": "oct", "kid": "oct", "k": "c2VjcmV0"}
	private := jwk("private", keyB, object{
		"d": number(keyB.D), "p": number(keyB.Primes[0]), "q": number(keyB.Primes[1]),
		"dp": number(keyB.Precomputed.Dp), "dq": number(keyB.Precomputed.Dq), "qi": number(keyB.Precomputed.Qinv),
	})
	many := make([]object, 0, 1000)
	for range 1000 {
		many = append(many, elliptic)
	}

	for name, c := range map[string]struct {
		keys    []object
		want    []string // kids; none = an error
		ignored int
		broken  string
	}{
		"one":                    {[]object{jwk("a", keyA)}, []string{"a"}, 0, ""},
		"two":                    {[]object{jwk("a", keyA), jwk("b", keyB)}, []string{"a", "b"}, 0, ""},
		"without use and alg":    {[]object{jwk("a", keyA, object{"use": nil, "alg": nil})}, []string{"a"}, 0, ""},
		"key_ops verify":         {[]object{jwk("a", keyA, object{"key_ops": []string{"verify"}})}, []string{"a"}, 0, ""},
		"key_ops verify and own": {[]object{jwk("a", keyA, object{"key_ops": []string{"x", "verify"}})}, []string{"a"}, 0, ""},
		"key_ops encrypt":        {[]object{jwk("a", keyA, object{"key_ops": []string{"encrypt"}})}, nil, 0, ""},
		"for encryption":         {[]object{jwk("a", keyA, object{"use": "enc"})}, nil, 0, ""},
		"for something else":     {[]object{jwk("a", keyA, object{"use": "other"})}, nil, 0, ""},
		"for RS512":              {[]object{jwk("a", keyA, object{"alg": "RS512"})}, nil, 0, ""},
		"for PS256":              {[]object{jwk("a", keyA, object{"alg": "PS256"})}, nil, 0, ""},
		"for RSA-OAEP":           {[]object{jwk("a", keyA, object{"alg": "RSA-OAEP"})}, nil, 0, ""},
		"other kinds beside":     {[]object{elliptic, edwards, secret, jwk("a", keyA), {}}, []string{"a"}, 4, ""},
		"other kinds only":       {[]object{elliptic, edwards, secret}, nil, 0, ""},
		"many others":            {append(many, jwk("a", keyA)), []string{"a"}, 1000, ""},
		"with its private half":  {[]object{private}, []string{"private"}, 0, ""},
		"certificate broken":     {[]object{jwk("a", keyA, object{"x5c": []string{"!"}, "x5t": "bad", "x5u": "http://x"})}, []string{"a"}, 0, ""},
		"fields nobody knows":    {[]object{jwk("a", keyA, object{"iat": 1, "nested": object{}})}, []string{"a"}, 0, ""},

		"without kid":       {[]object{jwk("", keyA), jwk("b", keyB)}, []string{"b"}, 1, "kid is not 1 to 256"},
		"kid too long":      {[]object{jwk(strings.Repeat("k", 257), keyA), jwk("b", keyB)}, []string{"b"}, 1, "kid is not 1 to 256"},
		"kid a number":      {[]object{jwk("a", keyA, object{"kid": 7}), jwk("b", keyB)}, []string{"b"}, 1, "key 1 of 2: not a JSON Web Key"},
		"same kid twice":    {[]object{jwk("a", keyA), jwk("a", keyB)}, []string{"a"}, 1, "same kid"},
		"modulus missing":   {[]object{jwk("a", keyA), jwk("x", keyB, object{"n": nil})}, []string{"a"}, 1, "key 2 of 2"},
		"modulus no base64": {[]object{jwk("a", keyA), jwk("x", keyB, object{"n": "***"})}, []string{"a"}, 1, "key 2 of 2"},
		"modulus short":     {[]object{jwk("x", small), jwk("a", keyA)}, []string{"a"}, 1, "1024 bits"},
		"modulus long":      {[]object{jwk("x", keyB, object{"n": strings.Repeat("_", 1368)}), jwk("a", keyA)}, []string{"a"}, 1, "8192 are accepted"},
		"modulus zero":      {[]object{jwk("x", keyB, object{"n": "AA"}), jwk("a", keyA)}, []string{"a"}, 1, "key 1 of 2"},
		"exponent one":      {[]object{jwk("x", keyB, object{"e": "AQ"}), jwk("a", keyA)}, []string{"a"}, 1, "key 1 of 2"},
		"exponent zero":     {[]object{jwk("x", keyB, object{"e": "AA"}), jwk("a", keyA)}, []string{"a"}, 1, "key 1 of 2"},
		"exponent even":     {[]object{jwk("x", keyB, object{"e": "Ag"}), jwk("a", keyA)}, []string{"a"}, 1, "key 1 of 2"},
		"exponent huge":     {[]object{jwk("x", keyB, object{"e": strings.Repeat("_", 64)}), jwk("a", keyA)}, []string{"a"}, 1, "key 1 of 2"},
		"exponent beyond":   {[]object{jwk("x", keyB, object{"e": "AQAAAAAAAQAB"}), jwk("a", keyA)}, []string{"a"}, 1, "key 1 of 2"},
		"only a broken one": {[]object{jwk("x", small)}, nil, 0, ""},
	} {
		set, err := parseKeySet([]byte(jwks(c.keys...)))
		if (err != nil) != (c.want == nil) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := slices.Sorted(maps.Keys(set.keys)); !slices.Equal(got, c.want) {
			t.Errorf("%s: usable are %q, want %q", name, got, c.want)
		}
		if set.ignored != c.ignored || !strings.Contains(set.broken, c.broken) || (c.broken == "") != (set.broken == "") {
			t.Errorf("%s: ignored %d, want %d; broken %q, want %q", name, set.ignored, c.ignored, set.broken, c.broken)
		}
	}

	set, err := parseKeySet([]byte(jwks(jwk("a", keyA), jwk("a", keyB))))
	if err != nil || !set.keys["a"].Equal(&keyA.PublicKey) {
		t.Errorf("of two keys with one kid the first should count (%v)", err)
	}
	if _, err := parseKeySet([]byte(jwks(jwk("x", small)))); err == nil || !strings.Contains(err.Error(), "1024 bits") {
		t.Errorf("what is wrong with the only key isn't said: %v", err)
	}
}
