package sshclient

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"

	"wsproxy/internal/testkit/sshd"
)

func FuzzKnownHosts(f *testing.F) {
	_, signer := sshd.NewKey(f)
	line := knownLineOf("host", 22, signer.PublicKey())
	for _, seed := range []string{line, "@revoked *" + line, "|1|c2FsdA==|aGFzaA==" + line[4:], "!host,*" + line[4:], "|1|", "@", "* ssh-ed25519 A\x00\n\n"} {
		f.Add(seed, "host", 22)
	}
	f.Fuzz(func(t *testing.T, text, host string, port int) {
		known := parseKnownHosts(text)
		for _, marker := range []string{"", "revoked", "cert-authority"} {
			known.about(marker, host, port)
		}
		if len(known.algorithms(host, port)) == 0 {
			t.Error("no kind of key is asked for")
		}
		known.revoked(host, port, signer.PublicKey())
		known.isAuthority(host, port, signer.PublicKey())
	})
}

func FuzzPrintable(f *testing.F) {
	f.Add("a\x1b[2J\u202e\r\n\xff", 5)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		limit = max(0, min(limit, maxText))
		got := Printable(text, limit)
		if !utf8.ValidString(got) {
			t.Errorf("%q is not UTF-8", got)
		}
		if len(got) > 3*limit+len("…") { // invalid bytes become three
			t.Errorf("%d bytes of %d", len(got), limit)
		}
		if strings.ContainsFunc(got, func(r rune) bool {
			return unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r)
		}) {
			t.Errorf("%q has control characters", got)
		}
	})
}

// What a server says of its other keys, and by which it proves to have them.
func FuzzRotation(f *testing.F) {
	_, signer := sshd.NewKey(f)
	f.Add(ssh.Marshal(&struct{ Key []byte }{signer.PublicKey().Marshal()}), []byte("x"))
	f.Fuzz(func(t *testing.T, payload, signature []byte) {
		taken := takeStrings(payload, maxHostKeys)
		if len(taken) > maxHostKeys {
			t.Errorf("%d keys", len(taken))
		}
		for _, blob := range taken {
			if key, err := ssh.ParsePublicKey(blob); err == nil && proves(key, signature, nil) {
				t.Error("a signature was made up")
			}
		}
	})
}

func FuzzAgent(f *testing.F) {
	text, signer := sshd.NewKey(f)
	key, err := readKey(text)
	if err != nil {
		f.Fatal(err)
	}
	agent := newAgentKeys([]*privateKey{key})
	f.Add([]byte{agentRequestIdentities})
	f.Add(append([]byte{agentSignRequest}, ssh.Marshal(&struct {
		Key, Data []byte
		Flags     uint32
	}{signer.PublicKey().Marshal(), []byte("data"), 0})...))
	f.Fuzz(func(t *testing.T, request []byte) {
		if len(request) == 0 {
			return
		}
		if len(agent.answer(request)) == 0 {
			t.Error("no answer")
		}
	})
}

func FuzzKeys(f *testing.F) {
	text, signer := sshd.NewKey(f)
	f.Add(text)
	f.Add(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	f.Add("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMA==\n-----END RSA PRIVATE KEY-----\n")
	f.Fuzz(func(t *testing.T, text string) {
		_, _ = DescribeKey(text, "")
		_, _ = readCertificate(text)
		keyComment([]byte(text))
	})
}

func FuzzWebAuthn(f *testing.F) {
	challenge := []byte("challenge")
	f.Add(make([]byte, 37), []byte(`{"type":"webauthn.get","challenge":"Y2hhbGxlbmdl","origin":"https://a"}`), []byte{0x30, 6, 2, 1, 1, 2, 1, 1})
	f.Fuzz(func(t *testing.T, data, client, signature []byte) {
		_, _ = webAuthnSignature(challenge, WebAuthnAnswer{data, client, signature})
	})
}

func FuzzDisconnect(f *testing.F) {
	f.Add(`ssh: disconnect, reason 2: "Too many\n"`)
	f.Fuzz(func(t *testing.T, text string) {
		_, _, _ = parseDisconnect(&Error{Message: text})
	})
}
