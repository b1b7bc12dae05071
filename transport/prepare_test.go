package transport

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"wsproxy/internal/testkit"
	"wsproxy/messages"
	"wsproxy/netpolicy"
	"wsproxy/transport/listen"
)

// listenPrepared serves d on loopback, with something before the HTTP, until the test ends.
func (d *desk) listenPrepared(t *testing.T, o listen.Options) (address string) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, ended, opened := d.HTTP(), make(chan struct{}), listen.New(l, o)
	go func() {
		defer close(ended)
		_ = server.Serve(d.PreparedListener(opened, opened))
	}()
	t.Cleanup(func() {
		server.Close()
		<-ended
	})
	return l.Addr().String()
}

func trustLoopback(c *Config) {
	c.Sources = netpolicy.NewSources([]netip.Prefix{netip.MustParsePrefix("127.0.0.1/32"), netip.MustParsePrefix("198.51.100.0/24")})
}

// fromProxies has the desk's trusted proxies send headers of the PROXY protocol.
func (d *desk) fromProxies() listen.Options {
	return listen.Options{ProxyFrom: d.config.Sources.Trusted}
}

// source returns what a request is counted for that begins with a header.
func (d *desk) source(t *testing.T, address, header, forwarded string) string {
	t.Helper()
	conn := dialText(t, address, header+strings.Replace(handshakeText, "\r\n\r\n", "\r\nX-Forwarded-For: "+forwarded+"\r\n\r\n", 1))
	open := d.opened()
	defer func() {
		open.Answer <- messages.Admission{Refusal: messages.ReasonDraining}
		_, _ = http.ReadResponse(bufio.NewReader(conn), nil)
	}()
	return open.Source.String()
}

// The address in the header is the direct peer: what it says itself counts if it is
// trusted, too.
func TestProxyHeaderNamesThePeer(t *testing.T) {
	d := newDesk(t, trustLoopback)
	address := d.listenPrepared(t, d.fromProxies())
	const local = "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
	for header, want := range map[string]string{
		"PROXY TCP4 203.0.113.9 10.0.0.1 12345 80\r\n":    "203.0.113.9",
		"PROXY TCP6 2001:db8::9 2001:db8::1 12345 80\r\n": "2001:db8::9",
		"PROXY TCP4 198.51.100.1 10.0.0.1 12345 80\r\n":   "192.0.2.7",
		"PROXY UNKNOWN\r\n":                               "192.0.2.7", // the peer is trusted itself
		local:                                             "192.0.2.7",
	} {
		if got := d.source(t, address, header, "192.0.2.7"); got != want {
			t.Errorf("%q: it counts for %s, want %s", header, got, want)
		}
	}
}

// A connection without its header is closed, and counted.
func TestProxyHeaderIsMissed(t *testing.T) {
	d := newDesk(t, trustLoopback)
	address := d.listenPrepared(t, d.fromProxies())
	for _, text := range []string{"GET /health HTTP/1.1\r\nHost: a\r\n\r\n", "PROXY TCP4 1 2 3 4\r\n"} {
		conn := dialText(t, address, text)
		if b, _ := io.ReadAll(conn); len(b) > 0 {
			t.Errorf("%q is answered with %q", text, b)
		}
		testkit.Eventually(t, "it is counted", func() bool { return strings.Join(d.take(), "|") == "http proxy_header" })
	}
	dialText(t, address, "").Close() // as a balancer's check does
	dialText(t, address, "x")
	testkit.Eventually(t, "only what has said something is counted", func() bool { return strings.Join(d.take(), "|") == "http proxy_header" })
}

// Whoever is no trusted proxy is taken as it is: what it sends is HTTP.
func TestProxyHeaderOfStrangers(t *testing.T) {
	d := newDesk(t, nil)
	address := d.listenPrepared(t, d.fromProxies())
	answer, err := http.ReadResponse(bufio.NewReader(dialText(t, address, "GET /health HTTP/1.1\r\nHost: a\r\n\r\n")), nil)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Errorf("without a header: %v, %v", answer, err)
	}
	answer, err = http.ReadResponse(bufio.NewReader(dialText(t, address, "PROXY TCP4 1.1.1.1 2.2.2.2 1 1\r\nGET /health HTTP/1.1\r\nHost: a\r\n\r\n")), nil)
	if err != nil || answer.StatusCode != http.StatusBadRequest {
		t.Errorf("with one: %v, %v", answer, err)
	}
}

