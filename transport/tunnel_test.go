package transport

import (
	"strings"
	"testing"

	"wsproxy/messages"
)

var tunnelHosts = []struct {
	host, label string
	ours        bool
}{
	{"0123456789abcdef.t.example", "0123456789abcdef", true},
	{"0123456789ABCDEF.T.Example", "0123456789abcdef", true},
	{"a.t.example:8080", "a", true}, {"a.t.example.", "a", true}, {"a.t.example.:80", "a", true}, {"a.t.example:", "a", true},
	{"a.b.t.example", "a.b", true}, {".t.example", "", true}, {"a..t.example", "a.", true},
	{"t.example", "t.example", false}, {"t.example:80", "t.example", false}, {"at.example", "at.example", false}, {"a.t.example.com", "a.t.example.com", false},
	{"", "", false}, {":80", "", false}, {".", "", false}, {"[::1]", "[::1]", false}, {"[::1]:80", "[::1]", false}, {"127.0.0.1:80", "127.0.0.1", false},
	{"a.t.example..", "a.t.example.", false}, {"a.t.example:80:90", "a.t.example:80", false}, {"[a.t.example]", "[a.t.example]", false},
}

func TestSubdomainOfAHost(t *testing.T) {
	for _, c := range tunnelHosts {
		label, ours := (&Tunnels{Domain: "t.example"}).subdomain(c.host)
		if label != c.label || ours != c.ours {
			t.Errorf("%q: %q, %t", c.host, label, ours)
		}
	}
}

// A host is the tunnels' if and only if it is a name below their domain. What
// net/http would let through must not be told apart by case, port or last dot.
func FuzzTunnelHost(f *testing.F) {
	for _, c := range tunnelHosts {
		f.Add(c.host)
	}
	f.Fuzz(func(t *testing.T, host string) {
		s := &Tunnels{Domain: "t.example"}
		label, ours := s.subdomain(host)
		if ours && !strings.Contains(strings.ToLower(host), label+".t.example") {
			t.Fatalf("%q is ours, as %q", host, label)
		}
		if messages.IsSubdomain(label) && ours {
			for _, form := range []string{label + ".t.example", strings.ToUpper(label) + ".T.EXAMPLE:1", label + ".t.example.:65535", label + ".t.example."} {
				if again, ours := s.subdomain(form); again != label || !ours {
					t.Fatalf("%q is %q, %q is %q", host, label, form, again)
				}
			}
		}
		if !strings.ContainsAny(host, ":.[]") {
			if got, ours := s.subdomain(host + ".t.example:80"); !ours || got != strings.ToLower(host) {
				t.Fatalf("%q below the domain is %q, %t", host, got, ours)
			}
			if _, ours := s.subdomain(host + "t.example"); ours {
				t.Fatalf("%q is ours", host+"t.example")
			}
		}
	})
}
