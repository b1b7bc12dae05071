package top

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"wsproxy/config"
)

// An address is where a server listens for its METRICS_ADDR.
type address struct {
	base   *url.URL // of its paths
	socket string   // the path of a Unix socket that leads there; "" = TCP
}

// addressOf reads a command line's. It doesn't repeat what it is given, which may have a
// secret in it.
func addressOf(raw string) (address, error) {
	if socket, unix := config.UnixPath(raw); unix {
		if socket == "" {
			return address{}, fmt.Errorf("unix: needs the path of the socket, such as unix:/run/wsproxy/metrics")
		}
		return address{&url.URL{Scheme: "http", Host: "localhost"}, socket}, nil
	}
	u, err := url.Parse(raw)
	switch {
	case err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host == "unix:":
		return address{}, fmt.Errorf("a Unix socket is unix: and its path, without http://, such as unix:/run/wsproxy/metrics")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return address{}, fmt.Errorf("it must be like http://127.0.0.1:9090, or unix:/run/wsproxy/metrics")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return address{}, fmt.Errorf("it has a user, a query or a fragment; the token is that of %s or --token-file", tokenVariable)
	}
	u.Path, u.RawPath = strings.TrimSuffix(u.Path, "/"), ""
	return address{base: u}, nil
}

// String is what people are told.
func (a address) String() string {
	if a.socket != "" {
		return "unix:" + a.socket
	}
	return a.base.Host
}

// inTheClear reports whether others can read on the way there.
func (a address) inTheClear() bool {
	return a.socket == "" && a.base.Scheme == "http" && !isLocal(a.base.Hostname())
}

// transport leads there; nil is the usual one.
func (a address) transport() http.RoundTripper {
	if a.socket == "" {
		return nil
	}
	return &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, "unix", a.socket)
	}}
}

func isLocal(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
