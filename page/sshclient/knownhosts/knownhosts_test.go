package knownhosts

import (
	"strings"
	"testing"

	"wsproxy/internal/testkit/sshd"
)

func TestWildcards(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "", true}, {"*", "a", true}, {"", "", true}, {"", "a", false}, {"a", "a", true}, {"?", "", false},
		{"*.example.com", "a.example.com", true}, {"*.example.com", "example.com", false},
		{"a*b*c", "a1b2c", true}, {"a*b*c", "a1b2", false}, {"[*]:22", "[a]:22", true},
		{strings.Repeat("*a", 500) + "b", strings.Repeat("a", 5000), false}, // at once
	} {
		if got := wildcardMatches(test.pattern, test.name); got != test.want {
			t.Errorf("%q matches %q: %v, want %v", test.pattern, test.name, got, test.want)
		}
	}
}

func FuzzKnownHosts(f *testing.F) {
	_, signer := sshd.NewKey(f)
	line := Line("host", 22, signer.PublicKey())
	for _, seed := range []string{line, "@revoked *" + line, "|1|c2FsdA==|aGFzaA==" + line[4:], "!host,*" + line[4:], "|1|", "@", "* ssh-ed25519 A\x00\n\n"} {
		f.Add(seed, "host", 22)
	}
	f.Fuzz(func(t *testing.T, text, host string, port int) {
		known := Parse(text)
		for _, marker := range []string{"", "revoked", "cert-authority"} {
			known.about(marker, host, port)
		}
		if len(known.Algorithms(host, port)) == 0 {
			t.Error("no kind of key is asked for")
		}
		known.Revoked(host, port, signer.PublicKey())
		known.IsAuthority(host, port, signer.PublicKey())
	})
}
