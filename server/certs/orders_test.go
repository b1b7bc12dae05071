package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"time"

	"wsproxy/internal/testkit"
)

// While an authority is silent, handshakes end with their connections, however many there
// are: what is left is one order.
func TestHandshakesEndWhileTheAuthorityIsSilent(t *testing.T) {
	asked, release := make(chan struct{}, 1), make(chan struct{})
	authority := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		select {
		case asked <- struct{}{}:
		default:
		}
		<-release
	}))
	defer authority.Close()
	let := sync.OnceFunc(func() { close(release) })
	defer let()
	s, err := Open(Options{
		ACME: &ACME{Directory: authority.URL, CacheDir: t.TempDir(), Names: []string{"proxy.example.com"}},
		Log:  slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()

	const strangers = 200
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, strangers)
	for range strangers {
		client, server := net.Pipe()
		defer client.Close()
		go func() { _ = tls.Client(client, &tls.Config{ServerName: "proxy.example.com"}).Handshake() }()
		go func() { ended <- tls.Server(server, s.TLS()).HandshakeContext(ctx) }()
	}
	testkit.Receive(t, asked)
	cancel()
	for range strangers {
		if err := testkit.Receive(t, ended); !errors.Is(err, context.Canceled) {
			t.Fatalf("a handshake ends with %v", err)
		}
	}
	testkit.Eventually(t, "no goroutine of theirs is left", func() bool { return runtime.NumGoroutine() < before+strangers/2 })
	let()
	testkit.Eventually(t, "the order is over", func() bool {
		s.issuer.orders.mu.Lock()
		defer s.issuer.orders.mu.Unlock()
		return len(s.issuer.orders.under) == 0
	})
}

// Clients that know RSA alone get another certificate than those that know ECDSA, and
// autocert's idea of who they are is the same.
func TestKindsOfClients(t *testing.T) {
	ecdsa := &tls.ClientHelloInfo{
		ServerName: "proxy.example.com", SupportedVersions: []uint16{tls.VersionTLS13}, CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256},
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}, SupportedCurves: []tls.CurveID{tls.CurveP256},
	}
	rsa := *ecdsa
	rsa.SupportedVersions, rsa.CipherSuites = []uint16{tls.VersionTLS12}, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	rsa.SignatureSchemes = []tls.SignatureScheme{tls.PSSWithSHA256}
	for hello, want := range map[*tls.ClientHelloInfo]bool{ecdsa: false, &rsa: true} {
		if k, err := kindOf(hello); err != nil || k.rsa != want {
			t.Errorf("%v: %v, %v", hello.SignatureSchemes, k, err)
		}
	}
}

// Those that ask together have one answer; a failure is asked for again, what was had is
// not waited for any more.
func TestOrders(t *testing.T) {
	o, k, none := newOrders(), kind{name: "a"}, errors.New("none")
	if _, err := o.get(t.Context(), k, func() (*tls.Certificate, error) { return nil, none }); err != none {
		t.Errorf("a failure: %v", err)
	}
	had, release, calls := new(tls.Certificate), make(chan struct{}), make(chan struct{}, 9)
	ask := func() (*tls.Certificate, error) {
		calls <- struct{}{}
		<-release
		return had, nil
	}
	got := make(chan *tls.Certificate, 3)
	for range 3 {
		go func() {
			c, _ := o.get(t.Context(), k, ask)
			got <- c
		}()
	}
	testkit.Receive(t, calls)
	gone, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := o.get(gone, k, ask); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("who waits no longer: %v", err)
	}
	close(release)
	for range 3 {
		if c := testkit.Receive(t, got); c != had {
			t.Errorf("they have %v", c)
		}
	}
	if c, err := o.get(gone, k, ask); c != had || err != nil {
		t.Errorf("what was had: %v, %v", c, err)
	}
}
