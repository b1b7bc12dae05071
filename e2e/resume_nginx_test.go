package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// A resumeNginx is nginx before a server. Its workers end half a second after a reload,
// with the WebSockets that they carry.
type resumeNginx struct {
	addr, config, path string
	out                output
	cmd                *exec.Cmd
	ended              chan struct{}
}

// newResumeNginx starts one. It ends with the test.
func newResumeNginx(t *testing.T, behind string) *resumeNginx {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	n := &resumeNginx{addr: l.Addr().String(), config: filepath.Join(home, "nginx.conf"), path: "/usr/sbin/nginx"} // not on everybody's PATH
	l.Close()
	text := fmt.Sprintf(`daemon off;
master_process on;
worker_shutdown_timeout 500ms;
pid %[1]s/pid;
error_log stderr warn;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/a;
	proxy_temp_path %[1]s/b;
	fastcgi_temp_path %[1]s/c;
	uwsgi_temp_path %[1]s/d;
	scgi_temp_path %[1]s/e;
	server {
		listen %[2]s;
		location / {
			proxy_pass http://%[3]s;
			proxy_http_version 1.1;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection upgrade;
			proxy_set_header X-Forwarded-For $remote_addr;
		}
	}
}
`, home, n.addr, behind)
	if os.Geteuid() == 0 {
		text = "user root;\n" + text // whose directory it is
	}
	if err := os.WriteFile(n.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.signal(syscall.SIGTERM)
		if t.Failed() {
			t.Log(n.out.String())
		}
	})
	n.run(t)
	return n
}

func (n *resumeNginx) run(t *testing.T) {
	t.Helper()
	n.cmd, n.ended = exec.Command(n.path, "-c", n.config, "-e", "stderr"), make(chan struct{})
	n.cmd.Stdout, n.cmd.Stderr = &n.out, &n.out
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = n.cmd.Wait()
		close(n.ended)
	}()
	eventually(t, patience, "nginx listens", func() bool {
		conn, err := net.Dial("tcp4", n.addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// signal ends it, workers and all.
func (n *resumeNginx) signal(signal syscall.Signal) {
	_ = syscall.Kill(-n.cmd.Process.Pid, signal)
	<-n.ended
}

func TestResumeThroughNginx(t *testing.T) {
	t.Parallel()
	s := resumeServer(t, "TRUSTED_PROXIES=127.0.0.1/32")
	n := newResumeNginx(t, s.addr)
	resumeThroughProxy(t, n.addr, []proxyStep{
		{"reloads", func() {
			if err := n.cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Errorf("the reload: %v", err)
			}
		}},
		{"is killed", func() {
			n.signal(syscall.SIGKILL)
			n.run(t)
		}},
		{"restarts", func() {
			n.signal(syscall.SIGTERM)
			n.run(t)
		}},
	})
}
