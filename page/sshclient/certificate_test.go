package sshclient

import (
	"crypto/rand"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"wsproxy/internal/testkit/sshd"
	"wsproxy/page/sshclient/knownhosts"
)

// certify signs a certificate and returns it as a line.
func certify(t *testing.T, authority ssh.Signer, cert *ssh.Certificate) string {
	t.Helper()
	if cert.ValidBefore == 0 {
		cert.ValidBefore = ssh.CertTimeInfinity
	}
	if err := cert.SignCert(rand.Reader, authority); err != nil {
		t.Fatal(err)
	}
	return string(ssh.MarshalAuthorizedKey(cert))
}

func TestUserCertificate(t *testing.T) {
	t.Parallel()
	_, authority := sshd.NewKey(t)
	dir := t.TempDir()
	s := sshd.Start(t, "TrustedUserCAKeys "+filepath.Join(dir, "authority"))
	write(t, filepath.Join(dir, "authority"), string(ssh.MarshalAuthorizedKey(authority.PublicKey())))
	text, signer := sshd.NewKey(t)
	encrypted, encryptedPublic := keygen(t, "ed25519", "secret", "")
	locked, _, _, _, err := ssh.ParseAuthorizedKey([]byte(encryptedPublic))
	if err != nil {
		t.Fatal(err)
	}
	cert := func(key ssh.PublicKey, kind uint32) string {
		return certify(t, authority, &ssh.Certificate{Key: key, CertType: kind, KeyId: "me", ValidPrincipals: []string{s.User}})
	}
	for _, test := range []struct {
		name  string
		key   Key
		kinds []string
		code  Code
	}{
		{"without", Key{PrivateKey: text}, nil, CodeAuth},
		{"with", Key{PrivateKey: text, Certificate: cert(signer.PublicKey(), ssh.UserCert)}, nil, ""},
		{"of a locked key", Key{PrivateKey: encrypted, Certificate: cert(locked, ssh.UserCert)}, []string{KindPassphrase}, ""},
		{"of another key", Key{PrivateKey: text, Certificate: cert(locked, ssh.UserCert)}, nil, CodeAuth},
		{"of a host", Key{PrivateKey: text, Certificate: cert(signer.PublicKey(), ssh.HostCert)}, nil, CodeFailed},
		{"no certificate", Key{PrivateKey: text, Certificate: encryptedPublic}, nil, CodeFailed},
		{"nonsense", Key{PrivateKey: text, Certificate: "nonsense"}, nil, CodeFailed},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := &testHooks{answers: [][]string{{"secret"}}}
			o := of(s)
			o.Keys = []Key{test.key}
			c, err := Connect(t.Context(), s.Dial(t), o, h)
			if err == nil {
				c.Close()
				c.End()
			}
			h.expectKinds(t, test.kinds...)
			switch {
			case test.code != "":
				expectCode(t, err, test.code)
			case err != nil:
				t.Errorf("no login: %v\n%s", err, s.Log())
			}
		})
	}
}

func TestHostCertificate(t *testing.T) {
	t.Parallel()
	_, authority := sshd.NewKey(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "cert")
	s := sshd.Start(t, "HostCertificate "+file)
	_, other := sshd.NewKey(t)
	line := func(marker string, key ssh.PublicKey) string {
		return marker + " [127.0.0.*]:* " + string(ssh.MarshalAuthorizedKey(key))
	}
	good := &ssh.Certificate{Key: s.HostKey, CertType: ssh.HostCert, ValidPrincipals: []string{s.Host}}
	for _, test := range []struct {
		name  string
		known string
		cert  *ssh.Certificate
		state string // of the question, "" for none
		note  string
	}{
		{"known authority", line("@cert-authority", authority.PublicKey()), good, "", ""},
		{"unknown authority", line("@cert-authority", other.PublicKey()), good, HostKeyNew, ""},
		{"no authority", "", good, HostKeyNew, ""},
		{"revoked authority", line("@cert-authority", authority.PublicKey()) + line("@revoked", authority.PublicKey()), good, HostKeyRevoked, ""},
		{"revoked key", line("@cert-authority", authority.PublicKey()) + line("@revoked", s.HostKey), good, HostKeyRevoked, ""},
		{
			"expired", line("@cert-authority", authority.PublicKey()),
			&ssh.Certificate{Key: s.HostKey, CertType: ssh.HostCert, ValidPrincipals: []string{s.Host}, ValidBefore: uint64(time.Now().Add(-time.Hour).Unix())},
			HostKeyNew, "expired",
		},
		{
			"another host", line("@cert-authority", authority.PublicKey()),
			&ssh.Certificate{Key: s.HostKey, CertType: ssh.HostCert, ValidPrincipals: []string{"other"}},
			HostKeyNew, "principal",
		},
		{
			"any host", line("@cert-authority", authority.PublicKey()),
			&ssh.Certificate{Key: s.HostKey, CertType: ssh.HostCert},
			HostKeyNew, "names no host",
		},
		{
			"a user's", line("@cert-authority", authority.PublicKey()),
			&ssh.Certificate{Key: s.HostKey, CertType: ssh.UserCert, ValidPrincipals: []string{s.Host}},
			HostKeyNew, "user",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			// x/crypto's server, as OpenSSH's reads certificates when it starts.
			c := *test.cert
			certify(t, authority, &c)
			v := &hostVerifier{ctx: t.Context(), o: &Options{Host: s.Host, Port: 2222}, hooks: &testHooks{}, known: knownhosts.Parse(test.known)}
			h := v.hooks.(*testHooks)
			err := v.decide(&c)
			if test.state == "" {
				if err != nil || len(h.hostKeys) > 0 {
					t.Fatalf("got %v, asked %+v", err, h.hostKeys)
				}
				return
			}
			expectCode(t, err, CodeHostKey)
			if len(h.hostKeys) != 1 || h.hostKeys[0].State != test.state || !strings.Contains(h.hostKeys[0].Note, test.note) {
				t.Errorf("asked %+v, want %s with %q", h.hostKeys, test.state, test.note)
			}
		})
	}
}
