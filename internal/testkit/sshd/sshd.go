package sshd

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
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// patience bounds what takes milliseconds on an idle machine.
const patience = 30 * time.Second

// A Server is an sshd on the loopback interface, run by the user who runs the tests.
type Server struct {
	Host    string
	Port    int
	User    string
	Key     string        // a private key that it lets in, in OpenSSH's format
	Signer  ssh.Signer    // the same
	HostKey ssh.PublicKey // by which it is known
	Dir     string        // is HOME of its sessions
	Process *os.Process
	Exited  <-chan struct{} // closed when it has ended
	log     *buffer
}

// Start starts an sshd with keys of its own and more lines of sshd_config. It ends with the test.
func Start(t testing.TB, config ...string) *Server {
	t.Helper()
	path, err := exec.LookPath("sshd")
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/sshd") // not on everybody's PATH
	}
	if err != nil {
		t.Fatal("sshd is missing: install the package openssh-server")
	}
	if os.Geteuid() == 0 {
		// Its directory for privilege separation, made by its service manager where one runs.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Host: "127.0.0.1", User: me.Username, Dir: t.TempDir()}
	hostText, hostSigner := NewKey(t)
	s.HostKey = hostSigner.PublicKey()
	s.Key, s.Signer = NewKey(t)
	s.Write(t, "host_key", hostText)
	keys := s.Write(t, "authorized_keys", string(ssh.MarshalAuthorizedKey(s.Signer.PublicKey())))
	// sshd can't be given port 0, so it gets one that was free just now, and another one should
	// somebody else have taken that.
	for range 10 {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s.Port = free.Addr().(*net.TCPAddr).Port
		free.Close()
		// The first value of a keyword counts.
		file := s.Write(t, "sshd_config", strings.Join(config, "\n")+fmt.Sprintf(`
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
		`, s.Port, filepath.Join(s.Dir, "host_key"), keys, s.Dir)) // whose shell start-up files are nobody's
		if s.run(t, path, file) {
			return s
		}
	}
	t.Fatalf("sshd found no free port\n%s", s.log)
	return nil
}

// Write writes a file that only sshd's user can read, and returns its path.
func (s *Server) Write(t testing.TB, name, content string) string {
	t.Helper()
	file := filepath.Join(s.Dir, name)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Log is what sshd has written.
func (s *Server) Log() string { return s.log.String() }

// run starts sshd and reports whether it listens.
func (s *Server) run(t testing.TB, path, config string) bool {
	t.Helper()
	s.log = &buffer{wake: make(chan struct{}, 1)}
	cmd := exec.Command(path, "-D", "-e", "-f", config)
	cmd.Stderr = s.log
	cmd.WaitDelay = time.Second // its sessions hold stderr open
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan struct{})
	s.Process, s.Exited = cmd.Process, exited
	go func() {
		_ = cmd.Wait()
		close(exited)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-exited
	})
	timeout := time.After(patience)
	for !strings.Contains(s.log.String(), "Server listening") {
		select {
		case <-s.log.wake:
		case <-exited:
			if strings.Contains(s.log.String(), "in use") {
				return false
			}
			t.Fatalf("sshd does not start:\n%s", s.log)
		case <-timeout:
			t.Fatalf("sshd does not listen:\n%s", s.log)
		}
	}
	return true
}

// Dial connects to the server.
func (s *Server) Dial(t testing.TB) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// KnownHosts is the line by which the server is known.
func (s *Server) KnownHosts() string {
	return fmt.Sprintf("[%s]:%d %s", s.Host, s.Port, ssh.MarshalAuthorizedKey(s.HostKey))
}

// NewKey makes an ed25519 key.
func NewKey(t testing.TB) (string, ssh.Signer) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "a test's key")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block)), signer
}

type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
	wake chan struct{}
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
