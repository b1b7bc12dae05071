package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// caddyServer runs Caddy as the front proxy of a server, and returns the address at
// which it speaks TLS.
func caddyServer(t *testing.T, behind string) (address string) {
	t.Helper()
	address, _ = caddyTLS(t, behind)
	return address
}

// caddyTLS is caddyServer, and the file with the certificate authority of its own. It
// answers for localhost, too.
func caddyTLS(t *testing.T, behind string) (address, authority string) {
	t.Helper()
	free, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = free.Addr().String()
	free.Close()
	home := t.TempDir()
	config := filepath.Join(home, "Caddyfile")
	_, port, _ := net.SplitHostPort(address)
	if err := os.WriteFile(config, fmt.Appendf(nil, `{
	auto_https disable_redirects
	admin off
	skip_install_trust
}
https://localhost:%[2]s, https://*.%[1]s:%[2]s {
	bind 127.0.0.1
	tls internal
	reverse_proxy %[3]s
}
`, tunnelDomain, port, behind), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tunnelTool(t, "caddy"), "run", "--config", config, "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home)
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(output.String())
		}
	})
	// It listens before it has its certificates, of which it makes one after the other.
	for _, name := range []string{"localhost", "some." + tunnelDomain} {
		eventually(t, patience, "Caddy has a certificate for "+name, func() bool {
			conn, err := tls.DialWithDialer(&net.Dialer{Timeout: time.Second}, "tcp4", address, &tls.Config{ServerName: name, InsecureSkipVerify: true})
			if err == nil {
				conn.Close()
			}
			return err == nil
		})
	}
	return address, filepath.Join(home, "caddy", "pki", "authorities", "local", "root.crt")
}

// A browser asks for 200 files at once over HTTP/2, and a front proxy passes them on
// as requests of one address: with the limits as they are by default all are
// answered.
func TestBytesBehindCaddy(t *testing.T) {
	t.Parallel()
	r := newBytesRig(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-time.After(10 * time.Millisecond)
		_, _ = fmt.Fprint(w, r.URL.Path, strings.Repeat("x", 20_000))
	}), "TRUSTED_PROXIES=127.0.0.1/32", "MAX_TUNNEL_HTTP_PER_IP=50", "MAX_TUNNEL_HTTP=100")
	address := caddyServer(t, r.s.addr)
	host := strings.Split(r.c.host, ":")[0]
	transport := &http.Transport{
		ForceAttemptHTTP2: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: host},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp4", address)
		},
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 2 * patience}
	first, err := client.Get("https://" + host + "/first") // so that all use one connection
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, first.Body)
	first.Body.Close()
	if first.StatusCode != http.StatusOK {
		t.Fatalf("the first request is answered %s", first.Status)
	}
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			path := fmt.Sprint("/", i)
			response, err := client.Get("https://" + host + path)
			if err != nil {
				t.Errorf("request %d: %v", i, err)
				return
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if response.StatusCode != 200 || response.ProtoMajor != 2 || string(body) != path+strings.Repeat("x", 20_000) || err != nil {
				t.Errorf("request %d: %s %d, %d bytes, %v", i, response.Proto, response.StatusCode, len(body), err)
			}
		})
	}
	all.Wait()
}
