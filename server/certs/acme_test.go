package certs

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/internal/testkit/acmeca"
)

// A house serves TLS with a Store's certificates.
type house struct {
	*Store
	t       *testing.T
	ca      *acmeca.CA
	address string
	mu      sync.Mutex
	log     strings.Builder // under mu
}

func (h *house) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.log.Write(p)
}

func newHouse(t *testing.T, ca *acmeca.CA, o Options) *house {
	t.Helper()
	h := &house{t: t, ca: ca}
	o.Log = slog.New(slog.NewTextHandler(h, nil))
	o.ACME.Directory = ca.URL
	var err error
	if h.Store, err = Open(o); err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp4", "127.0.0.1:0", h.TLS())
	if err != nil {
		t.Fatal(err)
	}
	h.address = l.Addr().String()
	ca.CheckAt(h.address)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				_ = conn.(*tls.Conn).Handshake()
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		running.Wait()
		h.Close()
	})
	return h
}

// asks makes a handshake for a name that must be proven.
func (h *house) asks(name string) error {
	dialer := net.Dialer{Timeout: testkit.Patience}
	conn, err := tls.DialWithDialer(&dialer, "tcp4", h.address, &tls.Config{ServerName: name, RootCAs: h.ca.Roots, NextProtos: []string{"http/1.1"}})
	if err != nil {
		return err
	}
	defer conn.Close()
	if got := conn.ConnectionState().NegotiatedProtocol; got != "http/1.1" {
		return fmt.Errorf("it speaks %q", got)
	}
	return nil
}

// Names that are listed, and tunnels that there are, get a certificate, once; others none,
// and the authority is not asked.
func TestIssuing(t *testing.T) {
	ca := acmeca.Start(t)
	dir := filepath.Join(t.TempDir(), "acme")
	tunnels := func(host string) bool { return host == "0123.t.example.com" }
	options := Options{ACME: &ACME{CacheDir: dir, Names: []string{"proxy.example.com"}, Tunnel: tunnels}}
	h := newHouse(t, ca, options)
	for range 2 {
		for _, name := range []string{"proxy.example.com", "0123.t.example.com"} {
			if err := h.asks(name); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, name := range []string{"other.example.com", "4567.t.example.com", "t.example.com", "x.proxy.example.com"} {
			if h.asks(name) == nil {
				t.Errorf("%s has a certificate", name)
			}
		}
	}
	again := newHouse(t, ca, options) // has them on disk
	if err := errors.Join(again.asks("proxy.example.com"), again.asks("0123.t.example.com")); err != nil {
		t.Error(err)
	}
	names, faults := ca.Names()
	slices.Sort(names)
	if strings.Join(names, " ") != "0123.t.example.com proxy.example.com" || len(faults) > 0 {
		t.Errorf("ordered were %v, with the faults %v", names, faults)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory is %v, %v", info, err)
	}
	if h.log.Len() > 0 {
		t.Errorf("strangers have written %s", h.log.String())
	}
}

// A name that can't be had is told of.
func TestIssuingFails(t *testing.T) {
	ca := acmeca.Start(t)
	h := newHouse(t, ca, Options{ACME: &ACME{CacheDir: t.TempDir(), Names: []string{"proxy.example.com"}}})
	ca.CheckAt("127.0.0.1:1")
	if h.asks("proxy.example.com") == nil {
		t.Error("it was issued")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if text := h.log.String(); !strings.Contains(text, "no certificate can be had") || !strings.Contains(text, "proxy.example.com") {
		t.Errorf("logged is %q", text)
	}
}

// Tunnels get so many in an hour, and those that have one go on. Listed names are not
// among them.
func TestTunnelsDoNotUseUpTheAuthority(t *testing.T) {
	ca := acmeca.Start(t)
	i, err := newIssuer(ACME{Directory: ca.URL, CacheDir: t.TempDir(), Names: []string{"proxy.example.com"}, Tunnel: func(string) bool { return true }}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	host := func(n int) string { return fmt.Sprintf("%d.t.example.com", n) }
	if err := i.manager.Cache.Put(t.Context(), host(-1), []byte("there is one")); err != nil {
		t.Fatal(err)
	}
	for n := range tunnelIssues {
		if err := errors.Join(i.judge(t.Context(), host(n)), i.judge(t.Context(), host(n))); err != nil {
			t.Fatalf("%d: %v", n, err)
		}
	}
	if err := i.judge(t.Context(), host(tunnelIssues)); err != errTunnels {
		t.Errorf("one more: %v", err)
	}
	for _, name := range []string{host(0), host(-1), "proxy.example.com", "Proxy.example.com."} {
		if err := i.judge(t.Context(), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for n := range i.asked {
		i.asked[n] = i.asked[n].Add(-tunnelPeriod)
	}
	if err := i.judge(t.Context(), host(tunnelIssues)); err != nil {
		t.Errorf("an hour later: %v", err)
	}
}

// Of both kinds files come first for the names that they are for. Who asks for no name has
// something to go on with.
func TestFilesAndAuthority(t *testing.T) {
	ca, d := acmeca.Start(t), newDisk(t)
	c := testkit.NewCertificate(t, "file.example.com")
	d.write(d.cert, c.Cert)
	d.write(d.key, c.Key)
	for _, withFiles := range []bool{true, false} {
		o := Options{ACME: &ACME{CacheDir: t.TempDir(), Names: []string{"file.example.com", "other.example.com"}}}
		if withFiles {
			o.CertFile, o.KeyFile = d.cert, d.key
		}
		h := newHouse(t, ca, o)
		if err := h.asks("other.example.com"); err != nil {
			t.Error(err)
		}
		if err := h.asks("file.example.com"); (err == nil) == withFiles {
			t.Errorf("with files %v: of the authority: %v", withFiles, err)
		}
		conn, err := tls.Dial("tcp4", h.address, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		if leaf := conn.ConnectionState().PeerCertificates[0]; withFiles && leaf.DNSNames == nil || time.Until(leaf.NotAfter) < 0 {
			t.Errorf("with files %v: without a name it shows %v", withFiles, leaf.DNSNames)
		}
		conn.Close()
	}
}

func TestCacheDirCanNotBeUsed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{ACME: &ACME{CacheDir: filepath.Join(file, "x")}}); err == nil || !strings.Contains(err.Error(), "ACME_CACHE_DIR") {
		t.Errorf("%v", err)
	}
}
