package sshclient

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"math"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// A GeneratedKey is a new key pair.
type GeneratedKey struct {
	Private     string // in OpenSSH's format
	Public      string // a line of authorized_keys
	Fingerprint string
}

// GenerateKey makes an ed25519 key, encrypted when there is a passphrase.
func GenerateKey(comment, passphrase string) (*GeneratedKey, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, failure(CodeFailed, err, "No key can be made: %v.", err)
	}
	comment = strings.TrimSpace(strings.ReplaceAll(Printable(comment, maxReason), "\n", " "))
	var block *pem.Block
	if passphrase == "" {
		block, err = ssh.MarshalPrivateKey(private, comment)
	} else {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(private, comment, []byte(passphrase))
	}
	if err != nil {
		return nil, failure(CodeFailed, err, "No key can be made: %s.", trimSSH(err))
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return nil, failure(CodeFailed, err, "No key can be made: %s.", trimSSH(err))
	}
	return &GeneratedKey{
		Private:     string(pem.EncodeToMemory(block)),
		Public:      authorizedLine(key, comment),
		Fingerprint: ssh.FingerprintSHA256(key),
	}, nil
}

func authorizedLine(key ssh.PublicKey, comment string) string {
	return strings.TrimSpace(strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key))) + " " + comment)
}

// A KeyDescription is what a key or a certificate says about itself. All of it but Comment is
// empty for an encrypted key whose format hides its public half.
type KeyDescription struct {
	Type        string
	Fingerprint string
	Comment     string
	Public      string // a line of authorized_keys, also for certificates
	Encrypted   bool   // it is a private key with a passphrase
	Certificate *CertificateDescription
}

// A CertificateDescription is what a certificate says.
type CertificateDescription struct {
	KeyID      string
	Serial     string // a decimal number
	Kind       string // "user" or "host"
	Principals []string
	// Zero where it says none.
	ValidAfter, ValidBefore time.Time
	Authority               string // the fingerprint of the key that has signed it
}

// DescribeKey describes a private key, a public key or a certificate. With a passphrase it is
// checked by it, and fails with [CodeAuth] when it is wrong.
func DescribeKey(text, passphrase string) (*KeyDescription, error) {
	if public, comment, _, _, err := ssh.ParseAuthorizedKey(normalize(text)); err == nil {
		return describe(public, comment), nil
	}
	key, fault := readKey(text)
	if fault != nil {
		return nil, fault
	}
	encrypted := key.signer == nil
	if encrypted && passphrase != "" {
		key.passphrase = passphrase
		key.askFor = func(Question) ([]string, error) {
			return nil, failure(CodeAuth, nil, "The passphrase is wrong.")
		}
		if err := key.unlock(); err != nil {
			return nil, err
		}
	}
	if key.public == nil {
		return &KeyDescription{Encrypted: true}, nil
	}
	d := describe(key.public, keyComment(key.text))
	d.Encrypted = encrypted
	return d, nil
}

func describe(public ssh.PublicKey, comment string) *KeyDescription {
	comment = Printable(comment, maxReason)
	d := &KeyDescription{
		Type:        public.Type(),
		Fingerprint: ssh.FingerprintSHA256(public),
		Comment:     comment,
		Public:      authorizedLine(public, comment),
	}
	cert, ok := public.(*ssh.Certificate)
	if !ok {
		return d
	}
	d.Fingerprint = ssh.FingerprintSHA256(cert.Key) // as ssh-keygen does
	d.Certificate = &CertificateDescription{
		KeyID:       Printable(cert.KeyId, maxReason),
		ValidBefore: certificateTime(cert.ValidBefore),
		Serial:      strconv.FormatUint(cert.Serial, 10),
		Kind:        "host",
		ValidAfter:  certificateTime(cert.ValidAfter),
		Authority:   ssh.FingerprintSHA256(cert.SignatureKey),
	}
	if cert.CertType == ssh.UserCert {
		d.Certificate.Kind = "user"
	}
	for _, name := range cert.ValidPrincipals {
		d.Certificate.Principals = append(d.Certificate.Principals, Printable(name, maxReason))
	}
	return d
}

// certificateTime is a time of a certificate, or zero for none.
func certificateTime(seconds uint64) time.Time {
	if seconds == 0 || seconds > math.MaxInt32*1000 { // which is infinity, and what is as good as that
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0)
}

// keyComment reads the comment of a private key, which OpenSSH's format has when it is not
// encrypted, behind what makes the key.
func keyComment(text []byte) string {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "OPENSSH PRIVATE KEY" {
		return ""
	}
	const magic = "openssh-key-v1\x00"
	data, ok := strings.CutPrefix(string(block.Bytes), magic)
	if !ok {
		return ""
	}
	var file struct {
		Cipher, KDF, Options string
		Count                uint32
		Public, Private      []byte
	}
	if ssh.Unmarshal([]byte(data), &file) != nil || file.Cipher != "none" || len(file.Private) < 8 {
		return ""
	}
	fields := map[string]int{
		ssh.KeyAlgoED25519: 2, ssh.KeyAlgoRSA: 6,
		ssh.KeyAlgoECDSA256: 3, ssh.KeyAlgoECDSA384: 3, ssh.KeyAlgoECDSA521: 3,
	}
	// Behind two numbers that are equal in a key that was decrypted well.
	all := takeStrings(file.Private[8:], 8)
	if len(all) == 0 {
		return ""
	}
	count, ok := fields[string(all[0])]
	if !ok || len(all) < count+2 {
		return ""
	}
	return string(all[count+1])
}
