package socket

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// A connectProxy is an HTTP proxy that knows CONNECT alone.
type connectProxy struct {
	auth  string // Proxy-Authorization that it wants
	asked chan string
}

func (p *connectProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect || r.Header.Get("Proxy-Authorization") != p.auth {
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	p.asked <- r.Host
	far, err := net.Dial("tcp", r.Host)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer far.Close()
	near, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer near.Close()
	_, _ = io.WriteString(near, "HTTP/1.1 200 Connection established\r\n\r\n")
	join(near, far)
}

func join(near, far net.Conn) {
	go func() {
		_, _ = io.Copy(far, near)
		far.Close()
	}()
	_, _ = io.Copy(near, far)
}

// trust returns the options of TLS of who trusts a test server.
func trust(server *httptest.Server) *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())
	return &tls.Config{RootCAs: pool}
}

func TestTLS(t *testing.T) {
	server, _ := serve(t, "wsproxy.resume")
	server.StartTLS()
	address := "wss" + strings.TrimPrefix(server.URL, "https")
	config := trust(server)
	config.NextProtos = []string{"h2", "http/1.1"} // shared with net/http
	c, err := Dial(t.Context(), &Options{URL: address, TLS: config, Proxy: noProxy}, "/relay", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	echo(t, c)
	_, err = Dial(t.Context(), &Options{URL: address, Proxy: noProxy}, "/relay", nil, nil)
	if unknown := (x509.UnknownAuthorityError{}); err == nil || !strings.Contains(err.Error(), unknown.Error()) {
		t.Errorf("a server that nobody trusts: %v", err)
	}
}

func TestGoesThroughProxies(t *testing.T) {
	server, _ := serve(t, "wsproxy.resume")
	server.StartTLS()
	plainServer, _ := serve(t, "wsproxy.resume")
	plainServer.Start()
	for _, user := range []*url.Userinfo{nil, url.UserPassword("alice", "s3cret")} {
		p := &connectProxy{asked: make(chan string, 1)}
		if user != nil {
			p.auth = "Basic YWxpY2U6czNjcmV0"
		}
		front := httptest.NewServer(p)
		defer front.Close()
		via := &url.URL{Scheme: "http", Host: front.Listener.Addr().String(), User: user}
		for _, s := range []*httptest.Server{server, plainServer} {
			o := &Options{URL: s.URL, Proxy: http.ProxyURL(via)}
			if s == server {
				o.TLS = trust(s)
			}
			c, err := Dial(t.Context(), o, "/relay", nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			echo(t, c)
			if got := <-p.asked; got != s.Listener.Addr().String() {
				t.Errorf("the proxy is asked for %s", got)
			}
		}
		via.User = url.UserPassword("bob", "s3cret")
		_, err := Dial(t.Context(), &Options{URL: server.URL, Proxy: http.ProxyURL(via)}, "/relay", nil, nil)
		if err == nil || !strings.Contains(err.Error(), "407 (Proxy Authentication Required)") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("a proxy that refuses: %v", err)
		}
	}
	_, err := Dial(t.Context(), &Options{URL: "wss://host", Proxy: http.ProxyURL(&url.URL{Scheme: "gopher", Host: "x"})}, "/relay", nil, nil)
	if err == nil || !strings.Contains(err.Error(), "gopher") {
		t.Errorf("a proxy of another kind: %v", err)
	}
}

// The environment names the proxy, unless NO_PROXY names the host. The variables
// are read once a process, so that the choice alone is tested.
func TestAsksWhichProxy(t *testing.T) {
	server, _ := serve(t, "wsproxy.resume")
	server.StartTLS()
	var asked *url.URL
	o := &Options{URL: "wss" + strings.TrimPrefix(server.URL, "https"), TLS: trust(server),
		Proxy: func(r *http.Request) (*url.URL, error) { asked = r.URL; return nil, nil }}
	c, err := Dial(t.Context(), o, "/relay", url.Values{"host": {"h"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	echo(t, c)
	if asked.Scheme != "https" || asked.Host != server.Listener.Addr().String() { // as ProxyFromEnvironment wants it
		t.Errorf("the proxy for %v is asked for", asked)
	}
}

func TestGoesThroughSOCKS(t *testing.T) {
	server, _ := serve(t, "wsproxy.resume")
	server.Start()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		near, err := l.Accept()
		if err != nil {
			return
		}
		defer near.Close()
		in := bufio.NewReader(near)
		_, _ = in.Discard(3)            // version 5, one method: none
		_, _ = near.Write([]byte{5, 0}) // none
		_, _ = in.Discard(10)           // CONNECT to an IPv4 address
		far, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			return
		}
		defer far.Close()
		_, _ = near.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
		join(near, far)
	}()
	via := &url.URL{Scheme: "socks5", Host: l.Addr().String()}
	c, err := Dial(t.Context(), &Options{URL: server.URL, Proxy: http.ProxyURL(via)}, "/relay", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	echo(t, c)
}

func TestPortsOfURLs(t *testing.T) {
	for address, want := range map[string]string{
		"http://host": "host:80", "https://host": "host:443", "https://host:8443": "host:8443", "http://[::1]": "[::1]:80", "socks5://host": "host:1080",
	} {
		u, err := url.Parse(address)
		if got := hostPort(u); err != nil || got != want {
			t.Errorf("%s is reached at %s, not %s", address, got, want)
		}
	}
}
