package sshclient

import (
	"bytes"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"math/big"
	"strings"

	"golang.org/x/crypto/ssh"
)

// sigWebAuthn is the format of signatures that browsers make, OpenSSH's PROTOCOL.u2f. Its keys
// are of type sk-ecdsa-sha2-nistp256@openssh.com, whose application is the relying party's id.
const sigWebAuthn = "webauthn-sk-ecdsa-sha2-nistp256@openssh.com"

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
		if signature, err = webAuthnSignature(data, answer); err == nil {
			return signature, nil
		}
	}
	// Other keys, and the password, may still do.
	fault := failure(CodeAuth, err, "The security key has not signed (%s).", Printable(err.Error(), maxReason))
	s.login.keyFault = fault
	return nil, fault
}

// Flags of authenticator data, WebAuthn, section 6.1.
const (
	flagAttested   = 0x40
	flagExtensions = 0x80
)

// webAuthnSignature writes an assertion as OpenSSH reads it.
func webAuthnSignature(challenge []byte, answer WebAuthnAnswer) (*ssh.Signature, error) {
	// The hash of the relying party's id, flags, and a counter of 4 bytes.
	if len(answer.AuthenticatorData) < 37 {
		return nil, errors.New("the authenticator's data is too short")
	}
	flags := answer.AuthenticatorData[32]
	extensions := answer.AuthenticatorData[37:]
	if flags&flagAttested != 0 || flags&flagExtensions == 0 != (len(extensions) == 0) {
		return nil, errors.New("the authenticator's data holds what OpenSSH does not take")
	}
	origin, err := clientOrigin(challenge, answer.ClientDataJSON)
	if err != nil {
		return nil, err
	}
	var pair struct{ R, S *big.Int }
	if rest, err := asn1.Unmarshal(answer.Signature, &pair); err != nil || len(rest) > 0 {
		return nil, errors.New("the signature can't be read")
	}
	return &ssh.Signature{
		Format: sigWebAuthn,
		Blob:   ssh.Marshal(&pair),
		Rest: ssh.Marshal(&struct {
			Flags      byte
			Counter    uint32
			Origin     string
			ClientData []byte
			Extensions []byte
		}{flags, binary.BigEndian.Uint32(answer.AuthenticatorData[33:37]), origin, answer.ClientDataJSON, extensions}),
	}, nil
}

// clientOrigin reads the origin from client data. OpenSSH wants it to begin so, and browsers write it
// so: WebAuthn, section 5.8.1.1, fixes the order for verifiers without a JSON parser.
func clientOrigin(challenge, clientData []byte) (string, error) {
	prefix := `{"type":"webauthn.get","challenge":"` + base64.RawURLEncoding.EncodeToString(challenge) + `","origin":"`
	rest, ok := bytes.CutPrefix(clientData, []byte(prefix))
	if !ok {
		return "", errors.New("the browser has signed something else")
	}
	origin, _, ok := strings.Cut(string(rest), `"`)
	if !ok || strings.Contains(origin, `\`) {
		return "", errors.New("the browser names no origin")
	}
	return origin, nil
}
