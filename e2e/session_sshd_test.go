package e2e

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// An sshd is a real OpenSSH server on the loopback interface.
type sshd struct {
	addr    *net.TCPAddr
	user    string
	signer  ssh.Signer    // a key that it lets in
	keyFile string        // where its private half is
	hostKey ssh.PublicKey // by which it is known
	process *os.Process
	out     *output
	exited  chan struct{}
}

// startSSHD starts an sshd with keys of its own, as the user who runs the
// tests. It ends with the test, and all its sessions.
func startSSHD(t *testing.T) *sshd {
	t.Helper()
	path, err := exec.LookPath("sshd")
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/sshd") // not on everybody's PATH
	}
	if err != nil {
		t.Fatal("sshd is missing: install the package openssh-server")
	}
	if os.Geteuid() == 0 {
		// sshd's directory for privilege separation, made by its service
		// manager where one runs.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	d := &sshd{user: me.Username}
	dir := t.TempDir()
	hostSigner := newKey(t, filepath.Join(dir, "host_key"))
	d.hostKey = hostSigner.PublicKey()
	d.keyFile = filepath.Join(dir, "user_key")
	d.signer = newKey(t, d.keyFile)
	write := func(name, content string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	keys := write("authorized_keys", string(ssh.MarshalAuthorizedKey(d.signer.PublicKey())))

	// sshd can't be given port 0, so it gets one that was free just now, and
	// another one should somebody else have taken that.
	for range 10 {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		d.addr = free.Addr().(*net.TCPAddr)
		free.Close()
		config := write("sshd_config", fmt.Sprintf(`
			ListenAddress 127.0.0.1:%d
			HostKey %s
			AuthorizedKeysFile %s
			StrictModes no
			PidFile none
			UsePAM no
			PasswordAuthentication no
			KbdInteractiveAuthentication no
			PermitRootLogin prohibit-password
			MaxStartups 100
			Subsystem sftp internal-sftp
			PrintMotd no
			PrintLastLog no
			LogLevel VERBOSE
			SetEnv HOME=%s
		`, d.addr.Port, filepath.Join(dir, "host_key"), keys, dir)) // whose shell start-up files are nobody's
		if d.run(t, path, config) {
			return d
		}
	}
	t.Fatalf("sshd found no free port\n%s", d.out)
	return nil
}

// run starts sshd and reports whether it listens.
func (d *sshd) run(t *testing.T, path, config string) bool {
	t.Helper()
	d.out, d.exited = &output{}, make(chan struct{})
	cmd := exec.Command(path, "-D", "-e", "-f", config)
	cmd.Stderr = d.out
	cmd.WaitDelay = time.Second // its sessions hold stderr open
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d.process = cmd.Process
	exited := d.exited
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	t.Cleanup(func() {
		d.killSessions()
		_ = cmd.Process.Kill()
		<-exited
	})
	listens, ended := false, false
	eventually(t, patience, "sshd listens", func() bool {
		select {
		case <-exited:
			ended = true
		default:
		}
		listens = strings.Contains(d.out.String(), "Server listening")
		return listens || ended
	})
	if !listens && !strings.Contains(d.out.String(), "in use") {
		t.Fatalf("sshd does not start:\n%s", d.out)
	}
	return listens
}

// newKey makes a key pair, writes the private key to the file and returns it.
func newKey(t *testing.T, file string) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

// sessions returns the ids of the processes that serve sessions: sshd's
// children and theirs, without the commands they run being told apart.
func (d *sshd) sessions() []int {
	parents := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		stat, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended meanwhile
		}
		// pid (command) state parent ..., and the command may hold anything.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) < 2 || fields[0] == "Z" {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		parent, _ := strconv.Atoi(fields[1])
		parents[parent] = append(parents[parent], pid)
	}
	var found []int
	for next := parents[d.process.Pid]; len(next) > 0; next = next[1:] {
		found = append(found, next[0])
		next = append(next, parents[next[0]]...)
	}
	return found
}

// killSessions ends all sessions at once, as if sshd had crashed.
func (d *sshd) killSessions() {
	for _, pid := range d.sessions() {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}
