package sshclient

import (
	"io"

	"golang.org/x/crypto/ssh"

	"wsproxy/page/sshclient/webauthn"
)

// A webAuthnSigner signs with a key that the browser has.
type webAuthnSigner struct {
	login  *login
	key    SecurityKey
	public ssh.PublicKey
}

func newWebAuthnSigner(l *login, key SecurityKey) (*webAuthnSigner, *Error) {
	public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(key.PublicKey))
	if err != nil {
		return nil, failure(CodeFailed, err, "The public half of the security key can't be read.")
	}
	if public.Type() != ssh.KeyAlgoSKECDSA256 {
		return nil, failure(CodeFailed, nil, "Servers take signatures from browsers by %s only, and this security key is of type %s.", ssh.KeyAlgoSKECDSA256, public.Type())
	}
	return &webAuthnSigner{login: l, key: key, public: public}, nil
}

// PublicKey, Sign, SignWithAlgorithm and Algorithms make it an ssh.MultiAlgorithmSigner. The algorithm
// that is negotiated is the key's type: OpenSSH reads from the signature itself that a browser
// has made it.
func (s *webAuthnSigner) PublicKey() ssh.PublicKey { return s.public }
func (s *webAuthnSigner) Algorithms() []string     { return []string{s.public.Type()} }

func (s *webAuthnSigner) Sign(random io.Reader, data []byte) (*ssh.Signature, error) {
	return s.SignWithAlgorithm(random, data, s.public.Type())
}

func (s *webAuthnSigner) SignWithAlgorithm(_ io.Reader, data []byte, _ string) (*ssh.Signature, error) {
	answer, err := s.login.hooks.SignWebAuthn(s.login.ctx, WebAuthnQuestion{
		Application:  s.key.Application,
		CredentialID: s.key.CredentialID,
		Challenge:    data,
	})
	if err == nil {
		var signature *ssh.Signature
		if signature, err = webauthn.Signature(data, answer); err == nil {
			return signature, nil
		}
	}
	// Other keys, and the password, may still do.
	fault := failure(CodeAuth, err, "The security key has not signed (%s).", Printable(err.Error(), maxReason))
	s.login.keyFault = fault
	return nil, fault
}
