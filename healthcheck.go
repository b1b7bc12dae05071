package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"wsproxy/config"
)

// healthcheckTimeout bounds the whole check. A server that can't say "ok"
// within it serves nobody well either.
const healthcheckTimeout = 3 * time.Second

// maxHealthBody is all that is read of an answer: "ok" needs two bytes, and
// the rest is only for the sentence about whoever else answered.
const maxHealthBody = 256

// healthcheck asks the server that runs with cfg on this machine how it is. It
// writes one sentence to out and returns the exit status: 0 when the answer is
// 200 with the body "ok", else 1, draining included.
func healthcheck(ctx context.Context, cfg config.Config, out io.Writer) int {
	if _, unix := config.UnixPath(cfg.Bind); cfg.Port == 0 && !unix {
		fmt.Fprintln(out, "unhealthy: PORT is 0, so the port that the server took can't be known")
		return 1
	}
	ctx, cancel := context.WithTimeout(ctx, healthcheckTimeout)
	defer cancel()
	if err := askHealth(ctx, cfg, probeAddrs(cfg.Bind, cfg.Port)); err != nil {
		fmt.Fprintf(out, "unhealthy: %s\n", err)
		return 1
	}
	fmt.Fprintln(out, "ok")
	return 0
}

// probeAddrs lists where a listener bound to bind can be reached from its own
// machine, the likeliest first. All interfaces means either loopback: a
// machine may lack one family of addresses.
func probeAddrs(bind string, port uint16) []string {
	if _, unix := config.UnixPath(bind); unix {
		return []string{bind}
	}
	hosts := []string{bind}
	if addr, err := netip.ParseAddr(bind); bind == "" || err == nil && addr.IsUnspecified() {
		hosts = []string{"127.0.0.1", "::1"}
		if addr.Is6() {
			hosts = []string{"::1", "127.0.0.1"}
		}
	}
	addrs := make([]string, len(hosts))
	for i, host := range hosts {
		addrs[i] = net.JoinHostPort(host, strconv.Itoa(int(port)))
	}
	return addrs
}

// askHealth returns nil when the first of addrs that accepts a connection says
// that all is well, else a sentence.
func askHealth(ctx context.Context, cfg config.Config, addrs []string) error {
	scheme := "http://"
	if cfg.TLS() {
		scheme = "https://"
	}
	client := http.Client{
		// No proxy of the environment: the check is about this machine.
		Transport: &http.Transport{
			DisableKeepAlives: true,
			// Whose name the certificate has is nothing to ask of an address of this
			// machine; and without a name none is had from an authority.
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "127.0.0.1"},
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				conn, err := dialFirst(ctx, network, addrs)
				if err == nil && cfg.ProxyProtocol && isTrusted(cfg, conn.LocalAddr()) {
					_, err = io.WriteString(conn, ownConnection)
				}
				return conn, err
			},
		},
		// A redirect is no "ok", wherever it leads.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+hostOf(addrs[0])+"/health", nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s gave no answer in time (%s)", request.URL, healthcheckTimeout)
	}
	if err != nil {
		// Only what went wrong: url.Error adds the address once more.
		if wrapped := (*url.Error)(nil); errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return fmt.Errorf("%s can't be asked: %w", request.URL, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxHealthBody))
	if err != nil {
		return fmt.Errorf("%s broke off its answer: %w", request.URL, err)
	}
	said := strings.TrimSpace(string(body))
	if response.StatusCode != http.StatusOK || said != "ok" {
		return fmt.Errorf("%s answered %s with %q, not 200 with \"ok\"", request.URL, response.Status, said)
	}
	return nil
}

// ownConnection is the header of the PROXY protocol of a connection that is made for
// nobody else.
const ownConnection = "PROXY UNKNOWN\r\n"

// isTrusted reports whether the server takes an address for a trusted proxy's.
func isTrusted(cfg config.Config, local net.Addr) bool {
	var addr netip.Addr // of a Unix socket
	if tcp, ok := local.(*net.TCPAddr); ok {
		addr = tcp.AddrPort().Addr()
	}
	return cfg.Sources().Trusted(addr)
}

// hostOf returns the host of a URL for an address: a Unix socket has none.
func hostOf(addr string) string {
	if _, unix := config.UnixPath(addr); unix {
		return "localhost"
	}
	return addr
}

// dialFirst connects to the first of addrs that accepts. If none does the error
// is the likeliest one's, which is the first.
func dialFirst(ctx context.Context, network string, addrs []string) (net.Conn, error) {
	var dialer net.Dialer
	var first error
	for _, addr := range addrs {
		path, unix := config.UnixPath(addr)
		if unix {
			network, addr = "unix", path
		}
		conn, err := dialer.DialContext(ctx, network, addr)
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}
