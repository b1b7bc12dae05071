package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// tunnelSSHD starts an sshd of its own on a loopback port, which lets the
// returned key in, and ends it with the test.
func tunnelSSHD(t *testing.T, dir string) (addr, key string) {
	t.Helper()
	sshd := "/usr/sbin/sshd"
	if _, err := os.Stat(sshd); err != nil {
		t.Fatalf("this test needs sshd: %v", err)
	}
	if os.Getuid() == 0 {
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	keygen := tunnelTool(t, "ssh-keygen")
	for _, name := range []string{"host", "client"} {
		if out, err := exec.Command(keygen, "-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(dir, name)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v, %s", err, out)
		}
	}
	port := tunnelPorts(t, 1)
	addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	config := fmt.Sprintf(`ListenAddress %s
HostKey %s/host
AuthorizedKeysFile %s/client.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UseDNS no
Subsystem sftp internal-sftp
SetEnv HOME=%s
`, addr, dir, dir, dir) // whose shell start-up files are nobody's
	if err := os.WriteFile(filepath.Join(dir, "sshd_config"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	out := &output{}
	cmd := exec.Command(sshd, "-D", "-e", "-f", filepath.Join(dir, "sshd_config"))
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("sshd's output:\n%s", out)
		}
	})
	eventually(t, patience, "sshd listens", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return addr, filepath.Join(dir, "client")
}

// tunnelBridge joins each raw connection to a TCP server, the way a tunnel's
// client serves one.
func tunnelBridge(addr string) func(*tunnelClient, *tunnelRawConn) {
	return func(_ *tunnelClient, inside *tunnelRawConn) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			_ = inside.Close()
			return
		}
		defer conn.Close()
		up := make(chan struct{})
		go func() {
			defer close(up)
			_, _ = io.Copy(struct{ io.Writer }{conn}, struct{ io.Reader }{inside})
			_ = conn.(*net.TCPConn).CloseWrite()
		}()
		_, _ = io.Copy(struct{ io.Writer }{inside}, struct{ io.Reader }{conn})
		inside.leave()
		conn.Close()
		<-up
	}
}

// OpenSSH reaches a real sshd through a tunnel's raw port.
func TestTunnelSSHD(t *testing.T) {
	t.Parallel()
	ssh, scp := tunnelTool(t, "ssh"), tunnelTool(t, "scp")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	addr, key := tunnelSSHD(t, dir)
	s := tunnelServer(t)
	c := tunnelOpen(t, s, tunnelScript{query: "flow=credit", raw: tunnelBridge(addr)})
	port := strconv.Itoa(c.port)
	options := []string{
		"-F", "none", "-i", key, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=accept-new",
		"-o", "UserKnownHostsFile=" + filepath.Join(dir, "known"), "-o", "ConnectTimeout=20", "-o", "LogLevel=ERROR",
	}
	run := func(stdin io.Reader, program string, args ...string) string {
		t.Helper()
		cmd := exec.Command(program, append(append([]string(nil), options...), args...)...)
		var stderr bytes.Buffer
		cmd.Stdin, cmd.Stderr = stdin, &stderr
		timer := time.AfterFunc(2*patience, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("%s %q: %v, %s", program, args, err, &stderr)
		}
		return string(out)
	}
	target := me.Username + "@127.0.0.1"
	if got := run(nil, ssh, "-p", port, target, "echo", "through", "the", "tunnel"); got != "through the tunnel\n" {
		t.Errorf("ssh says %q", got)
	}
	if got := run(strings.NewReader("to the other side"), ssh, "-p", port, target, "cat; echo >&2 error; echo done"); got != "to the other sidedone\n" {
		t.Errorf("ssh says %q", got)
	}

	const size = 64 << 20
	from := filepath.Join(dir, "from")
	file, err := os.Create(from)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(file, tunnelNoise(6), size); err != nil {
		t.Fatal(err)
	}
	file.Close()
	want, _, _ := tunnelSum(io.LimitReader(tunnelNoise(6), size))
	check := func(path string) {
		t.Helper()
		file, err := os.Open(path)
		if err != nil {
			t.Error(err)
			return
		}
		defer file.Close()
		if got, n, err := tunnelSum(file); got != want {
			t.Errorf("%s: %d bytes, %v", path, n, err)
		}
	}
	// Both ways at once, and a command beside them.
	there, back := filepath.Join(dir, "there"), filepath.Join(dir, "back")
	var both sync.WaitGroup
	both.Go(func() { run(nil, scp, "-q", "-P", port, from, target+":"+there) })
	both.Go(func() { run(nil, scp, "-q", "-P", port, target+":"+from, back) })
	if got := run(nil, ssh, "-p", port, target, "echo", "beside"); got != "beside\n" {
		t.Errorf("beside the copies ssh says %q", got)
	}
	both.Wait()
	check(there)
	check(back)
}
