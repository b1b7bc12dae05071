package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// /relay?cf_domain=...: the far side is a WebSocket behind Cloudflare Access.

func accessPath(domain, id, secret string, more ...string) string {
	query := url.Values{"cf_domain": {domain}, "cf_id": {id}, "cf_secret": {secret}}
	for i := 0; i+1 < len(more); i += 2 {
		query.Set(more[i], more[i+1])
	}
	return "/relay?" + query.Encode()
}

func TestMalformedAccess(t *testing.T) {
	t.Parallel()
	s := start(t, allowLoopback())
	long := strings.Repeat("x", 513)
	for name, path := range map[string]string{
		"an IPv4 address":           accessPath("127.0.0.1", "id", "secret"),
		"an IPv6 address":           accessPath("::1", "id", "secret"),
		"an IPv6 address, mapped":   accessPath("[::ffff:127.0.0.1]", "id", "secret"),
		"a short address":           accessPath("127.1", "id", "secret"),
		"a number":                  accessPath("2130706433", "id", "secret"),
		"a name with a port":        accessPath("localhost:443", "id", "secret"),
		"a URL":                     accessPath("https://localhost", "id", "secret"),
		"a name with a path":        accessPath("localhost/x", "id", "secret"),
		"a name with a user":        accessPath("user@localhost", "id", "secret"),
		"a name with CR and LF":     accessPath("localhost\r\nX: y", "id", "secret"),
		"no name":                   accessPath("", "id", "secret"),
		"no id":                     accessPath("localhost", "", "secret"),
		"no secret":                 accessPath("localhost", "id", ""),
		"no id parameter":           "/relay?cf_domain=localhost&cf_secret=secret",
		"no secret parameter":       "/relay?cf_domain=localhost&cf_id=id",
		"an id that is too long":    accessPath("localhost", long, "secret"),
		"a secret that is too long": accessPath("localhost", "id", long),
		"an id with a line feed":    accessPath("localhost", "i\nd", "secret"),
		"a secret with CR and LF":   accessPath("localhost", "id", "secret\r\nX-Evil: 1"),
		"a secret with NUL":         accessPath("localhost", "id", "sec\x00ret"),
		"a secret with DEL":         accessPath("localhost", "id", "sec\x7fret"),
		"an id with ESC":            accessPath("localhost", "\x1b[31m", "secret"),
		"no name, but host":         accessPath("", "id", "secret", "host", "127.0.0.1", "port", "22"),
		"no id, but host":           accessPath("localhost", "", "secret", "host", "127.0.0.1", "port", "22"),
		"no secret, but host":       accessPath("localhost", "id", "", "host", "127.0.0.1", "port", "22"),
	} {
		t.Run(name, func(t *testing.T) {
			r := ask(t, s, "GET", path, handshake...)
			if r.status != 400 {
				t.Errorf("status %d (%s), want 400", r.status, strings.TrimSpace(r.body))
			}
			oneSentence(t, r)
		})
	}
	t.Run("512 bytes are accepted", func(t *testing.T) {
		if r := ask(t, s, "GET", accessPath("localhost", long[:512], long[:512])); r.status != 426 {
			t.Errorf("status %d, want 426", r.status)
		}
	})
}

func TestAccessIsJudged(t *testing.T) {
	t.Parallel()
	path := accessPath("localhost", "id", "secret")
	for name, c := range map[string]struct {
		env  string
		want int
	}{
		"default block":            {"BLOCKED_TARGETS=", 403},
		"port 443 is not allowed":  {"ALLOWED_PORTS=22,444-65535", 403},
		"nothing is blocked":       {allowLoopback(), 426},
		"loopback is allowed":      {"ALLOWED_TARGETS=127.0.0.0/8,::1/128", 426},
		"only loopback is blocked": {"BLOCKED_TARGETS=127.0.0.0/8", 403},
	} {
		t.Run(name, func(t *testing.T) {
			env := []string{c.env}
			if strings.HasPrefix(c.env, "ALLOWED_PORTS") {
				env = append(env, allowLoopback())
			}
			if r := ask(t, start(t, env...), "GET", path); r.status != c.want {
				t.Errorf("status %d, want %d", r.status, c.want)
			}
		})
	}
}

// authority makes certificates for names.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	file string // of its certificate, in PEM
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{key: key, file: filepath.Join(t.TempDir(), name+".pem")}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) certificate(t *testing.T, name string, until time.Time) *tls.Certificate {
	t.Helper()
	return a.certificateFor(t, until, name)
}

func (a *authority) certificateFor(t *testing.T, until time.Time, names ...string) *tls.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: names, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}
}

