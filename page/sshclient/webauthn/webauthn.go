package webauthn

import (
	"bytes"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math/big"
	"strings"

	"golang.org/x/crypto/ssh"
)

// format is that of signatures that browsers make. Their keys are of type
// sk-ecdsa-sha2-nistp256@openssh.com, whose application is the relying party's id.
const format = "webauthn-sk-ecdsa-sha2-nistp256@openssh.com"

// An Assertion is what navigator.credentials.get returns.
type Assertion struct {
	AuthenticatorData, ClientDataJSON, Signature []byte
}

// Flags of authenticator data, WebAuthn, section 6.1.
const (
	flagAttested   = 0x40
	flagExtensions = 0x80
)

// Signature writes an assertion as OpenSSH reads it.
func Signature(challenge []byte, answer Assertion) (*ssh.Signature, error) {
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
		Format: format,
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