// Those that send nothing hold up nobody, and are counted: the one that waits longest
// gives way.
func TestSilentConnectionsHoldUpNobody(t *testing.T) {
	d := newDesk(t, func(c *Config) { trustLoopback(c); c.MaxConns = 3 })
	address := d.listenPrepared(t, d.fromProxies())
	first := dialText(t, address, "")
	testkit.Eventually(t, "it is counted", func() bool { return d.Conns() == 1 })
	var silent []net.Conn
	for range 2 {
		silent = append(silent, dialText(t, address, "PROXY TCP4 "))
	}
	testkit.Eventually(t, "they are counted", func() bool { return d.Conns() == 3 })
	answer, err := http.ReadResponse(bufio.NewReader(dialText(t, address, "PROXY UNKNOWN\r\nGET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")), nil)
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("beside them: %v, %v", answer, err)
	}
	if n, err := first.Read(make([]byte, 1)); err == nil || n > 0 {
		t.Error("the one that waits longest has not given way")
	}
	for _, conn := range silent {
		conn.Close()
	}
	testkit.Eventually(t, "nothing is counted any more", func() bool { return d.Conns() == 0 })
	if got := strings.Join(d.take(), "|"); got != "http conn_idle|http proxy_header|http proxy_header" {
		t.Errorf("counted as %s", got)
	}
}

// A connection that does not get through its handshake is counted as one that is no
// session, and as refused. One that is all handshake is not.
func TestHandshakes(t *testing.T) {
	d := newDesk(t, func(c *Config) { c.Secure = true })
	certificate := testkit.NewCertificate(t, "proxy.example")
	config := &tls.Config{Certificates: []tls.Certificate{certificate.TLS}, NextProtos: []string{"http/1.1", "silent"}}
	address := d.listenPrepared(t, listen.Options{TLS: config, Silent: "silent", Log: slog.New(slog.DiscardHandler)})
	silent := dialText(t, address, "")
	testkit.Eventually(t, "it is counted", func() bool { return d.Conns() == 1 })
	silent.Close()
	testkit.Eventually(t, "it is counted no more", func() bool { return d.Conns() == 0 })
	if got := d.take(); len(got) > 0 {
		t.Errorf("who only looks whether anybody listens is refused: %q", got)
	}
	dialText(t, address, "GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
	testkit.Eventually(t, "what is no TLS is refused", func() bool { return strings.Join(d.take(), "|") == "http tls_handshake" })
	for _, protocol := range []string{"silent", "http/1.1"} {
		conn, err := tls.Dial("tcp4", address, &tls.Config{RootCAs: certificate.Roots, ServerName: "proxy.example", NextProtos: []string{protocol}})
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(testkit.Patience))
		_, _ = io.WriteString(conn, "GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if (err == nil) != (protocol == "http/1.1") {
			t.Errorf("%s: %v, %v", protocol, answer, err)
		}
		conn.Close()
	}
	testkit.Eventually(t, "nothing is counted any more", func() bool { return d.Conns() == 0 })
	if got := d.take(); len(got) > 0 {
		t.Errorf("counted as %q", got)
	}
}

// What gives way while it waits for a certificate waits no longer: it would be there, and
// counted nowhere.
func TestHandshakesThatGiveWayEnd(t *testing.T) {
	d := newDesk(t, func(c *Config) { c.Secure, c.MaxConns = true, 2 })
	asked, ended := make(chan struct{}, 5), make(chan error, 5)
	config := &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		asked <- struct{}{}
		<-hello.Context().Done()
		ended <- hello.Context().Err()
		return nil, hello.Context().Err()
	}}
	address := d.listenPrepared(t, listen.Options{TLS: config, Log: slog.New(slog.DiscardHandler)})
	for range 5 {
		conn := tls.Client(dialText(t, address, ""), &tls.Config{ServerName: "proxy.example"})
		go func() { _ = conn.Handshake() }()
		testkit.Receive(t, asked)
	}
	for range 3 {
		if err := testkit.Receive(t, ended); !errors.Is(err, context.Canceled) {
			t.Errorf("it has ended for another reason: %v", err)
		}
	}
}