// upstream is the service behind Access, on port 443 of localhost, the only
// port that cf_domain leads to.
type upstream struct {
	certificate atomic.Pointer[tls.Certificate]
	handler     atomic.Pointer[http.HandlerFunc]
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:443")
	if err != nil {
		t.Fatalf("the service can't listen on port 443 of loopback, which needs root: %v", err)
	}
	u := &upstream{}
	u.handle(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no handler", http.StatusNotFound) })
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*u.handler.Load())(w, r) }),
		TLSConfig: &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return u.certificate.Load(), nil
		}},
		ErrorLog: log.New(io.Discard, "", 0),
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.ServeTLS(listener, "", "")
	}()
	t.Cleanup(func() {
		server.Close()
		<-ended
	})
	return u
}

func (u *upstream) handle(handler http.HandlerFunc) { u.handler.Store(&handler) }

// accept makes the next visitors WebSockets, which the test gets by the
// channel, with the requests they came by.
func (u *upstream) accept(t *testing.T) <-chan visitor {
	t.Helper()
	visitors := make(chan visitor, 16)
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	u.handle(func(w http.ResponseWriter, r *http.Request) {
		if ws, err := upgrader.Upgrade(w, r, nil); err == nil {
			visitors <- visitor{ws, r}
		}
	})
	return visitors
}

type visitor struct {
	ws      *websocket.Conn
	request *http.Request
}

// next is the visitor who comes next; its WebSocket is closed with the test.
func next(t *testing.T, visitors <-chan visitor) visitor {
	t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case v := <-visitors:
		_ = v.ws.SetReadDeadline(time.Now().Add(patience))
		_ = v.ws.SetWriteDeadline(time.Now().Add(patience))
		t.Cleanup(func() { v.ws.Close() })
		return v
	case <-late.C:
		t.Fatal("nobody came to the service")
		panic("unreachable")
	}
}

