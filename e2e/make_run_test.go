package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// makes is make in the tree, as if no other make ran this test.
func makes(args ...string) *exec.Cmd {
	cmd := exec.Command("make", args...)
	cmd.Dir = ".."
	cmd.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return strings.HasPrefix(variable, "MAKE") || strings.HasPrefix(variable, "MFLAGS=")
	})
	return cmd
}

// makeRun is `make run` on a free port, as somebody who tries the server out
// starts it, with the binary elsewhere than in the tree. The server's pid is
// that of make's child. env is set beside the environment of this test.
func makeRun(t *testing.T, env ...string) *server {
	t.Helper()
	port := strconv.Itoa(tunnelPorts(t, 1))
	s := &server{addr: "127.0.0.1:" + port, out: &output{}, exited: make(chan struct{})}
	if _, err := pageBinary(); err != nil { // what make builds first takes a while
		t.Fatal(err)
	}
	cmd := makes("run", "PORT="+port, "BIN="+filepath.Join(t.TempDir(), "wsproxy"))
	cmd.Stdout, cmd.Stderr = s.out, s.out
	cmd.Env = append(cmd.Env, env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait()
		s.code = cmd.ProcessState.ExitCode()
		close(s.exited)
	}()
	t.Cleanup(func() { // if it still runs; make ends with its child
		for _, pid := range []int{s.pid, cmd.Process.Pid} {
			if pid != 0 && !s.hasEnded() {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		<-s.exited
	})
	eventually(t, 4*patience, "a server that listens", func() bool { // which is built first
		if s.hasEnded() {
			t.Fatalf("make run ended with %d:\n%s", s.code, s.log())
		}
		return strings.Contains(s.log(), "msg=listening")
	})
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if s.pid, err = strconv.Atoi(strings.TrimSpace(string(children))); err != nil {
		t.Fatalf("make's children are %q", children)
	}
	return s
}

// `make run` builds the server and starts it with tunnels and with this
// machine's services as targets, for nobody but this machine. What it prints
// can be followed.
func TestMakeRun(t *testing.T) {
	t.Parallel()
	curl := tunnelTool(t, "curl")
	s := makeRun(t)
	_, port, _ := strings.Cut(s.addr, ":")
	for _, said := range []string{"wsproxy listens on " + s.addr, "curl http://" + s.addr + "/health", "/wsproxy connect ws://" + s.addr + " %h %p", "/wsproxy expose ws://" + s.addr + " 3000", "/wsproxy --help", "Ctrl-C", "open http://localhost:" + port + "/"} {
		if !strings.Contains(s.log(), said) {
			t.Errorf("it does not say %q", said)
		}
	}
	run := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(curl, append([]string{"-sS", "--noproxy", "*", "--max-time", "30"}, args...)...).CombinedOutput()
		if err != nil {
			t.Errorf("curl %q: %v, %s", args, err, out)
		}
		return string(out)
	}
	if hint := regexp.MustCompile(`curl (http://\S+/health)`).FindStringSubmatch(s.log()); hint == nil {
		t.Error("no hint at /health")
	} else if got := run(hint[1]); got != "ok" {
		t.Errorf("%s answers %q", hint[1], got)
	}

	// The page is there at both names of this machine, and may use the server.
	for _, host := range []string{"localhost", "127.0.0.1"} {
		if got := run("http://" + host + ":" + port + "/"); !strings.HasPrefix(strings.ToLower(got), "<!doctype html>") {
			t.Errorf("at %s the page is %.100q", host, got)
		}
		echoed(t, open(t, s, relayPath(echoServer(t)), "Origin: http://"+host+":"+port), "hello")
	}
	relay := open(t, s, relayPath(echoServer(t)))
	echoed(t, relay, "hello")
	goodbye(t, relay)
	c := tunnelOpen(t, s, tunnelScript{raw: tunnelEcho})
	if want := regexp.MustCompile(`^http://[0-9a-f]{16}\.tunnel\.localhost:` + port + `$`); !want.MatchString(c.url) {
		t.Errorf("the tunnel's URL is %q", c.url)
	}
	if got := run(c.url + "/page?x=1"); got != "/page?x=1" {
		t.Errorf("the tunnel's page is %q", got)
	}
	if c.ready.RawHost != "localhost" {
		t.Errorf("the host of its raw port is %q, which not every resolver knows", c.ready.RawHost)
	}
	outside := tunnelDial(t, c.port)
	if _, err := tunnelPing(outside); err != nil {
		t.Errorf("its raw port: %v", err)
	}
	outside.Close()
	if got := tunnelListeners(t, s, c.port); !slices.Equal(got, []string{"0100007F"}) {
		t.Errorf("its raw port listens on %q", got)
	}
	c.bye(t)

	if err := syscall.Kill(s.pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := s.wait(patience); code != 0 || !strings.Contains(s.log(), "wsproxy has ended") {
		t.Errorf("it ends with %d:\n%s", code, s.log())
	}
}
