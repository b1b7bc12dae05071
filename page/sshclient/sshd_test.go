package sshclient

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"io"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"wsproxy/internal/testkit/sshd"
)

// permit adds keys to those that sshd lets in.
func permit(t *testing.T, s *sshd.Server, lines ...string) {
	t.Helper()
	s.Write(t, "authorized_keys", strings.Join(lines, "\n")+"\n")
}

func TestTerminal(t *testing.T) {
	t.Parallel()
	s := sshd.Start(t, "AcceptEnv LC_TEST")
	c := loginTo(t, s, of(s), &testHooks{})
	if !strings.HasPrefix(c.ServerVersion(), "SSH-2.0-OpenSSH") {
		t.Errorf("the server is %q", c.ServerVersion())
	}
	show := make(chan []byte, 1024)
	shell, err := c.OpenShell(t.Context(), ShellOptions{
		Term: "xterm", Cols: 80, Rows: 24, Env: map[string]string{"LC_TEST": "there"},
		Command: "PS1='ready> ' ENV= exec sh -i",
	}, func(data []byte, _ bool) error {
		show <- bytes.Clone(data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	seen := ""
	expect := func(text string) {
		t.Helper()
		for !strings.Contains(seen, text) {
			select {
			case data := <-show:
				seen += string(data)
			case <-shell.Ended():
				t.Fatalf("no %q on the screen: %q", text, seen)
			}
		}
		_, seen, _ = strings.Cut(seen, text)
	}
	write := func(line string) {
		t.Helper()
		if _, err := io.WriteString(shell, line); err != nil {
			t.Fatal(err)
		}
	}
	expect("ready> ")
	write("echo $LC_TEST; stty size\r")
	expect("there\r\n")
	expect("24 80\r\n")
	if err := shell.Resize(132, 50); err != nil {
		t.Fatal(err)
	}
	write("stty size\r")
	expect("50 132")
	write("exit 7\r")
	if end := shell.End(); !end.HasStatus || end.Status != 7 {
		t.Errorf("ended by %+v", end)
	}
	if _, err := shell.Write([]byte("x")); err == nil {
		t.Error("an ended shell took input")
	}
	if _, err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestShellEnds(t *testing.T) {
	t.Parallel()
	s := sshd.Start(t)
	c := loginTo(t, s, of(s), &testHooks{})
	text, end := output(t, c, "echo out; echo err >&2; exit 3")
	if !strings.Contains(text, "out\n") || !strings.Contains(text, "err\n") || end.Status != 3 {
		t.Errorf("got %q, %+v", text, end)
	}
	if _, end := output(t, c, "kill -KILL $$"); end.Signal != "KILL" || end.HasStatus {
		t.Errorf("a killed shell ended by %+v", end)
	}
	shell, err := c.OpenShell(t.Context(), ShellOptions{Command: "cat"}, func([]byte, bool) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if end := shell.End(); end.HasStatus || end.Message == "" {
		t.Errorf("a shell without its connection ended by %+v", end)
	}
	if _, err := c.OpenShell(t.Context(), ShellOptions{}, nil); err == nil {
		t.Error("a shell was opened without a connection")
	} else {
		expectCode(t, err, CodeClosed)
	}
}

// Nothing is lost when the page is slow, and input passes meanwhile.
func TestFloodIsHeldUp(t *testing.T) {
	t.Parallel()
	s := sshd.Start(t)
	c := loginTo(t, s, of(s), &testHooks{})
	const size = 20 << 20
	held, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	sum, total := sha256.New(), 0
	shell, err := c.OpenShell(t.Context(), ShellOptions{Command: "head -c 20971520 /dev/zero | tee /dev/stderr | sha256sum >sum; cat sum"}, func(data []byte, stderr bool) error {
		if stderr {
			once.Do(func() { close(held) })
			<-release
			sum.Write(data)
			total += len(data)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	<-held
	if _, err := c.Ping(t.Context()); err != nil {
		t.Errorf("nothing passes while a shell is held up: %v", err)
	}
	if _, err := shell.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	close(release)
	shell.End()
	if want := sha256.Sum256(make([]byte, size)); total != size || !bytes.Equal(sum.Sum(nil), want[:]) {
		t.Errorf("%d bytes came of %d, or others", total, size)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	s := sshd.Start(t)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ecDER, err := x509.MarshalECPrivateKey(ecKey)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)})
	sec1 := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: ecDER})
	//lint:ignore SA1019 people have such files
	oldBlock, err := x509.EncryptPEMBlock(rand.Reader, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey), []byte("secret"), x509.PEMCipherAES128)
	if err != nil {
		t.Fatal(err)
	}
	encrypted, encryptedPublic := keygen(t, "ed25519", "secret", "mine")
	pkcs8, pkcs8Public := keygen(t, "ecdsa", "secret", "pkcs8", "-m", "PKCS8")
	other, _ := keygen(t, "ed25519", "secret", "other")
	line := func(key any) string {
		public, err := ssh.NewPublicKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return string(ssh.MarshalAuthorizedKey(public))
	}
	permit(t, s, line(rsaKey.Public()), line(ecKey.Public()), encryptedPublic, pkcs8Public)

	crlf := strings.ReplaceAll("  "+string(pkcs1), "\n", "\r\n") + "\r\n"
	for _, test := range []struct {
		name    string
		keys    []Key
		answers [][]string
		kinds   []string
		code    Code
	}{
		{name: "PKCS #1, as pasted", keys: []Key{{PrivateKey: crlf}}},
		{name: "SEC 1", keys: []Key{{PrivateKey: string(sec1)}}},
		{name: "passphrase given", keys: []Key{{PrivateKey: encrypted, Passphrase: "secret"}}},
		{name: "passphrase asked for", keys: []Key{{PrivateKey: encrypted}}, answers: [][]string{{"wrong"}, {"secret"}}, kinds: []string{KindPassphrase, KindPassphrase + "!"}},
		{name: "a wrong one given", keys: []Key{{PrivateKey: encrypted, Passphrase: "wrong"}}, answers: [][]string{{"secret"}}, kinds: []string{KindPassphrase}},
		{name: "old PEM, which hides the public half", keys: []Key{{PrivateKey: string(pem.EncodeToMemory(oldBlock))}}, answers: [][]string{{"secret"}}, kinds: []string{KindPassphrase}},
		{name: "encrypted PKCS #8", keys: []Key{{PrivateKey: pkcs8}}, answers: [][]string{{"wrong"}, {"secret"}}, kinds: []string{KindPassphrase, KindPassphrase + "!"}},
		{name: "a key that the server doesn't want is not decrypted", keys: []Key{{PrivateKey: other}, {PrivateKey: string(sec1)}}},
		{name: "a passed over key", keys: []Key{{PrivateKey: encrypted}, {PrivateKey: string(sec1)}}, answers: [][]string{{""}}, kinds: []string{KindPassphrase}},
		{name: "given up", keys: []Key{{PrivateKey: encrypted}, {PrivateKey: string(sec1)}}, kinds: []string{KindPassphrase}, code: CodeCancelled},
		{name: "all wrong", keys: []Key{{PrivateKey: encrypted}}, answers: [][]string{{"1"}, {"2"}, {"3"}}, kinds: []string{KindPassphrase, KindPassphrase + "!", KindPassphrase + "!!"}, code: CodeAuth},
		{name: "an unknown key", keys: []Key{{PrivateKey: other}}, code: CodeAuth},
		{name: "no key", keys: []Key{{PrivateKey: encryptedPublic}}, code: CodeFailed},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := &testHooks{answers: test.answers}
			o := of(s)
			o.Keys = test.keys
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
				t.Errorf("no login: %v", err)
			}
		})
	}
}

