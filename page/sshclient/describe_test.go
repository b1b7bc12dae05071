package sshclient

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"wsproxy/internal/testkit/sshd"
)

// keygen makes a key of a kind by ssh-keygen, whose passphrase costs a test no time.
func keygen(t *testing.T, kind, passphrase, comment string, more ...string) (private, public string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	args := []string{"-q", "-a", "1", "-t", kind, "-N", passphrase, "-C", comment, "-f", file}
	if out, err := exec.Command("ssh-keygen", append(args, more...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	read := func(file string) string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	return read(file), strings.TrimSpace(read(file + ".pub"))
}

func TestKeysOfKeygenAreDescribed(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		for _, passphrase := range []string{"", "secret"} {
			private, public := keygen(t, kind, passphrase, "me at home")
			want, err := DescribeKey(public, "")
			if err != nil {
				t.Fatal(err)
			}
			if want.Comment != "me at home" || want.Encrypted || want.Public != public {
				t.Errorf("the public key is described as %+v", want)
			}
			got, err := DescribeKey(private, "")
			if err != nil {
				t.Fatal(err)
			}
			if got.Fingerprint != want.Fingerprint || got.Type != want.Type || got.Encrypted != (passphrase != "") {
				t.Errorf("the private key is described as %+v, want %+v", got, want)
			}
			if passphrase == "" {
				if got.Comment != want.Comment || got.Public != public {
					t.Errorf("the private key is described as %+v, want %+v", got, want)
				}
				continue
			}
			if _, err := DescribeKey(private, passphrase); err != nil {
				t.Error(err)
			}
			_, err = DescribeKey(private, "wrong")
			expectCode(t, err, CodeAuth, "passphrase is wrong")
		}
	}
}

func TestOtherTextIsDescribed(t *testing.T) {
	for _, test := range []struct{ text, words string }{
		{"", "no private key"},
		{"nonsense", "no private key"},
		{"PuTTY-User-Key-File-3: ssh-ed25519\n", "PuTTY"},
		{"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMA==\n-----END ENCRYPTED PRIVATE KEY-----\n", "no encrypted PKCS #8"},
		{"-----BEGIN OPENSSH PRIVATE KEY-----\nMA==\n-----END OPENSSH PRIVATE KEY-----\n", "can't be read"},
		{"-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n", "can't be read"},
	} {
		_, err := DescribeKey(test.text, "")
		if err == nil {
			t.Fatalf("%q is a key", test.text)
		}
		code := CodeFailed
		if test.words == "no private key" {
			code = CodeProtocol
		}
		expectCode(t, err, code, test.words)
	}
}

func TestGeneratedKey(t *testing.T) {
	t.Parallel()
	key, err := GenerateKey("two\nlines", "")
	if err != nil {
		t.Fatal(err)
	}
	got, err := DescribeKey(key.Private, "")
	if err != nil {
		t.Fatal(err)
	}
	if got.Fingerprint != key.Fingerprint || got.Public != key.Public || got.Comment != "two lines" || got.Encrypted || got.Type != "ssh-ed25519" {
		t.Errorf("described as %+v, generated as %+v", got, key)
	}
	key, err = GenerateKey("", "secret")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DescribeKey(key.Private, ""); err != nil || !got.Encrypted || got.Fingerprint != key.Fingerprint {
		t.Errorf("described as %+v, %v", got, err)
	}
	// OpenSSH reads it.
	file := filepath.Join(t.TempDir(), "key")
	write(t, file, key.Private)
	out, err := exec.Command("ssh-keygen", "-y", "-P", "secret", "-f", file).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != key.Public {
		t.Errorf("ssh-keygen reads %q, %v, want %q", out, err, key.Public)
	}
}

func TestCertificateIsDescribed(t *testing.T) {
	_, authority := sshd.NewKey(t)
	_, key := sshd.NewKey(t)
	until := time.Unix(2_000_000_000, 0)
	got, err := DescribeKey(certify(t, authority, &ssh.Certificate{
		Key: key.PublicKey(), CertType: ssh.UserCert, KeyId: "me", Serial: 1 << 63, ValidPrincipals: []string{"a", "b"}, ValidBefore: uint64(until.Unix()),
	}), "")
	if err != nil {
		t.Fatal(err)
	}
	c := got.Certificate
	if c == nil || c.KeyID != "me" || c.Serial != "9223372036854775808" || c.Kind != "user" || strings.Join(c.Principals, " ") != "a b" ||
		!c.ValidAfter.IsZero() || !c.ValidBefore.Equal(until) || c.Authority != ssh.FingerprintSHA256(authority.PublicKey()) {
		t.Errorf("described as %+v", c)
	}
	if got.Fingerprint != ssh.FingerprintSHA256(key.PublicKey()) {
		t.Errorf("its fingerprint is %s, not its key's", got.Fingerprint)
	}
	if got, _ = DescribeKey(certify(t, authority, &ssh.Certificate{Key: key.PublicKey(), CertType: ssh.UserCert}), ""); !got.Certificate.ValidBefore.IsZero() {
		t.Errorf("forever is until %v", got.Certificate.ValidBefore)
	}
}