// The subtests share port 443, so they don't run at the same time.
func TestAccess(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "ca")
	u := newUpstream(t)
	u.certificate.Store(ca.certificate(t, "localhost", time.Now().Add(time.Hour)))
	s := start(t, "SSL_CERT_FILE="+ca.file, "SSL_CERT_DIR=/nonexistent", allowLoopback(), "ALLOWED_PORTS=443", "MAX_CONNS_PER_IP=0")
	// Host and port beside a complete set are ignored, whatever they say: the known client always sends them.
	path := accessPath("LocalHost", "the-id.access", "the secret", "host", "127.1", "port", "22")
	// bridge opens a relay and returns both ends.
	bridge := func(t *testing.T) (client *websocket.Conn, far visitor) {
		t.Helper()
		visitors := u.accept(t)
		client = open(t, s, path)
		return client, next(t, visitors)
	}
	refused := func(t *testing.T, s *server) {
		t.Helper()
		if code, text := closing(t, open(t, s, path)); code != 1011 || text != "cannot reach target" {
			t.Errorf("close %d %q, want 1011 \"cannot reach target\"", code, text)
		}
	}

	t.Run("handshake", func(t *testing.T) {
		client, far := bridge(t)
		header := far.request.Header
		if id, secret := header.Values("CF-Access-Client-Id"), header.Values("CF-Access-Client-Secret"); len(id) != 1 || id[0] != "the-id.access" || len(secret) != 1 || secret[0] != "the secret" {
			t.Errorf("the service got id %q and secret %q", id, secret)
		}
		if r := far.request; r.URL.RequestURI() != "/" || r.Host != "localhost" || r.TLS == nil || r.TLS.ServerName != "localhost" {
			t.Errorf("the service was asked for %s of %s", r.URL.RequestURI(), r.Host)
		}
		for _, name := range []string{"Origin", "Cookie", "Authorization", "X-Forwarded-For", "Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol"} {
			if values := header.Values(name); len(values) > 0 {
				t.Errorf("the service got %s: %q", name, values)
			}
		}
		goodbye(t, client)
	})
	t.Run("upwards, with message boundaries", func(t *testing.T) {
		client, far := bridge(t)
		sizes := []int{1, 2, 125, 126, 1000, 4096, 32<<10 - 14, 32<<10 - 1, 32 << 10}
		sent, total := [][]byte{}, 0
		for i := 0; total < 1<<20; i++ {
			message := make([]byte, sizes[i%len(sizes)])
			_, _ = rand.Read(message)
			sent, total = append(sent, message), total+len(message)
		}
		go func() {
			for _, message := range sent {
				if client.WriteMessage(websocket.BinaryMessage, message) != nil {
					return // the reading side finds it
				}
			}
		}()
		for i, want := range sent {
			kind, got, err := far.ws.ReadMessage()
			if err != nil || kind != websocket.BinaryMessage || !bytes.Equal(got, want) {
				t.Fatalf("message %d of %d bytes came as %d bytes of kind %d (%v)", i, len(want), len(got), kind, err)
			}
		}
		goodbye(t, client)
	})
	t.Run("downwards", func(t *testing.T) {
		client, far := bridge(t)
		want := make([]byte, 1<<20)
		_, _ = rand.Read(want)
		go func() {
			if far.ws.WriteMessage(websocket.BinaryMessage, want[:1000]) == nil {
				_ = far.ws.WriteMessage(websocket.BinaryMessage, want[1000:])
			}
		}()
		var got []byte
		_ = client.SetReadDeadline(time.Now().Add(patience))
		for len(got) < len(want) {
			kind, message, err := client.ReadMessage()
			if err != nil || kind != websocket.BinaryMessage || len(message) > 64<<10 {
				t.Fatalf("after %d bytes: a message of %d bytes, kind %d (%v)", len(got), len(message), kind, err)
			}
			got = append(got, message...)
		}
		if !bytes.Equal(got, want) {
			t.Error("the bytes are not what was sent")
		}
		goodbye(t, client)
	})
	t.Run("the service closes", func(t *testing.T) {
		client, far := bridge(t)
		_ = far.ws.WriteMessage(websocket.BinaryMessage, []byte("last words"))
		_ = far.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "done"), time.Now().Add(patience))
		_ = client.SetReadDeadline(time.Now().Add(patience))
		if _, message, err := client.ReadMessage(); string(message) != "last words" {
			t.Errorf("%q came before the close (%v)", message, err)
		}
		if code, _ := closing(t, client); code != 1000 {
			t.Errorf("close code %d, want 1000", code)
		}
	})
	t.Run("the service breaks off", func(t *testing.T) {
		client, far := bridge(t)
		far.ws.NetConn().(*tls.Conn).NetConn().Close()
		if code, _ := closing(t, client); code != 1011 {
			t.Errorf("close code %d, want 1011", code)
		}
	})
	t.Run("the service sends text", func(t *testing.T) {
		client, far := bridge(t)
		_ = far.ws.WriteMessage(websocket.TextMessage, []byte("text"))
		if code, _ := closing(t, client); code != 1011 {
			t.Errorf("close code %d, want 1011", code)
		}
	})
	t.Run("the client closes", func(t *testing.T) {
		client, far := bridge(t)
		_ = client.WriteMessage(websocket.BinaryMessage, []byte("last words"))
		goodbye(t, client)
		if _, message, err := far.ws.ReadMessage(); string(message) != "last words" {
			t.Errorf("%q came before the close (%v)", message, err)
		}
		if code, text := closing(t, far.ws); code != 1000 {
			t.Errorf("the service sees close code %d (%s), want 1000", code, text)
		}
	})
	t.Run("the client vanishes", func(t *testing.T) {
		client, far := bridge(t)
		client.NetConn().Close()
		if code, text := closing(t, far.ws); code == 0 && strings.Contains(text, "timeout") {
			t.Errorf("the service sees nothing of it")
		}
	})
	t.Run("redirect", func(t *testing.T) {
		var visits atomic.Int32
		elsewhere := target(t, func(*net.TCPConn) { visits.Add(1) })
		u.handle(func(w http.ResponseWriter, r *http.Request) {
			visits.Add(1)
			http.Redirect(w, r, "wss://"+elsewhere.String()+"/", http.StatusFound)
		})
		refused(t, s)
		if n := visits.Load(); n != 1 {
			t.Errorf("%d visits, want the one that was redirected", n)
		}
	})
	t.Run("no WebSocket", func(t *testing.T) {
		u.handle(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "log in first", http.StatusForbidden) })
		refused(t, s)
	})
	for name, certificate := range map[string]*tls.Certificate{
		"a certificate of another name":      ca.certificate(t, "other.example", time.Now().Add(time.Hour)),
		"a certificate that has expired":     ca.certificate(t, "localhost", time.Now().Add(-time.Hour)),
		"a certificate of another authority": newAuthority(t, "stranger").certificate(t, "localhost", time.Now().Add(time.Hour)),
	} {
		t.Run(name, func(t *testing.T) {
			visitors := u.accept(t)
			u.certificate.Store(certificate)
			refused(t, s)
			if len(visitors) > 0 {
				t.Errorf("the service got the secret")
			}
		})
	}
	t.Run("the log", func(t *testing.T) {
		settled(t, s)
		for _, secret := range []string{"the-id.access", "the secret", "the+secret", "last words", "log in first"} {
			if strings.Contains(s.log(), secret) {
				t.Errorf("the log has %q in it", secret)
			}
		}
		if line := s.logLines("relay started")[0]; line["target"] != "localhost:443" {
			t.Errorf("the target is logged as %v", line["target"])
		}
	})
}
