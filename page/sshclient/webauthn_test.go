package sshclient

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"wsproxy/internal/testkit/sshd"
)

// An authenticator signs as a browser and its security key do.
type authenticator struct {
	key         *ecdsa.PrivateKey
	application string
	origin      string
	flags       byte
	extensions  []byte
	spoil       func(*WebAuthnAnswer)
}

func newAuthenticator(t *testing.T) *authenticator {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &authenticator{key: key, application: "page.example", origin: "https://page.example", flags: 1}
}

// public is the line of authorized_keys.
func (a *authenticator) public(t *testing.T) string {
	t.Helper()
	var point *ecdh.PublicKey
	point, err := a.key.PublicKey.ECDH()
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParsePublicKey(ssh.Marshal(&struct {
		Type, Curve string
		Point       []byte
		Application string
	}{ssh.KeyAlgoSKECDSA256, "nistp256", point.Bytes(), a.application}))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}

func (a *authenticator) sign(q WebAuthnQuestion) (WebAuthnAnswer, error) {
	client := []byte(`{"type":"webauthn.get","challenge":"` + base64.RawURLEncoding.EncodeToString(q.Challenge) +
		`","origin":"` + a.origin + `","crossOrigin":false,"other_keys_can_be_added_here":"do not compare clientDataJSON against a template"}`)
	application := sha256.Sum256([]byte(q.Application))
	data := append(application[:], a.flags)
	data = append(binary.BigEndian.AppendUint32(data, 7), a.extensions...)
	clientHash := sha256.Sum256(client)
	signed := sha256.Sum256(append(append([]byte{}, data...), clientHash[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, a.key, signed[:])
	answer := WebAuthnAnswer{AuthenticatorData: data, ClientDataJSON: client, Signature: signature}
	if a.spoil != nil {
		a.spoil(&answer)
	}
	return answer, err
}

// A real sshd takes what a browser signs.
func TestSecurityKey(t *testing.T) {
	t.Parallel()
	s := sshd.Start(t)
	for _, test := range []struct {
		name   string
		change func(*authenticator)
		code   Code
	}{
		{"plain", func(*authenticator) {}, ""},
		{"with extensions", func(a *authenticator) { a.flags, a.extensions = 0x81, []byte{0xa0} }, ""},
		{"user verified", func(a *authenticator) { a.flags = 5 }, ""},
		{"nobody there", func(a *authenticator) { a.flags = 0 }, CodeAuth},
		{"another key", func(a *authenticator) { a.key = newAuthenticator(t).key }, CodeAuth},
		{"another challenge", func(a *authenticator) {
			a.spoil = func(answer *WebAuthnAnswer) { answer.ClientDataJSON[40] ^= 1 }
		}, CodeAuth},
		{"short data", func(a *authenticator) {
			a.spoil = func(answer *WebAuthnAnswer) { answer.AuthenticatorData = answer.AuthenticatorData[:36] }
		}, CodeAuth},
		{"no signature", func(a *authenticator) {
			a.spoil = func(answer *WebAuthnAnswer) { answer.Signature = nil }
		}, CodeAuth},
	} {
		t.Run(test.name, func(t *testing.T) {
			a := newAuthenticator(t)
			line := a.public(t)
			permit(t, s, line)
			test.change(a)
			o := of(s)
			o.Keys = nil
			o.SecurityKeys = []SecurityKey{{PublicKey: line, Application: a.application, CredentialID: "id"}}
			c, err := Connect(t.Context(), s.Dial(t), o, &testHooks{sign: a.sign})
			if err == nil {
				c.Close()
				c.End()
			}
			switch {
			case test.code != "":
				expectCode(t, err, test.code)
			case err != nil:
				t.Errorf("no login: %v\n%s", err, s.Log())
			}
		})
	}
}

func TestSecurityKeyOfAnotherKind(t *testing.T) {
	text, _ := sshd.NewKey(t)
	for _, line := range []string{"", text, "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJUfyD3ivN5j8XdduetgA5zHK5WCTzPn7FJYdUyxQ9+v"} {
		_, err := newWebAuthnSigner(&login{}, SecurityKey{PublicKey: line})
		if err == nil {
			t.Fatalf("%q was taken", line)
		}
		expectCode(t, err, CodeFailed)
	}
}
