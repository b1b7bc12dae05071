package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// A demo is `make demo` on a free port, and what it prints.
type demo struct {
	page, host, sshPort string // the page's address; where the shell is
	password, key       string
	port                string
	binary              string // the server's
	make                *exec.Cmd
	said                *output
	ended               chan error
}

func startDemo(t *testing.T) *demo {
	t.Helper()
	if _, err := pageBinary(); err != nil { // what make builds first takes a while
		t.Fatal(err)
	}
	d := &demo{port: strconv.Itoa(tunnelPorts(t, 1)), binary: filepath.Join(t.TempDir(), "wsproxy"), said: &output{}, ended: make(chan error, 1)}
	d.make = makes("demo", "PORT="+d.port, "BIN="+d.binary)
	d.make.Env = append(d.make.Env, "SHELL=/bin/sh")
	d.make.Stdout, d.make.Stderr = d.said, d.said
	d.make.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as a shell has it, for the key
	if err := d.make.Start(); err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() {
		d.ended <- d.make.Wait()
		close(over)
	}()
	t.Cleanup(func() {
		d.interrupt() // which ends the server, too: it is in a group of its own
		<-over
		if t.Failed() {
			t.Logf("make demo says:\n%s", d.said)
		}
	})
	greeting := regexp.MustCompile(`Open +(http://localhost:` + d.port + `/)#ssh://demo:(\w+)@(127\.0\.0\.1):(\d+)\n +Password +(\w+) \(the link has filled it in\)\n +Host key +(SHA256:\S+)\n`)
	eventually(t, 4*patience, "a greeting", func() bool {
		select {
		case <-over:
			t.Fatalf("it ended:\n%s", d.said)
		default:
		}
		found := greeting.FindStringSubmatch(d.said.String())
		if found != nil {
			d.page, d.host, d.sshPort, d.password, d.key = found[1], found[3], found[4], found[5], found[6]
			if found[2] != d.password {
				t.Errorf("the link's password is %s, the one that is shown %s", found[2], d.password)
			}
		}
		return found != nil
	})
	return d
}

// interrupt is what the interrupt key does.
func (d *demo) interrupt() { _ = syscall.Kill(-d.make.Process.Pid, syscall.SIGINT) }

// What `make demo` prints logs in by ssh, through the server, and the interrupt key
// ends all of it.
func TestMakeDemo(t *testing.T) {
	t.Parallel()
	d := startDemo(t)
	ask := filepath.Join(t.TempDir(), "askpass")
	if err := os.WriteFile(ask, []byte("#!/bin/sh\necho '"+d.password+"'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	login := func(args ...string) *exec.Cmd {
		ssh := exec.Command(tunnelTool(t, "ssh"), append([]string{"-F", "/dev/null", "-o", "ProxyCommand=" + d.binary + " connect ws://localhost:" + d.port + " %h %p",
			"-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "FingerprintHash=sha256", "-v", "-p", d.sshPort, "demo@" + d.host}, args...)...)
		ssh.Env = append(os.Environ(), "SSH_ASKPASS="+ask, "SSH_ASKPASS_REQUIRE=force")
		return ssh
	}
	ssh := login("echo $((6*7)); exit 5")
	var out, log output
	ssh.Stdout, ssh.Stderr = &out, &log
	_ = ssh.Run()
	if out.String() != "42\n" || ssh.ProcessState.ExitCode() != 5 || !strings.Contains(log.String(), d.key) {
		t.Errorf("ssh prints %q and ends with %d, host key %s:\n%s", &out, ssh.ProcessState.ExitCode(), d.key, &log)
	}

	// A shell that is open then ends, too.
	open := login("echo $$; exec sleep 1000")
	var pid output
	open.Stdout = &pid
	if err := open.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "a shell", func() bool { return strings.HasSuffix(pid.String(), "\n") })
	shell, err := strconv.Atoi(strings.TrimSpace(pid.String()))
	if err != nil {
		t.Fatal(err)
	}
	d.interrupt()
	<-d.ended // make's own status says that it was interrupted
	_ = open.Wait()
	eventually(t, patience, "the shell's end", func() bool { return syscall.Kill(shell, 0) != nil })
	if !strings.Contains(d.said.String(), "wsproxy has ended") {
		t.Errorf("the server did not end in order:\n%s", d.said)
	}

	// It is for this machine alone.
	refused := exec.Command(d.binary+"-demo", "-binary", d.binary)
	refused.Env = append(os.Environ(), "BIND=0.0.0.0", "PORT="+d.port)
	if text, err := refused.CombinedOutput(); err == nil || !strings.Contains(string(text), "unset BIND") {
		t.Errorf("for all interfaces it says %s, %v", text, err)
	}
}

// It logs in by the page, too, in a browser that is told of no violation of the
// policy and asks nobody else for anything. The link alone does not connect.
func TestMakeDemoInABrowser(t *testing.T) {
	t.Parallel()
	d := startDemo(t)
	dir := t.TempDir()
	address := d.page + "#ssh://demo@" + d.host + ":" + d.sshPort
	cmd := exec.CommandContext(t.Context(), "node", nodeApp(t, "terminal.js"), address, d.password, d.key, "cd "+dir+" && touch typed-$((6*7)) && exit")
	var log output
	cmd.Stderr = &log
	out, err := cmd.Output()
	var seen struct {
		Filled                              string
		ConnectedByItself                   bool
		Errors, Violations, Outside, Failed []string
		Address                             string
	}
	if err != nil || json.Unmarshal(out, &seen) != nil {
		t.Fatalf("the browser says %s, %v\n%s", out, err, &log)
	}
	if seen.Filled != "demo "+d.host+" "+d.sshPort+" " || seen.ConnectedByItself {
		t.Errorf("the link fills in %q, and connects by itself: %v", seen.Filled, seen.ConnectedByItself)
	}
	if len(seen.Errors)+len(seen.Violations)+len(seen.Outside)+len(seen.Failed) > 0 {
		t.Errorf("errors %q\nviolations of the policy %q\nrequests to others %q\nrequests that failed %q", seen.Errors, seen.Violations, seen.Outside, seen.Failed)
	}
	if strings.Contains(seen.Address, d.password) {
		t.Errorf("the password is in the address")
	}
	if _, err := os.Stat(filepath.Join(dir, "typed-42")); err != nil {
		t.Errorf("what was typed was not run: %v", err)
	}
}
