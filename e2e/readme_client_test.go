package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// install puts the binary where README.md has it.
func (r *readme) install(t *testing.T) {
	t.Helper()
	path, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(r.dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, filepath.Join(r.dir, "bin", "wsproxy")); err != nil {
		t.Fatal(err)
	}
}

// throughSSH runs a line with ssh in it against an sshd of the test's, and copies some
// bytes through it.
func (r *readme) throughSSH(t *testing.T, line string) {
	t.Helper()
	d := startSSHD(t)
	line = strings.Replace(line, "ssh ", fmt.Sprintf("ssh -F none -p %d -i %s -o IdentitiesOnly=yes -o BatchMode=yes -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=known ", d.addr.Port, d.keyFile), 1)
	sent, got := newData(8<<20), newTally()
	cmd := r.command(t, line+" 'cat; exit 42'")
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = sent.reader(), got, &stderr
	var failed *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &failed) || failed.ExitCode() != 42 {
		t.Fatalf("%s: %v, want exit status 42\n%s%s", line, err, &stderr, d.Log())
	}
	got.expect(t, sent)
}

// exposed starts a line with expose in it, waits for the public address, and asks it.
func (r *readme) exposed(t *testing.T, line string) {
	t.Helper()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s reached a local service\n", r.URL.Path)
	}))
	t.Cleanup(service.Close)
	_, port, _ := net.SplitHostPort(service.Listener.Addr().String())
	line, found := strings.CutSuffix(line, " 3000")
	if !found {
		t.Fatalf("%s doesn't expose port 3000", line)
	}
	cmd := r.command(t, "exec "+line+" "+port)
	said := &output{}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	address := regexp.MustCompile(`http://[0-9a-f]{16}\.tunnel\.localhost:\d+`)
	eventually(t, patience, "a public address", func() bool { return address.MatchString(said.String()) })
	if got := r.run(t, "curl -sS "+address.FindString(said.String())+"/hello"); got != "/hello reached a local service\n" {
		t.Errorf("the public address answers %q\n%s", got, said)
	}
	eventually(t, patience, "a line about the request", func() bool { return strings.Contains(said.String(), "/hello") })
	_ = cmd.Process.Signal(os.Interrupt)
	if err := <-ended; err != nil {
		t.Errorf("after an interrupt: %v\n%s", err, said)
	}
}

// The first screen of README.md: a server, ssh through it, and a local service for
// everybody, each in one line.
func TestReadmeFirstScreen(t *testing.T) {
	t.Parallel()
	r := followReadme(t)
	r.install(t)
	r.throughSSH(t, r.find(t, `\n    (ssh -o ProxyCommand='bin/wsproxy connect [^']*' 127\.0\.0\.1) +# `)[0])
	r.exposed(t, r.find(t, `\n    (bin/wsproxy expose \S+ 3000) +# `)[0])
}

// A port of this machine leads to one of the server's side.
func TestReadmeListens(t *testing.T) {
	t.Parallel()
	r := followReadme(t)
	r.install(t)
	_, far, _ := net.SplitHostPort(echoServer(t).String())
	line := r.find(t, `\n    (bin/wsproxy connect -L \S+ \S+ \S+ 5432)\n`)[0]
	line = strings.Replace(strings.Replace(line, "127.0.0.1:15432", "127.0.0.1:0", 1), " 5432", " "+far, 1)
	cmd := r.command(t, "exec "+line)
	said := &output{}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	listens := regexp.MustCompile(`listening on (\S+),`)
	eventually(t, patience, "it listens", func() bool { return listens.MatchString(said.String()) })
	conn, err := net.Dial("tcp4", listens.FindStringSubmatch(said.String())[1])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tunnelPing(conn); err != nil {
		t.Error(err)
	}
	conn.Close()
	_ = cmd.Process.Signal(os.Interrupt)
	if err := <-ended; err != nil {
		t.Errorf("after an interrupt: %v\n%s", err, said)
	}
}

// Two commands give a server that asks for tokens, and a third one a token.
func TestReadmeAuthentication(t *testing.T) {
	t.Parallel()
	r := followReadme(t)
	r.install(t)
	r.run(t, r.find(t, `\n    (bin/wsproxy keygen keys)\n`)[0])
	setting := r.find(t, `\n    (CLERK_JWKS_URL=\S+) make run\n`)[0]
	s := makeRun(t, strings.ReplaceAll(setting, "$PWD", r.dir))
	_, was, _ := net.SplitHostPort(r.find(t, `\n    curl http://(127.0.0.1:\d+)/health\n`)[0])
	_, port, _ := net.SplitHostPort(s.addr)
	r.text = strings.ReplaceAll(r.text, "127.0.0.1:"+was, "127.0.0.1:"+port)
	line := r.find(t, `\n    (ssh -o ProxyCommand='bin/wsproxy connect [^']*' 127\.0\.0\.1) +# `)[0]
	var stderr bytes.Buffer
	cmd := r.command(t, strings.Replace(line, "ssh ", "ssh -F none ", 1))
	cmd.Stderr = &stderr
	if err := cmd.Run(); err == nil || !strings.Contains(stderr.String(), "WSPROXY_TOKEN") {
		t.Errorf("without a token: %v, %s", err, &stderr)
	}
	r.throughSSH(t, r.find(t, `\n    (export WSPROXY_TOKEN=.*)\n`)[0]+" && "+line)
}
