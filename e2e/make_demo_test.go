package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// `make demo` is the server and a shell behind it: what it prints opens the page
// and logs in. The interrupt key ends all of it.
func TestMakeDemo(t *testing.T) {
	t.Parallel()
	if _, err := pageBinary(); err != nil {
		t.Fatal(err)
	}
	port, dir := strconv.Itoa(tunnelPorts(t, 1)), t.TempDir()
	binary := filepath.Join(dir, "wsproxy")
	cmd := makes("demo", "PORT="+port, "BIN="+binary)
	said := &output{}
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as a shell has it, for the key
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) })

	greeting := regexp.MustCompile(`Open +(http://localhost:` + port + `/)#ssh://demo@(127\.0\.0\.1):(\d+)\n +Password +(\S+)\n +Host key +(SHA256:\S+)\n`)
	var found []string
	eventually(t, 4*patience, "a greeting", func() bool {
		select {
		case err := <-ended:
			t.Fatalf("it ended, %v:\n%s", err, said)
		default:
		}
		found = greeting.FindStringSubmatch(said.String())
		return found != nil
	})
	page, host, sshPort, password, key := found[1], found[2], found[3], found[4], found[5]
	if out, err := exec.Command(tunnelTool(t, "curl"), "-sS", "--noproxy", "*", page).Output(); err != nil || !strings.HasPrefix(strings.ToLower(string(out)), "<!doctype html>") {
		t.Errorf("the page is %.100q, %v", out, err)
	}
	if strings.Contains(page, password) || len(password) < 12 {
		t.Errorf("the password is %q", password)
	}

	ask := filepath.Join(dir, "askpass")
	if err := os.WriteFile(ask, []byte("#!/bin/sh\necho '"+password+"'\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	login := func(args ...string) *exec.Cmd {
		ssh := exec.Command(tunnelTool(t, "ssh"), append([]string{"-F", "/dev/null", "-o", "ProxyCommand=" + binary + " connect ws://localhost:" + port + " %h %p",
			"-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "FingerprintHash=sha256", "-v", "-p", sshPort, "demo@" + host}, args...)...)
		ssh.Env = append(os.Environ(), "SSH_ASKPASS="+ask, "SSH_ASKPASS_REQUIRE=force")
		return ssh
	}
	ssh := login("echo $((6*7)); exit 5")
	var out, log output
	ssh.Stdout, ssh.Stderr = &out, &log
	_ = ssh.Run()
	if out.String() != "42\n" || ssh.ProcessState.ExitCode() != 5 || !strings.Contains(log.String(), key) {
		t.Errorf("ssh prints %q and ends with %d, host key %s:\n%s", &out, ssh.ProcessState.ExitCode(), key, &log)
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
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	_ = <-ended // make's own status says that it was interrupted
	_ = open.Wait()
	eventually(t, patience, "the shell's end", func() bool { return syscall.Kill(shell, 0) != nil })
	if !strings.Contains(said.String(), "wsproxy has ended") {
		t.Errorf("the server did not end in order:\n%s", said)
	}

	// It is for this machine alone.
	refused := exec.Command(binary+"-demo", "-binary", binary)
	refused.Env = append(os.Environ(), "BIND=0.0.0.0", "PORT="+port)
	if text, err := refused.CombinedOutput(); err == nil || !strings.Contains(string(text), "unset BIND") {
		t.Errorf("for all interfaces it says %s, %v", text, fmt.Sprint(err))
	}
}
