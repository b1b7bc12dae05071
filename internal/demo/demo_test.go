package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/crypto/ssh"
)

func TestCommands(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		command        string
		stdout, stderr string
		status         int
	}{
		{"echo out; echo err >&2; exit 7", "out\n", "err\n", 7},
		{"true", "", "", 0},
		{`echo "$MAKEFLAGS$SSH_ASKPASS|$HOME|$TERM"`, "|" + os.Getenv("HOME") + "|\n", "", 0},
		{`cd && test "$(pwd -P)" = "$OLDPWD" -o -n "$OLDPWD" && echo there`, "there\n", "", 0},
		{"kill -USR1 $$", "", "", 255}, // what ssh says of a signal
	} {
		stdout, stderr, status := r.run(nil, c.command)
		if stdout != c.stdout || stderr != c.stderr || status != c.status {
			t.Errorf("%s: %q, %q, %d", c.command, stdout, stderr, status)
		}
	}
	mega := make([]byte, 1<<20)
	_, _ = rand.Read(mega)
	if stdout, stderr, status := r.run(bytes.NewReader(mega), "cat"); stdout != string(mega) || status != 0 {
		t.Errorf("a megabyte comes back as %d bytes, %q, %d", len(stdout), stderr, status)
	}
	// A shell reads commands, too.
	if stdout, _, status := r.run(strings.NewReader("echo one\nexit 3\n")); stdout != "one\n" || status != 3 {
		t.Errorf("a shell without a terminal says %q and ends with %d", stdout, status)
	}
}

func TestOnlyTheDemosUserComesIn(t *testing.T) {
	r := newRig(t)
	if _, _, status := r.run(nil, "true"); status != 0 {
		t.Fatalf("the right password ends with %d", status)
	}
	cmd := r.ssh("root@127.0.0.1", "true")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "Permission denied") {
		t.Errorf("root: %s, %v", out, err)
	}
	for _, wrong := range []string{"", "wrong", strings.ToLower(r.password), r.password + "A", r.password[1:]} {
		r.askpass(wrong)
		if _, stderr, status := r.run(nil, "true"); status != 255 || !strings.Contains(stderr, "Permission denied") {
			t.Errorf("with another password: %d, %s", status, stderr)
		}
	}
	other, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	defer other.close()
	if other.password == r.password || len(r.password) != passwordSize || other.fingerprint() == r.fingerprint() {
		t.Error("a second server has the same password, or the same key")
	}
	if !strings.HasPrefix(r.address(), "127.0.0.1:") {
		t.Errorf("it listens on %s", r.address())
	}
}

func TestTerminal(t *testing.T) {
	r := newRig(t)
	r.env = append(r.env, "TERM=xterm-256color")
	w := r.window(pty.Winsize{Rows: 24, Cols: 80}, r.login())
	w.typed("stty size; echo $TERM; tty | cut -c1-5\r") // the echo is of the same text
	w.until("24 80\r\n")
	w.until("xterm-256color\r\n")
	w.until("/dev/\r\n")
	if err := pty.Setsize(w.File, &pty.Winsize{Rows: 40, Cols: 133}); err != nil {
		t.Fatal(err)
	}
	// The keys may be there before the size is.
	w.typed("until stty size | grep '^40 133$'; do sleep 0.02; done\r")
	w.until("40 133\r\n")
	// The interrupt key ends what is in the foreground, and not the shell. Who says that
	// it has begun is there by then: a shell between two commands drops that key.
	w.typed("sh -c 'echo be\"\"gun; exec sleep 1000'\r")
	w.until("begun\r\n")
	w.typed("\x03")
	w.typed("echo st''ill here\r")
	w.until("still here\r\n")
	w.typed("exit 9\r")
	_, _ = io.Copy(io.Discard, w.in)
	_ = w.cmd.Wait()
	if got := w.cmd.ProcessState.ExitCode(); got != 9 {
		t.Errorf("it ends with %d", got)
	}
}

// What a command has written is there whole when it ends, however slow its
// reader is.
func TestNothingIsLostAtTheEnd(t *testing.T) {
	r := newRig(t)
	cmd := r.ssh("-tt", r.login(), "stty raw; head -c 3000000 /dev/zero")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// All buffers on the way are full, or the command has ended, when nobody reads
	// for longer than a terminal is waited for.
	<-time.After(2 * drainTime)
	n, err := io.Copy(io.Discard, out)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if n != 3_000_000 || err != nil {
		t.Errorf("%d bytes come, %v", n, err)
	}
}

// With its client, and with the server, ends what was started, even what would
// rather stay.
func TestWhatRunsEndsWithItsClient(t *testing.T) {
	for _, way := range []string{"the client", "the server"} {
		for _, args := range [][]string{{"-T"}, {"-tt"}} {
			for _, command := range []string{"echo $$; exec sleep 1000", "trap '' HUP; echo $$; while :; do sleep 1; done"} {
				r := newRig(t)
				cmd := r.ssh(append(args, r.login(), command)...)
				pid := r.started(cmd)
				if way == "the client" {
					_ = cmd.Process.Kill()
				} else {
					r.close()
				}
				wantGone(t, pid)
			}
		}
	}
}

