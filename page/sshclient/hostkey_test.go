package sshclient

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"wsproxy/internal/testkit/sshd"
	"wsproxy/page/sshclient/knownhosts"
)

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestHostKeys(t *testing.T) {
	t.Parallel()
	s := sshd.Start(t)
	_, other := sshd.NewKey(t)
	keyText := string(ssh.MarshalAuthorizedKey(s.HostKey))
	otherText := string(ssh.MarshalAuthorizedKey(other.PublicKey()))
	name := knownhosts.Name(s.Host, s.Port)
	hashed := filepath.Join(t.TempDir(), "known_hosts")
	write(t, hashed, s.KnownHosts())
	if out, err := exec.Command("ssh-keygen", "-H", "-f", hashed).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	hashedText, err := os.ReadFile(hashed)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(hashedText), s.Host) {
		t.Fatal("nothing was hashed")
	}
	for _, test := range []struct {
		name, known string
		decision    Decision
		state       string // of the question, "" for none
		remembered  bool
		in          bool
	}{
		{"known", s.KnownHosts(), Refuse, "", false, true},
		{"known among nonsense", "nonsense\n# a comment\n\nhost ssh-ed25519 AAAA\n" + s.KnownHosts(), Refuse, "", false, true},
		{"hashed", string(hashedText), Refuse, "", false, true},
		{"pattern", "[127.?.0.*]:* " + keyText, Refuse, "", false, true},
		{"negated", "!" + name + ",[*]:* " + keyText, Refuse, HostKeyNew, false, false},
		{"without the port", "127.0.0.1 " + keyText, Refuse, "", false, true},
		{"another key without the port", "127.0.0.1 " + otherText, Refuse, HostKeyNew, false, false},
		{"refused", "", Refuse, HostKeyNew, false, false},
		{"no decision", "", "", HostKeyNew, false, false},
		{"once", "", Once, HostKeyNew, false, true},
		{"remembered", "", Remember, HostKeyNew, true, true},
		{"changed", name + " " + otherText, Remember, HostKeyChanged, false, false},
		{"changed, of two", name + " " + otherText + s.KnownHosts(), Refuse, "", false, true},
		{"revoked", "@revoked * " + keyText + s.KnownHosts(), Remember, HostKeyRevoked, false, false},
		{"another revoked", "@revoked * " + otherText + s.KnownHosts(), Refuse, "", false, true},
		{"revoked elsewhere", "@revoked other " + keyText + s.KnownHosts(), Refuse, "", false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := &testHooks{decision: test.decision}
			o := of(s)
			o.KnownHosts = test.known
			c, err := Connect(t.Context(), s.Dial(t), o, h)
			if err == nil {
				c.Close()
				c.End()
			}
			if test.in && err != nil {
				t.Errorf("no login: %v", err)
			} else if !test.in {
				expectCode(t, err, CodeHostKey, s.Host)
			}
			states := []string{}
			for _, q := range h.hostKeys {
				states = append(states, q.State)
				if q.Fingerprint != ssh.FingerprintSHA256(s.HostKey) || q.Type != "ssh-ed25519" || q.Host != s.Host || q.Port != s.Port {
					t.Errorf("asked %+v", q)
				}
				if q.State == HostKeyChanged && (len(q.Known) != 1 || q.Known[0].Fingerprint != ssh.FingerprintSHA256(other.PublicKey())) {
					t.Errorf("known are %+v", q.Known)
				}
			}
			if want := []string{test.state}; test.state != "" && !slices.Equal(states, want) || test.state == "" && len(states) > 0 {
				t.Errorf("asked about %q, want %q", states, test.state)
			}
			if want := []string{strings.TrimSpace(s.KnownHosts())}; test.remembered && !slices.Equal(h.remembered, want) || !test.remembered && len(h.remembered) > 0 {
				t.Errorf("remembered %q", h.remembered)
			}
		})
	}
}

// The server has several keys, and must show the one by which it is known.
func TestKnownKindIsPreferred(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rsaFile := filepath.Join(dir, "rsa")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", rsaFile).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s := sshd.Start(t, "HostKey "+rsaFile)
	public, err := os.ReadFile(rsaFile + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	o := of(s)
	o.KnownHosts = knownhosts.Name(s.Host, s.Port) + " " + string(public)
	h := &testHooks{learned: make(chan string, 8)}
	loginTo(t, s, o, h)
	if len(h.hostKeys) > 0 {
		t.Errorf("asked %+v", h.hostKeys)
	}
	// And it tells of its other key, which is kept.
	if line := <-h.learned; line+"\n" != s.KnownHosts() {
		t.Errorf("learned %q, want %q", line, s.KnownHosts())
	}
}
