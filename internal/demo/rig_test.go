package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/crypto/ssh"
)

// patience is how long anything may take on a busy machine.
const patience = 30 * time.Second

// A rig is the SSH server, and OpenSSH's client with all that it needs to log in.
type rig struct {
	*sshServer
	t   *testing.T
	dir string
	env []string
}

func newRig(t *testing.T) *rig {
	t.Helper()
	t.Setenv("SHELL", "/bin/sh")
	t.Setenv("MAKEFLAGS", "-w") // as `make demo` has it
	server, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{sshServer: server, t: t, dir: t.TempDir()}
	t.Cleanup(func() {
		server.close()
		if n := len(server.conns); n > 0 {
			t.Errorf("%d connections are left", n)
		}
	})
	known := fmt.Sprintf("[127.0.0.1]:%d %s", server.port(), ssh.MarshalAuthorizedKey(server.key.PublicKey()))
	r.write("known_hosts", known, 0o600)
	r.askpass(server.password)
	r.env = append(os.Environ(), "SSH_ASKPASS="+filepath.Join(r.dir, "askpass"), "SSH_ASKPASS_REQUIRE=force")
	return r
}

func (r *rig) write(name, text string, mode os.FileMode) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), mode); err != nil {
		r.t.Fatal(err)
	}
}

// askpass answers each question with a password.
func (r *rig) askpass(password string) {
	r.write("askpass", "#!/bin/sh\necho '"+password+"'\n", 0o700)
}

// options are those of ssh and sftp alike.
func (r *rig) options() []string {
	return []string{"-F", "/dev/null", "-o", "UserKnownHostsFile=" + filepath.Join(r.dir, "known_hosts"), "-o", "StrictHostKeyChecking=yes",
		"-o", "PreferredAuthentications=password", "-o", "NumberOfPasswordPrompts=1", "-o", "LogLevel=ERROR"}
}

// ssh is a command, which ends with the test.
func (r *rig) ssh(args ...string) *exec.Cmd {
	all := append(r.options(), "-p", strconv.Itoa(r.port()))
	cmd := exec.CommandContext(r.t.Context(), "ssh", append(all, args...)...)
	cmd.Env = r.env
	return cmd
}

func (r *rig) login() string { return demoUser + "@127.0.0.1" }

// run runs a command in the shell.
func (r *rig) run(stdin io.Reader, args ...string) (stdout, stderr string, status int) {
	r.t.Helper()
	cmd := r.ssh(append([]string{r.login()}, args...)...)
	var out, err bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &err
	_ = cmd.Run()
	return out.String(), err.String(), cmd.ProcessState.ExitCode()
}

// A window is a terminal of the test's, in which ssh runs.
type window struct {
	*os.File
	t    *testing.T
	cmd  *exec.Cmd
	seen strings.Builder
	in   *bufio.Reader
}

func (r *rig) window(size pty.Winsize, args ...string) *window {
	r.t.Helper()
	cmd := r.ssh(args...)
	f, err := pty.StartWithSize(cmd, &size)
	if err != nil {
		r.t.Fatal(err)
	}
	w := &window{File: f, t: r.t, cmd: cmd, in: bufio.NewReader(f)}
	late := time.AfterFunc(4*patience, func() { _ = cmd.Process.Kill() }) // then until fails
	r.t.Cleanup(func() {
		late.Stop()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		f.Close()
	})
	return w
}

// until reads until a text has come.
func (w *window) until(text string) {
	w.t.Helper()
	for !strings.Contains(w.seen.String(), text) {
		b, err := w.in.ReadByte()
		if err != nil {
			w.t.Fatalf("%q does not come, %v, but\n%s", text, err, w.seen.String())
		}
		w.seen.WriteByte(b)
	}
	w.seen.Reset()
}

func (w *window) typed(text string) {
	w.t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		w.t.Fatal(err)
	}
}

// alive reports whether a process is there.
func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func wantGone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(patience); alive(pid); <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatal("what ran is still there")
		}
	}
}

// started runs what prints its number and then goes on, and returns that.
func (r *rig) started(cmd *exec.Cmd) (pid int) {
	r.t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		r.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		r.t.Fatal(err)
	}
	if pid, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
		r.t.Fatal(err)
	}
	return pid
}

// client is a client of Go's, for what OpenSSH's doesn't do.
func (r *rig) client() *ssh.Client {
	r.t.Helper()
	c, err := ssh.Dial("tcp", r.address(), &ssh.ClientConfig{
		User: demoUser, Auth: []ssh.AuthMethod{ssh.Password(r.password)}, HostKeyCallback: ssh.FixedHostKey(r.key.PublicKey()),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { c.Close() })
	return c
}