func TestSignals(t *testing.T) {
	r := newRig(t)
	c := r.client()
	for _, terminal := range []bool{false, true} {
		s, err := c.NewSession()
		if err != nil {
			t.Fatal(err)
		}
		if terminal {
			if err := s.RequestPty("xterm", 24, 80, nil); err != nil {
				t.Fatal(err)
			}
		}
		out, _ := s.StdoutPipe()
		if err := s.Start("echo ready; exec sleep 1000"); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); !strings.HasPrefix(line, "ready") {
			t.Fatalf("it says %q, %v", line, err)
		}
		if err := s.Signal(ssh.SIGTERM); err != nil {
			t.Fatal(err)
		}
		var exit *ssh.ExitError
		if err := s.Wait(); err == nil || !strings.Contains(err.Error(), "signal TERM") {
			t.Errorf("with a terminal (%v) it ends with %v, %v", terminal, err, exit)
		}
	}
}

// What is asked for in the wrong place is refused, and harms nothing.
func TestRefusedRequests(t *testing.T) {
	r := newRig(t)
	c := r.client()
	s, err := c.NewSession()
	if err != nil {
		t.Fatal(err)
	}
	for _, request := range []struct {
		name    string
		payload any
	}{
		{"window-change", struct{ A, B, C, D uint32 }{1, 2, 3, 4}},
		{"signal", struct{ Name string }{"TERM"}},
		{"env", struct{ Name, Value string }{"LD_PRELOAD", "x"}},
		{"subsystem", struct{ Name string }{"netconf"}},
		{"exec", struct{ Command string }{""}},
		{"pty-req", struct{ Short uint32 }{1}},
		{"x11-req", struct{ A bool }{true}},
	} {
		if ok, err := s.SendRequest(request.name, true, ssh.Marshal(request.payload)); ok || err != nil {
			t.Errorf("%s: %v, %v", request.name, ok, err)
		}
	}
	_ = s.Setenv("LC_ALL", "C")
	if out, err := s.Output("echo $LC_ALL"); string(out) != "C\n" || err != nil {
		t.Errorf("then a command says %q, %v", out, err)
	}
	if _, _, err := c.OpenChannel("x11", nil); err == nil {
		t.Error("a channel of another kind is opened")
	}
	if _, err := c.Listen("tcp", "127.0.0.1:0"); err == nil {
		t.Error("a port of this machine is opened for the client")
	}
}

func TestForwarding(t *testing.T) {
	r := newRig(t)
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			served.Go(func() { // all of it, and its end, before the first byte goes back
				defer conn.Close()
				all, _ := io.ReadAll(conn)
				_, _ = conn.Write(all)
			})
		}
	})
	t.Cleanup(func() { echo.Close(); served.Wait() })
	mega := make([]byte, 1<<20)
	_, _ = rand.Read(mega)
	_, port, _ := net.SplitHostPort(echo.Addr().String())
	for _, host := range []string{"127.0.0.1", "localhost"} {
		cmd := r.ssh("-W", host+":"+port, r.login())
		cmd.Stdin = bytes.NewReader(mega)
		if out, err := cmd.Output(); !bytes.Equal(out, mega) || err != nil {
			t.Errorf("through %s a megabyte comes back as %d bytes, %v", host, len(out), err)
		}
	}
	echo.Close()
	c := r.client()
	for target, want := range map[string]string{
		"192.0.2.1:80":                      "own machine",
		"example.com:80":                    "own machine",
		"[2001:db8::1]:80":                  "own machine",
		"localhost.example.com:80":          "own machine",
		net.JoinHostPort("127.0.0.1", port): "nothing answers on port " + port,
	} {
		if conn, err := c.Dial("tcp", target); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, %v", target, conn, err)
		}
	}
}

func TestFiles(t *testing.T) {
	r := newRig(t)
	mega := make([]byte, 1<<20)
	_, _ = rand.Read(mega)
	r.write("up", string(mega), 0o600)
	batch := fmt.Sprintf("put %[1]s/up %[1]s/there.part\nrename %[1]s/there.part %[1]s/there\nget %[1]s/there %[1]s/down\nrm %[1]s/there\npwd\n", r.dir)
	cmd := exec.CommandContext(t.Context(), "sftp", append(r.options(), "-P", strconv.Itoa(r.port()), "-o", "BatchMode=no", "-b", "-", r.login())...)
	cmd.Env, cmd.Stdin = r.env, strings.NewReader(batch)
	out, err := cmd.CombinedOutput()
	if home, _ := os.UserHomeDir(); err != nil || !strings.Contains(string(out), "Remote working directory: "+home) {
		t.Fatalf("%s, %v", out, err)
	}
	if down, err := os.ReadFile(filepath.Join(r.dir, "down")); !bytes.Equal(down, mega) || err != nil {
		t.Errorf("it comes back as %d bytes, %v", len(down), err)
	}
}
