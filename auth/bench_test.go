package auth

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"testing"
)

// BenchmarkVerify shows what a request costs; rsa is the signature check alone,
// which nothing can go below for a good token.
func BenchmarkVerify(b *testing.B) {
	server := newIssuer(b, publish(jwk("a", keyA)))
	v, _ := startReal(b, server.URL, Timing{})
	run := func(name, token string, want Reason) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if got := reasonOf(b, v, token); got != want {
					b.Fatalf("refused for %q, want %q", got, want)
				}
			}
		})
	}
	good := sign(goodClaims(distant))
	run("good", good, "")
	run("expired", sign(goodClaims(object{"exp": 1})), ReasonExpired)
	run("unknown_key", withUnknownKid("unknown"), ReasonUnknownKey)
	run("forged", good[:len(good)-20]+flip(good[len(good)-20:], 0), ReasonSignature)
	run("rubbish", fmt.Sprintf("%08000d", 0), ReasonMalformed)

	digest := sha256.Sum256([]byte(good))
	signature, err := rsa.SignPKCS1v15(nil, keyA, crypto.SHA256, digest[:])
	if err != nil {
		b.Fatal(err)
	}
	b.Run("rsa", func(b *testing.B) {
		for b.Loop() {
			if err := rsa.VerifyPKCS1v15(&keyA.PublicKey, crypto.SHA256, digest[:], signature); err != nil {
				b.Fatal(err)
			}
		}
	})
}
