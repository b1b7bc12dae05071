package e2e

import (
	"crypto/tls"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The tests below run the very files of deploy/, with addresses replaced.

func TestDeployCaddy(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, allowLoopback(), "TRUSTED_PROXIES=127.0.0.1/32")
	home := t.TempDir()
	f := &front{authority: filepath.Join(home, "caddy", "pki", "authorities", "local", "root.crt")}
	var port string
	f.addr, port = freeAddress(t)
	admin, _ := freeAddress(t)
	_, plain := freeAddress(t)
	config := filepath.Join(home, "Caddyfile")
	deployFile(t, "caddy/Caddyfile", config, "\n{\n", fmt.Sprintf(`
{
	admin %s
	default_bind 127.0.0.1
	http_port %s
	https_port %s
	local_certs
	skip_install_trust
`, admin, plain, port))
	command := func(args ...string) *exec.Cmd {
		cmd := exec.Command(tunnelTool(t, "caddy"), append(args, "--config", config, "--adapter", "caddyfile")...)
		cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home,
			"PROXY_DOMAIN=localhost", "TUNNEL_DOMAIN="+tunnelDomain, "WSPROXY="+s.addr, "WEBSOCKETS=")
		return cmd
	}
	f.run(t, command("run"))
	eventually(t, patience, "Caddy has a certificate for the proxy", func() bool {
		conn, err := tls.Dial("tcp4", f.addr, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"})
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	_, root := f.wantServed(t, s)

	// A stranger gets no certificate ordered, but for a tunnel that there is.
	for host, there := range map[string]bool{strings.TrimPrefix(root, "https://"): true, "0123456789abcdef." + tunnelDomain: false, "www." + tunnelDomain: false} {
		conn, err := tls.Dial("tcp4", f.addr, &tls.Config{InsecureSkipVerify: true, ServerName: host})
		if err == nil {
			conn.Close()
		}
		if (err == nil) != there {
			t.Errorf("a certificate for %s: %v, whether it should be there: %v", host, err, there)
		}
	}

	f.wantSessionsThrough(t, func() {
		cmd := command("reload", "--force", "--address", admin)
		cmd.Stdout, cmd.Stderr = &f.out, &f.out
		if err := cmd.Run(); err != nil {
			t.Errorf("the reload: %v", err)
		}
	}, root, s)
}

func TestDeployNginx(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, allowLoopback(), "TRUSTED_PROXIES=127.0.0.1/32")
	home, f := frontHome(t), &front{}
	f.addr, _ = freeAddress(t)
	plain, _ := freeAddress(t)
	f.certificate(t, home+"/wsproxy.pem", home+"/wsproxy.key", "localhost", "*."+tunnelDomain)
	deployFile(t, "nginx/wsproxy.conf", home+"/wsproxy.conf",
		"listen 80;", "listen "+plain+";", "listen 443 ", "listen "+f.addr+" ", "server 127.0.0.1:8080;", "server "+s.addr+";",
		"proxy.example.com", "localhost", "tunnel.example.com", tunnelDomain,
		"/etc/ssl/wsproxy.", home+"/wsproxy.", "/var/log/nginx/wsproxy.log", home+"/access.log")
	text := fmt.Sprintf(`daemon off;
# WebSockets of before a reload end, so that they are seen to be taken up.
worker_shutdown_timeout 500ms;
pid %[1]s/pid;
error_log stderr warn;
events {}
http {
	client_body_temp_path %[1]s/a;
	proxy_temp_path %[1]s/b;
	fastcgi_temp_path %[1]s/c;
	uwsgi_temp_path %[1]s/d;
	scgi_temp_path %[1]s/e;
	include %[1]s/wsproxy.conf;
}
`, home)
	if os.Geteuid() == 0 {
		text = "user root;\n" + text // whose directory it is
	}
	if err := os.WriteFile(home+"/nginx.conf", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f.run(t, exec.Command("/usr/sbin/nginx", "-c", home+"/nginx.conf", "-e", "stderr")) // not on everybody's PATH
	_, root := f.wantServed(t, s)
	f.wantEnds(t, s)
	f.wantSessionsThrough(t, func() { _ = f.process.Signal(syscall.SIGHUP) }, root, s)
	if log, err := os.ReadFile(home + "/access.log"); err != nil || !strings.Contains(string(log), `"GET localhost/relay HTTP/1.1" 101`) || strings.Contains(string(log), "port=") {
		t.Errorf("the log has no relay, or its query, %v:\n%s", err, log)
	}
}

// deployHAProxy runs HAProxy before two servers, whose tunnels are below a and b.
func deployHAProxy(t *testing.T, env []string, words ...string) (f *front, a, b *server) {
	t.Helper()
	server := func(letter string) *server {
		return tunnelServer(t, append([]string{allowLoopback(), "TRUSTED_PROXIES=127.0.0.1/32", "TUNNEL_DOMAIN=" + letter + "." + tunnelDomain,
			"SHUTDOWN_DELAY=3s", "SHUTDOWN_TIMEOUT=1h", "METRICS_ADDR=127.0.0.1:0"}, env...)...)
	}
	a, b = server("a"), server("b")
	home := frontHome(t)
	f = &front{}
	f.addr, _ = freeAddress(t)
	plain, _ := freeAddress(t)
	f.certificate(t, home+"/wsproxy.pem", "", "localhost", "*.a."+tunnelDomain, "*.b."+tunnelDomain)
	deployFile(t, "haproxy/haproxy.cfg", home+"/haproxy.cfg", append([]string{
		"\tuser haproxy\n\tgroup haproxy\n", "", "bind :80\n", "bind " + plain + "\n", "bind :443 ", "bind " + f.addr + " ",
		"/etc/haproxy/wsproxy.pem", home + "/wsproxy.pem", "tunnel.example.com", tunnelDomain,
		"10.0.0.11:8080", a.addr, "10.0.0.12:8080", b.addr, "inter 2s", "inter 100ms", "maxconn 20000", "maxconn 1000"}, words...)...)
	_, err := exec.LookPath("haproxy")
	path := "haproxy"
	if err != nil {
		path = "/usr/sbin/haproxy" // not on everybody's PATH
	}
	f.run(t, exec.Command(path, "-W", "-f", home+"/haproxy.cfg"))
	return f, a, b
}

func TestDeployHAProxy(t *testing.T) {
	t.Parallel()
	// WebSockets of before a reload end, so that they are seen to be taken up.
	f, a, b := deployHAProxy(t, nil, "hard-stop-after 12h", "hard-stop-after 500ms")
	_, root := f.wantServed(t, a, b)
	f.wantEnds(t, a, b)
	f.wantSessionsThrough(t, func() { _ = f.process.Signal(syscall.SIGUSR2) }, root, a, b)
	if log := f.out.String(); strings.Contains(log, "port=") || !strings.Contains(log, "GET /relay 101") {
		t.Errorf("HAProxy's log has no relay, or its query:\n%s", log)
	}
}
