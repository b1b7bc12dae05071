package sshclient

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"

	"wsproxy/internal/testkit/sshd"
)

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

func FuzzDisconnect(f *testing.F) {
	f.Add(`ssh: disconnect, reason 2: "Too many\n"`)
	f.Fuzz(func(t *testing.T, text string) {
		_, _, _ = parseDisconnect(&Error{Message: text})
	})
}