// sshd ends what tries too often, and says so.
func TestTooManyKeys(t *testing.T) {
	t.Parallel()
	s := sshd.Start(t, "MaxAuthTries 2")
	o := of(s)
	o.Keys = nil
	for range 4 {
		text, _ := sshd.NewKey(t)
		o.Keys = append(o.Keys, Key{PrivateKey: text})
	}
	_, err := Connect(t.Context(), s.Dial(t), o, &testHooks{})
	expectCode(t, err, CodeAuth, "Too many authentication failures")
}

func TestDialAndHalfClose(t *testing.T) {
	t.Parallel()
	s := sshd.Start(t)
	c := loginTo(t, s, of(s), &testHooks{})
	// sshd itself is a service that says its version and ends when the other side does.
	stream, err := c.Dial(t.Context(), s.Host, s.Port)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(stream)
	if err != nil || !strings.HasPrefix(string(text), "SSH-2.0-") {
		t.Errorf("read %q, %v", text, err)
	}
	stream.Close()
	<-stream.Closed()
	// Nobody listens on port 1.
	_, err = c.Dial(t.Context(), "127.0.0.1", 1)
	expectCode(t, err, CodeNetwork, "can't reach 127.0.0.1:1")

	stream, err = c.Dial(t.Context(), s.Host, s.Port)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if _, err := io.ReadAll(stream); err == nil {
		t.Error("a stream that was cut off ended in order")
	}
}

