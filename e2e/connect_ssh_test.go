package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A connectRig is OpenSSH's tools, an sshd, and `wsproxy connect` between them as
// ssh's ProxyCommand.
type connectRig struct {
	sshd   *sshd
	config string // a file for ssh -F, in which the host `there` is the sshd's
	dir    string
}

// newConnectRig has everything go through a server's address.
func newConnectRig(t *testing.T, binary, url string, flags ...string) *connectRig {
	t.Helper()
	r := &connectRig{sshd: startSSHD(t), dir: t.TempDir()}
	r.config = filepath.Join(r.dir, "config")
	text := fmt.Sprintf(`Host there
	HostName 127.0.0.1
	Port %d
	User %s
	IdentityFile %s
	IdentitiesOnly yes
	BatchMode yes
	StrictHostKeyChecking no
	UserKnownHostsFile /dev/null
	LogLevel ERROR
	ProxyCommand %s connect %s %s %%h %%p
`, r.sshd.addr.Port, r.sshd.User, r.sshd.keyFile, binary, strings.Join(flags, " "), url)
	if err := os.WriteFile(r.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

// run runs one of OpenSSH's tools and expects an exit status. Nothing may come on
// standard error: a tool's user would see it.
func (r *connectRig) run(t *testing.T, status int, in io.Reader, out io.Writer, name string, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, tunnelTool(t, name), args...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Dir = in, out, &stderr, r.dir
	// ssh does not wait for its ProxyCommand, which may still have to close a session whose
	// last WebSocket was cut.
	cmd.WaitDelay = patience
	var failed *exec.ExitError
	err := cmd.Run()
	if got := cmd.ProcessState.ExitCode(); got != status || err != nil && !errors.As(err, &failed) || stderr.Len() > 0 {
		t.Errorf("%s %q: %v, want exit status %d, and nothing but silence: %s\n%s", name, args, err, status, &stderr, r.sshd.Log())
	}
}

// noise makes a file.
func (r *connectRig) noise(t *testing.T, name string, seed uint64, size int64) (path string) {
	t.Helper()
	path = filepath.Join(r.dir, name)
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := io.CopyN(file, tunnelNoise(seed), size); err != nil {
		t.Fatal(err)
	}
	return path
}

// wantFile fails unless a file of the rig is noise.
func (r *connectRig) wantFile(t *testing.T, name string, seed uint64, size int64) {
	t.Helper()
	file, err := os.Open(filepath.Join(r.dir, name))
	if err != nil {
		t.Error(err)
		return
	}
	defer file.Close()
	wantNoise(t, name, file, seed, size)
}

// ssh, scp, sftp and rsync each way at once, while the network is cut over and over.
func TestConnectOpenSSHThroughCuts(t *testing.T) {
	t.Parallel()
	binary, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	// A cut may take a client's answer to the server's close, which is the last that the client
	// says: such a session waits until its time is over.
	s := resumePlainServer(t, "RESUME_TIMEOUT=40s")
	p := newCutter(t, s.addr)
	p.harass(sshCutLeast, sshCutMost, p.random)
	r := newConnectRig(t, binary, "ws://"+p.l.Addr().String())
	size := resumeBig(24 << 20)
	r.noise(t, "from", 6, size)
	for _, dir := range []string{"sftp", "rsync", "scp"} {
		if err := os.Mkdir(filepath.Join(r.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	batch := filepath.Join(r.dir, "batch")
	if err := os.WriteFile(batch, fmt.Appendf(nil, "put from %[1]s/sftp/there\nget %[1]s/from sftp/back\n", r.dir), 0o600); err != nil {
		t.Fatal(err)
	}

	var all sync.WaitGroup
	all.Go(func() {
		sent, got := newData(size), newTally()
		r.run(t, 42, sent.reader(), got, "ssh", "-F", r.config, "there", "cat; exit 42")
		got.expect(t, sent)
	})
	all.Go(func() { r.run(t, 0, nil, io.Discard, "scp", "-q", "-F", r.config, "from", "there:"+r.dir+"/scp/there") })
	all.Go(func() { r.run(t, 0, nil, io.Discard, "scp", "-q", "-F", r.config, "there:"+r.dir+"/from", "scp/back") })
	all.Go(func() { r.run(t, 0, nil, io.Discard, "sftp", "-q", "-F", r.config, "-b", batch, "there") })
	all.Go(func() {
		r.run(t, 0, nil, io.Discard, "rsync", "-W", "-e", "ssh -F "+r.config, "from", "there:"+r.dir+"/rsync/there")
		r.run(t, 0, nil, io.Discard, "rsync", "-W", "-e", "ssh -F "+r.config, "there:"+r.dir+"/from", "rsync/back")
	})
	all.Wait()
	for _, dir := range []string{"scp", "sftp", "rsync"} {
		r.wantFile(t, dir+"/there", 6, size)
		r.wantFile(t, dir+"/back", 6, size)
	}
	// On a machine that is quick all of it may have fallen between two cuts.
	for began := time.Now(); strings.Count(s.log(), `"msg":"relay resumed"`) < 5 && !t.Failed(); {
		if time.Since(began) > patience {
			t.Fatal("hardly any session was taken up: the cuts test nothing")
		}
		r.run(t, 0, nil, io.Discard, "scp", "-q", "-F", r.config, "from", "there:"+r.dir+"/scp/there")
		r.wantFile(t, "scp/there", 6, size)
	}
	p.calm.Store(true)
	eventually(t, patience, "all relays have ended", func() bool {
		return strings.Count(s.log(), `"msg":"relay ended"`) == strings.Count(s.log(), `"msg":"relay started"`)
	})
}

// What refuses says why in one line, and how to mend it; the exit status is 1.
func TestConnectSaysWhy(t *testing.T) {
	t.Parallel()
	s := start(t, "ALLOWED_TARGETS=127.0.0.0/8", "MAX_CONNS_PER_IP=1")
	free, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, closed, _ := net.SplitHostPort(free.Addr().String())
	free.Close()
	url := "ws://" + s.addr
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{url, "10.0.0.1", "22"}, "not allowed"},
		{[]string{url, "127.0.0.1", closed}, "cannot reach target"},
		{[]string{"ws://127.0.0.1:" + closed, "127.0.0.1", "22"}, "connection refused"},
		{[]string{url, "127.0.0.1", "ssh"}, "port"},
		{[]string{"ftp://127.0.0.1", "127.0.0.1", "22"}, "wss://"},
		{[]string{"127.0.0.1", "22"}, "WSPROXY_URL"},
	} {
		out, err := connectCommand(t, test.args...).CombinedOutput()
		text, _ := strings.CutSuffix(string(out), "wsproxy connect --help tells what it takes\n")
		if err == nil || strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, "wsproxy connect: ") || !strings.Contains(text, test.want) {
			t.Errorf("connect %q: %v, it says %q, which should name %q", test.args, err, text, test.want)
		}
	}

	// The second one is beyond the limit.
	far := echoServer(t)
	_, port, _ := net.SplitHostPort(far.String())
	first := connectCommand(t, url, "127.0.0.1", port)
	in, _ := first.StdinPipe()
	answer, _ := first.StdoutPipe()
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = in.Write([]byte("x"))
	if _, err := io.ReadFull(answer, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	out, err := connectCommand(t, url, "127.0.0.1", port).CombinedOutput()
	if text := string(out); err == nil || !strings.Contains(text, "Too many sessions from your address") {
		t.Errorf("beyond the limit: %v, %q", err, text)
	}
	in.Close()
	if err := first.Wait(); err != nil {
		t.Errorf("an orderly end: %v", err)
	}
}

// connectCommand is `wsproxy connect` under the race detector.
func connectCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, binaryPath, append([]string{"connect"}, args...)...)
	cmd.Env = append(os.Environ(), "NO_PROXY=*", "GORACE=atexit_sleep_ms=0")
	return cmd
}

// With -L each connection to a port of this machine is a relay.
func TestConnectListens(t *testing.T) {
	t.Parallel()
	s := resumeServer(t)
	far := echoServer(t)
	_, port, _ := net.SplitHostPort(far.String())
	cmd := connectCommand(t, "-L", "127.0.0.1:0", "ws://"+s.addr, "127.0.0.1", port)
	said := &output{}
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var address string
	eventually(t, patience, "it listens", func() bool {
		_, after, found := strings.Cut(said.String(), "listening on ")
		address, _, _ = strings.Cut(after, ",")
		return found && strings.Contains(after, "\n")
	})
	for i := range uint64(3) {
		conn, err := net.Dial("tcp4", address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		go func() {
			_, _ = io.CopyN(conn, tunnelNoise(i), 1<<20)
			_ = conn.(*net.TCPConn).CloseWrite()
		}()
		wantNoise(t, "the echo", conn, i, 1<<20)
	}
	_ = cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err != nil {
		t.Errorf("after an interrupt: %v\n%s", err, said)
	}
}

// A relay that is cut is reset at its target before the command ends: nothing is
// left that the server would keep for another WebSocket.
func TestConnectCut(t *testing.T) {
	t.Parallel()
	s := resumeServer(t)
	for name, cut := range map[string]func(cmd *exec.Cmd, out io.Closer, target net.Conn){
		"a signal": func(cmd *exec.Cmd, _ io.Closer, _ net.Conn) { _ = cmd.Process.Signal(os.Interrupt) },
		"nobody reads the output": func(_ *exec.Cmd, out io.Closer, target net.Conn) {
			_ = out.Close()
			_, _ = target.Write([]byte("answer"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			_, port, _ := net.SplitHostPort(l.Addr().String())
			cmd := connectCommand(t, "ws://"+s.addr, "127.0.0.1", port)
			in, _ := cmd.StdinPipe()
			defer in.Close()
			out, _ := cmd.StdoutPipe()
			said := &output{}
			cmd.Stderr = said
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			target, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer target.Close()
			_ = target.SetDeadline(time.Now().Add(patience))
			_, _ = in.Write([]byte("question"))
			if _, err := io.ReadFull(target, make([]byte, len("question"))); err != nil {
				t.Fatal(err)
			}
			cut(cmd, out, target)
			if _, err := io.Copy(io.Discard, target); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the target reads %v, want a reset", err)
			}
			if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 {
				t.Errorf("the command ends with %v\n%s", err, said)
			}
		})
	}
}
