package sshclient

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"wsproxy/page/sshclient/agent"
	"wsproxy/page/sshclient/pkcs8"
)

// maxPassphrases is how often a key's passphrase is asked for.
const maxPassphrases = 3

// A privateKey is a key of the user. One whose passphrase is missing tells its public
// half, mostly, and is decrypted when it must sign.
type privateKey struct {
	text       []byte
	name       string
	askFor     func(q Question) ([]string, error)
	mu         sync.Mutex // held while a person is asked, so that it is done once
	sealed     *pkcs8.Key // what is in the text, if that is its format
	public     ssh.PublicKey
	signer     ssh.MultiAlgorithmSigner // nil while it is locked
	skip       *Error                   // why it is used no more
	attempt    int
	passphrase string // given beforehand
}

// prepare reads the keys of the options, and makes offers of them.
func (l *login) prepare() *Error {
	for i, given := range l.o.Keys {
		key, err := readKey(given.PrivateKey)
		if err != nil {
			return err
		}
		key.passphrase = given.Passphrase
		key.askFor = func(q Question) ([]string, error) {
			if l.ctx.Err() == nil {
				return l.ask(q)
			}
			return ask(l.later, l.hooks, l.o, q) // for a forwarded agent
		}
		l.keys = append(l.keys, key)
		if key.name == "" {
			key.name = keyName(key.public, i)
		}
		if strings.TrimSpace(given.Certificate) != "" {
			// Before the key itself, as servers that know the authority know no key.
			cert, err := readCertificate(given.Certificate)
			if err != nil {
				return err
			}
			l.offers = append(l.offers, &certified{key: key, cert: cert})
		}
		l.offers = append(l.offers, key)
	}
	for _, given := range l.o.SecurityKeys {
		signer, err := newWebAuthnSigner(l, given)
		if err != nil {
			return err
		}
		l.offers = append(l.offers, signer)
	}
	return nil
}

// agentKeys are the keys for a forwarded agent, which may ask for passphrases until ended is closed.
func (l *login) agentKeys(ended <-chan struct{}) []agent.Key {
	ctx, cancel := context.WithCancel(context.WithoutCancel(l.caller))
	go func() {
		<-ended
		cancel()
	}()
	l.later = ctx
	keys := make([]agent.Key, len(l.keys))
	for i, key := range l.keys {
		keys[i] = key
	}
	return keys
}

// ready returns the signer that x/crypto may ask for a public key.
func (l *login) ready(signer ssh.Signer) ([]ssh.Signer, error) {
	key, _ := signer.(*privateKey)
	cert, certified := signer.(*certified)
	if certified {
		key = cert.key
	}
	if key != nil && key.public == nil {
		// The format hides the public half, too.
		if err := key.unlock(); err != nil {
			l.note(err)
			return nil, err
		}
	}
	if certified {
		signer, err := cert.signer()
		if err != nil {
			l.note(err)
			return nil, err
		}
		return []ssh.Signer{signer}, nil
	}
	return []ssh.Signer{signer}, nil
}

func (l *login) note(err error) {
	var own *Error
	if errors.As(err, &own) {
		l.keyFault = own
	}
}

// keyName is how a person is asked about a key without a comment.
func keyName(public ssh.PublicKey, index int) string {
	if public == nil {
		return "key " + string(rune('1'+index%9))
	}
	return public.Type() + " " + ssh.FingerprintSHA256(public)
}

// readKey reads a private key, which may be encrypted.
func readKey(text string) (*privateKey, *Error) {
	key := &privateKey{text: normalize(text)}
	block, _ := pem.Decode(key.text)
	if block == nil {
		switch {
		case strings.HasPrefix(strings.TrimSpace(text), "PuTTY-User-Key-File"):
			return nil, failure(CodeFailed, nil, "This is a key of PuTTY. Export it in OpenSSH's format with PuTTYgen, or by puttygen -O private-openssh.")
		case looksPublic(text):
			return nil, failure(CodeFailed, nil, "This is a public key. The private one is in the file without .pub.")
		}
		return nil, failure(CodeProtocol, nil, "This is no private key: it has no line that begins with -----BEGIN.")
	}
	if block.Type == pkcs8.BlockType {
		sealed, err := pkcs8.Read(block.Bytes)
		if err != nil {
			return nil, failure(CodeFailed, err, "The private key can't be read: %s. Convert it by ssh-keygen -p -f FILE.", err)
		}
		key.sealed = sealed
		return key, nil
	}
	raw, err := ssh.ParseRawPrivateKey(key.text)
	var missing *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &missing):
		key.public = missing.PublicKey
		if key.public != nil && strings.HasPrefix(key.public.Type(), "sk-") {
			return nil, errSecurityKeyFile
		}
		return key, nil
	case err != nil && strings.Contains(err.Error(), "sk-"):
		return nil, errSecurityKeyFile
	case err != nil:
		return nil, failure(CodeFailed, err, "The private key can't be read: %s.", Printable(trimSSH(err), maxReason))
	}
	if err := key.opened(raw); err != nil {
		return nil, err
	}
	return key, nil
}

var errSecurityKeyFile = &Error{Code: CodeFailed, Message: "This file belongs to a hardware security key, which a browser can't use by its file. Register the key in the page instead."}

