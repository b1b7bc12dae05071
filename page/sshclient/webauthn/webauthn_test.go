package webauthn

import "testing"

func FuzzWebAuthn(f *testing.F) {
	challenge := []byte("challenge")
	f.Add(make([]byte, 37), []byte(`{"type":"webauthn.get","challenge":"Y2hhbGxlbmdl","origin":"https://a"}`), []byte{0x30, 6, 2, 1, 1, 2, 1, 1})
	f.Fuzz(func(t *testing.T, data, client, signature []byte) {
		_, _ = Signature(challenge, Assertion{data, client, signature})
	})
}
