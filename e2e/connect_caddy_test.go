package e2e

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// Through a front proxy that speaks TLS with a certificate of its own: with its
// authority it works, without it nothing is sent, and --insecure says what it does.
func TestConnectThroughCaddy(t *testing.T) {
	t.Parallel()
	s := resumeServer(t, "TRUSTED_PROXIES=127.0.0.1/32")
	address, authority := caddyTLS(t, s.addr)
	_, port, _ := net.SplitHostPort(address)
	_, far, _ := net.SplitHostPort(echoServer(t).String())
	url := "wss://localhost:" + port
	const word = "through TLS\n"
	for _, test := range []struct {
		flags []string
		works bool
		says  string
	}{
		{[]string{"--ca", authority}, true, ""},
		{nil, false, "certificate"},
		{[]string{"--insecure"}, true, "nobody is checked"},
	} {
		cmd := connectCommand(t, append(test.flags, url, "127.0.0.1", far)...)
		cmd.Stdin = strings.NewReader(word)
		said := &output{}
		cmd.Stderr = said
		out, err := cmd.Output()
		if works := err == nil && string(out) == word; works != test.works || !strings.Contains(said.String(), test.says) {
			t.Errorf("connect %v: %q, %v, it says %q, which should have %q", test.flags, out, err, said, test.says)
		}
	}
}

// A service behind a front proxy that speaks TLS to both sides.
func TestExposeThroughCaddy(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t, "TRUSTED_PROXIES=127.0.0.1/32")
	address, authority := caddyTLS(t, s.addr)
	_, port, _ := net.SplitHostPort(address)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.Copy(w, r.Body)
	}))
	defer service.Close()
	_, inside, _ := net.SplitHostPort(service.Listener.Addr().String())
	e := exposeBinary(t, binaryPath, "--json", "--ca", authority, "wss://localhost:"+port, inside)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}}
	defer client.CloseIdleConnections()
	const size = 4 << 20
	response, err := client.Post("https://"+e.host(1)+":"+port+"/", "application/octet-stream", io.LimitReader(tunnelNoise(8), size))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK || response.ProtoMajor != 2 {
		t.Errorf("the service answers %s over %s", response.Status, response.Proto)
	}
	wantNoise(t, "the echo", response.Body, 8, size)
}