// normalize takes what pasting does to a key away.
func normalize(text string) []byte {
	lines := strings.Split(strings.ReplaceAll(strings.TrimPrefix(text, "\ufeff"), "\r\n", "\n"), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line)
	}
	return []byte(strings.TrimSpace(strings.Join(lines, "\n")) + "\n")
}

func looksPublic(text string) bool {
	_, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text))
	return err == nil
}

// opened takes the decrypted key.
func (k *privateKey) opened(raw any) *Error {
	signer, err := ssh.NewSignerFromKey(raw)
	if err != nil {
		return failure(CodeFailed, err, "Keys of this kind can't be used: %s.", Printable(trimSSH(err), maxReason))
	}
	algorithms := signerAlgorithms(signer.PublicKey())
	multi, ok := signer.(ssh.AlgorithmSigner)
	if !ok {
		return failure(CodeFailed, nil, "Keys of type %s can't be used.", signer.PublicKey().Type())
	}
	k.signer, err = ssh.NewSignerWithAlgorithms(multi, algorithms)
	if err != nil {
		return failure(CodeFailed, err, "Keys of type %s can't be used.", signer.PublicKey().Type())
	}
	k.public = signer.PublicKey()
	return nil
}

// signerAlgorithms are those by which a key signs; SHA-1 is none of them.
func signerAlgorithms(public ssh.PublicKey) []string {
	if public.Type() == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{public.Type()}
}

// unlock decrypts the key, if need be. It asks for its passphrase.
func (k *privateKey) unlock() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.signer == nil {
		if k.skip != nil {
			return k.skip
		}
		passphrase := k.passphrase
		k.passphrase = ""
		if passphrase == "" {
			k.attempt++
			if k.attempt > maxPassphrases {
				k.skip = failure(CodeAuth, nil, "The passphrase of %s was wrong.", k.name)
				return k.skip
			}
			answers, err := k.askFor(Question{
				Kind:    KindPassphrase,
				Name:    k.name,
				Prompts: []Prompt{{Text: "Passphrase of " + k.name}},
				Attempt: k.attempt,
			})
			if err != nil {
				return err
			}
			if passphrase = answers[0]; passphrase == "" { // as with ssh
				k.skip = failure(CodeAuth, nil, "The key %s was passed over.", k.name)
				return k.skip
			}
		}
		raw, err := k.decrypt(passphrase)
		if errors.Is(err, x509.IncorrectPasswordError) {
			continue
		}
		if err != nil {
			k.skip = failure(CodeFailed, err, "The key %s can't be decrypted: %s.", k.name, Printable(trimSSH(err), maxReason))
			return k.skip
		}
		if err := k.opened(raw); err != nil {
			k.skip = err
			return err
		}
	}
	return nil
}

// decrypt fails with x509.IncorrectPasswordError.
func (k *privateKey) decrypt(passphrase string) (any, error) {
	if k.sealed == nil {
		return ssh.ParseRawPrivateKeyWithPassphrase(k.text, []byte(passphrase))
	}
	plain, err := k.sealed.Decrypt(passphrase)
	switch {
	case errors.Is(err, pkcs8.ErrPassphrase):
		return nil, x509.IncorrectPasswordError
	case err != nil:
		return nil, err
	}
	return x509.ParsePKCS8PrivateKey(plain)
}

// PublicKey, Sign, SignWithAlgorithm and Algorithms make a key an ssh.MultiAlgorithmSigner.
func (k *privateKey) PublicKey() ssh.PublicKey { return k.public }

func (k *privateKey) Sign(random io.Reader, data []byte) (*ssh.Signature, error) {
	return k.SignWithAlgorithm(random, data, "")
}

func (k *privateKey) SignWithAlgorithm(random io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	if err := k.unlock(); err != nil {
		return nil, err
	}
	if algorithm == "" {
		algorithm = k.Algorithms()[0]
	}
	return k.signer.SignWithAlgorithm(random, data, algorithm)
}

// Name is what a person knows the key by.
func (k *privateKey) Name() string { return k.name }

func (k *privateKey) Algorithms() []string { return signerAlgorithms(k.public) }

// A certified key is offered by its certificate.
type certified struct {
	key  *privateKey
	cert *ssh.Certificate
}

func (c *certified) PublicKey() ssh.PublicKey { return c.cert }

// Sign is there for the offer to be an ssh.Signer: what signs is what signer returns.
func (c *certified) Sign(random io.Reader, data []byte) (*ssh.Signature, error) {
	return c.key.Sign(random, data)
}

func (c *certified) signer() (ssh.Signer, *Error) {
	signer, err := ssh.NewCertSigner(c.cert, c.key)
	if err != nil {
		return nil, failure(CodeFailed, err, "The certificate is not one of the key %s.", c.key.name)
	}
	return signer, nil
}

func readCertificate(text string) (*ssh.Certificate, *Error) {
	public, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text))
	if err != nil {
		return nil, failure(CodeFailed, err, "The certificate can't be read. It is one line of a file whose name ends with -cert.pub.")
	}
	cert, ok := public.(*ssh.Certificate)
	if !ok {
		return nil, failure(CodeFailed, nil, "This is a public key, not a certificate. The certificate is in the file whose name ends with -cert.pub.")
	}
	if cert.CertType != ssh.UserCert {
		return nil, failure(CodeFailed, nil, "This is a certificate of a host, not of a user.")
	}
	return cert, nil
}
