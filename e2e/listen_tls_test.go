package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/acmeca"
)

// secureDoorway is the way to a server that speaks TLS.
func secureDoorway(s *server, roots *x509.CertPool, name string) doorway {
	config := &tls.Config{RootCAs: roots, ServerName: name, NextProtos: []string{"http/1.1"}}
	return doorway{scheme: "wss", host: name, dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp4", s.addr)
	}}
}

// shown returns the name in the certificate that a client is shown.
func shown(t *testing.T, s *server, config *tls.Config) (name string, err error) {
	t.Helper()
	dialer := net.Dialer{Timeout: patience}
	conn, err := tls.DialWithDialer(&dialer, "tcp4", s.addr, config)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].DNSNames[0], nil
}

// A server with a certificate of its own does all that it does without: it takes another
// certificate without a restart, and what strangers get wrong writes no line.
func TestOwnTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files := []string{filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	write := func(c testkit.Certificate) {
		t.Helper()
		for i, content := range [][]byte{c.Cert, c.Key} {
			if err := os.WriteFile(files[i], content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	first, second := testkit.NewCertificate(t, "proxy.example.com"), testkit.NewCertificate(t, "new.example.com")
	write(first)
	env := []string{"TLS_CERT_FILE=" + files[0], "TLS_KEY_FILE=" + files[1], "METRICS_ADDR=127.0.0.1:0", "SHUTDOWN_TIMEOUT=100ms", allowLoopback()}
	s := tunnelServer(t, env...)
	d := secureDoorway(s, first.Roots, "proxy.example.com")
	d.wantWhole(t, s)

	for name, config := range map[string]*tls.Config{
		"TLS 1.1": {InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
		"HTTP/2":  {InsecureSkipVerify: true, NextProtos: []string{"h2"}},
	} {
		if _, err := shown(t, s, config); err == nil {
			t.Errorf("%s is spoken", name)
		}
	}
	bare, err := net.Dial("tcp4", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer bare.Close()
	_ = bare.SetDeadline(time.Now().Add(patience))
	_, _ = io.WriteString(bare, "GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
	_, _ = io.Copy(io.Discard, bare) // an alert, and the end
	metrics := "http://" + s.metricsAddr(t) + "/metrics"
	eventually(t, patience, "refused handshakes are counted", func() bool {
		_, body := get(t, metrics)
		return strings.Contains(body, `wsproxy_refused_total{endpoint="http",reason="tls_handshake"} 3`)
	})
	for _, word := range []string{"tls: ", "handshake error", "WARN", "ERROR"} {
		for _, line := range s.logLines(word) {
			if line["level"] != "DEBUG" && line["msg"] != "authentication is off: CLERK_JWKS_URL is not set, everyone is anonymous" && !strings.HasPrefix(fmt.Sprint(line["msg"]), "no target is blocked") {
				t.Errorf("a stranger has written %v", line)
			}
		}
	}

	_, port, _ := net.SplitHostPort(s.addr)
	if code, _, stderr := runCommand(t, append(env, "PORT="+port), "healthcheck"); code != 0 {
		t.Errorf("healthcheck: %d, %s", code, stderr)
	}

	_, query, _ := strings.Cut(relayURL(s, echoServer(t)), "/relay")
	relay := d.open(t, "/relay"+query)
	write(second)
	eventually(t, patience, "the new certificate is shown", func() bool {
		name, err := shown(t, s, &tls.Config{RootCAs: second.Roots, ServerName: "new.example.com"})
		return err == nil && name == "new.example.com"
	})
	if err := relay.WriteMessage(websocket.BinaryMessage, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, got, err := relay.ReadMessage(); err != nil || string(got) != "hello" {
		t.Errorf("the relay of before brings %q, %v", got, err)
	}

	s.signal(os.Interrupt) // the close arrives, though the process ends behind it
	if _, _, err := relay.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseGoingAway) {
		t.Errorf("at the end: %v", err)
	}
	relay.Close()
	if code := s.wait(patience); code != 0 {
		t.Errorf("the server ends with %d", code)
	}
}

// A pair that can't be used is no start.
func TestOwnTLSWithoutCertificate(t *testing.T) {
	t.Parallel()
	s := launch(t, "TLS_CERT_FILE=/nonexistent/cert.pem", "TLS_KEY_FILE=/nonexistent/key.pem")
	if code := s.wait(patience); code != 1 || !strings.Contains(s.log(), "TLS_CERT_FILE can't be read") {
		t.Errorf("it ends with %d\n%s", code, s.log())
	}
}

// Certificates are had for listed names and for tunnels that there are, by the port that
// they are for, and for nothing else.
func TestACME(t *testing.T) {
	t.Parallel()
	ca := acmeca.Start(t)
	s := tunnelServer(t, "ACME_DOMAINS=proxy.example.com,*."+tunnelDomain, "ACME_DIRECTORY="+ca.URL, "ACME_EMAIL=me@example.com",
		"ACME_CACHE_DIR="+filepath.Join(t.TempDir(), "acme"), allowLoopback())
	ca.CheckAt(s.addr)
	d := secureDoorway(s, ca.Roots, "proxy.example.com")
	tunnel := d.wantWhole(t, s)
	ofTunnel := secureDoorway(s, ca.Roots, tunnel.host)
	answer, err := ofTunnel.client(t).Get("https://" + tunnel.host + "/hello")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("the tunnel answers %d", answer.StatusCode)
	}
	for _, name := range []string{"other.example.com", "0000000000000000." + tunnelDomain, tunnelDomain} {
		if _, err := shown(t, s, &tls.Config{InsecureSkipVerify: true, ServerName: name}); err == nil {
			t.Errorf("%s has a certificate", name)
		}
	}
	names, faults := ca.Names()
	if strings.Join(names, " ") != "proxy.example.com "+tunnel.host || len(faults) > 0 {
		t.Errorf("ordered were %v, with the faults %v", names, faults)
	}
}

// Whoever leaves TLS connections idle, or begins handshakes and sends nothing, takes
// nothing from others, when there are few descriptors.
func TestIdleTLSConnectionsGiveWay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certificate := testkit.NewCertificate(t, "proxy.example.com")
	for name, content := range map[string][]byte{"cert": certificate.Cert, "key": certificate.Key} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := startLow(t, 256, "TLS_CERT_FILE="+filepath.Join(dir, "cert"), "TLS_KEY_FILE="+filepath.Join(dir, "key"))
	d := secureDoorway(s, certificate.Roots, "proxy.example.com")
	_, query, _ := strings.Cut(relayURL(s, echoServer(t)), "/relay")
	relay := d.open(t, "/relay"+query)
	idler(t, s, "127.0.0.1", 200, false)
	for range 100 {
		conn, err := d.dial(t.Context(), "", "")
		if err != nil {
			t.Fatalf("one that is the newest makes no handshake: %v", err)
		}
		t.Cleanup(func() { conn.Close() })
	}
	idler(t, s, "127.0.0.2", 200, false)
	for _, ws := range []*websocket.Conn{relay, d.open(t, "/relay"+query)} {
		if err := ws.WriteMessage(websocket.BinaryMessage, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if _, got, err := ws.ReadMessage(); err != nil || string(got) != "hello" {
			t.Errorf("beside them a relay brings %q, %v", got, err)
		}
	}
}