func TestJumpHosts(t *testing.T) {
	t.Parallel()
	outer, inner := sshd.Start(t), sshd.Start(t)
	first, second, third := of(outer), of(inner), of(inner)
	second.Jump, third.Jump = &first, &second
	c := loginTo(t, outer, third, &testHooks{})
	if text, _ := output(t, c, "echo $HOME"); strings.TrimSpace(text) != inner.Dir {
		t.Errorf("the shell is at %q, want %q", text, inner.Dir)
	}
	c.outer.outer.Close()
	if end := c.End(); end.Reason != CodeClosed {
		t.Errorf("without its jump host it ended by %+v", end)
	}

	// Each host asks for itself.
	locked, lockedPublic := keygen(t, "ed25519", "secret", "")
	permit(t, outer, lockedPublic, string(ssh.MarshalAuthorizedKey(outer.Signer.PublicKey())))
	h := &testHooks{answers: [][]string{{"secret"}}, decision: Once}
	first.Keys, second.KnownHosts = []Key{{PrivateKey: locked}}, ""
	loginTo(t, outer, second, h)
	h.expectKinds(t, KindPassphrase)
	if len(h.hostKeys) != 1 || h.hostKeys[0].Port != inner.Port {
		t.Errorf("asked about %+v", h.hostKeys)
	}

	first.Keys = nil
	_, err := Connect(t.Context(), outer.Dial(t), third, &testHooks{})
	expectCode(t, err, CodeAuth)
	first.Keys, second.Port = third.Keys, 1
	first = of(outer)
	_, err = Connect(t.Context(), outer.Dial(t), second, &testHooks{})
	expectCode(t, err, CodeNetwork, "can't reach 127.0.0.1:1")
}

func TestAgentIsForwarded(t *testing.T) {
	t.Parallel()
	s := sshd.Start(t)
	encrypted, encryptedPublic := keygen(t, "ed25519", "secret", "locked")
	locked, err := DescribeKey(encryptedPublic, "")
	if err != nil {
		t.Fatal(err)
	}
	o := of(s)
	o.Keys = append(o.Keys, Key{PrivateKey: encrypted})
	if text, _ := output(t, loginTo(t, s, o, &testHooks{}), "ssh-add -l 2>&1"); strings.Contains(text, "SHA256") {
		t.Errorf("an agent was forwarded that was not to be: %q", text)
	}
	o.AgentForward = true
	h := &testHooks{answers: [][]string{{"secret"}}}
	c := loginTo(t, s, o, h)
	text, _ := output(t, c, "ssh-add -l")
	if !strings.Contains(text, ssh.FingerprintSHA256(s.Signer.PublicKey())) || !strings.Contains(text, locked.Fingerprint) {
		t.Errorf("the agent has %q", text)
	}
	h.expectKinds(t)
	// Each signs, and the locked one asks for its passphrase then.
	text, _ = output(t, c, "ssh-add -L >keys; while read -r t k n; do echo $t $k >one.pub; ssh-add -T one.pub && echo signed; done <keys 2>&1")
	if strings.Count(text, "signed") != 2 {
		t.Errorf("signing says %q", text)
	}
	h.expectKinds(t, KindPassphrase)
	if text, _ = output(t, c, "ssh-add -D 2>&1; ssh-add -l | wc -l"); !strings.Contains(text, "2") {
		t.Errorf("the server could change the agent: %q", text)
	}
}
