package socket

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"

	"golang.org/x/net/proxy"
)

// A way leads to a server: straight or through a proxy, with TLS or without.
//
// gorilla's Dialer has all of that, but what it returns can't be told from
// below TLS which frame is which: see [wire].
type way struct {
	url   *url.URL // http or https
	tls   *tls.Config
	proxy func(*http.Request) (*url.URL, error)
	open  func(ctx context.Context, address string) (net.Conn, error)
}

// dial returns a connection that the handshake may begin on.
func (w *way) dial(ctx context.Context) (*road, error) {
	conn, err := w.reach(ctx)
	if err != nil || w.url.Scheme == "http" {
		return conn, err
	}
	if err := conn.secure(ctx, w.tls, w.url.Hostname()); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return conn, nil
}

// A road is a connection with what carries it.
type road struct {
	net.Conn          // what is written to
	raw      net.Conn // the TCP connection
}

func (w *way) reach(ctx context.Context) (*road, error) {
	choose := w.proxy
	if choose == nil {
		choose = http.ProxyFromEnvironment
	}
	via, err := choose(&http.Request{Method: http.MethodGet, URL: w.url, Host: w.url.Host, Header: http.Header{}})
	if err != nil {
		return nil, errors.New("the proxy's address can't be read") // it may have a password
	}
	target := hostPort(w.url)
	if via == nil {
		return w.connect(ctx, target)
	}
	r, err := w.through(ctx, via, target)
	if err != nil {
		return nil, fmt.Errorf("the proxy %s: %w", via.Host, err)
	}
	return r, nil
}

func (w *way) connect(ctx context.Context, address string) (*road, error) {
	open := w.open
	if open == nil {
		open = func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
	}
	conn, err := open(ctx, address)
	if err != nil {
		return nil, err
	}
	return &road{conn, conn}, nil
}

// through returns a connection to an address that a proxy has made.
func (w *way) through(ctx context.Context, via *url.URL, address string) (*road, error) {
	switch via.Scheme {
	case "http", "https":
	case "socks5", "socks5h":
		return w.throughSOCKS(ctx, via, address)
	default:
		return nil, fmt.Errorf("proxies of the kind %q are not known; those that are: http, https, socks5", via.Scheme)
	}
	r, err := w.connect(ctx, hostPort(via))
	if err != nil {
		return nil, err
	}
	if via.Scheme == "https" {
		if err := r.secure(ctx, nil, via.Hostname()); err != nil {
			return nil, err
		}
	}
	stop := context.AfterFunc(ctx, func() { r.raw.Close() })
	err = r.ask(via.User, address)
	if !stop() {
		err = context.Cause(ctx)
	}
	if err != nil {
		r.raw.Close()
		return nil, err
	}
	return r, nil
}

// ask asks an HTTP proxy for a connection.
func (r *road) ask(user *url.Userinfo, address string) error {
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: address}, Host: address, Header: http.Header{}}
	if user != nil {
		password, _ := user.Password()
		request.Header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	if err := request.Write(r); err != nil {
		return err
	}
	in := bufio.NewReader(io.LimitReader(r, maxAnswer))
	response, err := http.ReadResponse(in, request)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers CONNECT with status %d (%s)", response.StatusCode, http.StatusText(response.StatusCode))
	}
	if in.Buffered() > 0 { // the server speaks when it is spoken to
		return errors.New("it sends more than its answer to CONNECT")
	}
	return nil
}

func (w *way) throughSOCKS(ctx context.Context, via *url.URL, address string) (*road, error) {
	via = &url.URL{Scheme: "socks5", Host: hostPort(via), User: via.User}
	var r *road
	dialer, err := proxy.FromURL(via, forward(func(ctx context.Context, _, address string) (_ net.Conn, err error) {
		r, err = w.connect(ctx, address)
		return r, err
	}))
	if err != nil {
		return nil, err
	}
	conn, err := dialer.(proxy.ContextDialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &road{conn, r.raw}, nil
}

// forward is how a SOCKS proxy is reached.
type forward func(ctx context.Context, network, address string) (net.Conn, error)

func (f forward) Dial(network, address string) (net.Conn, error) {
	return f(context.Background(), network, address)
}

func (f forward) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return f(ctx, network, address)
}

// secure begins TLS on what there is. The connection is closed if that fails.
func (r *road) secure(ctx context.Context, config *tls.Config, host string) error {
	if config = config.Clone(); config == nil {
		config = &tls.Config{}
	}
	if config.ServerName == "" {
		config.ServerName = host
	}
	config.NextProtos = nil // a WebSocket's handshake is HTTP/1.1
	conn := tls.Client(r.Conn, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		r.raw.Close()
		return err
	}
	r.Conn = conn
	return nil
}

// hostPort returns the address that a URL means.
func hostPort(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	case u.Scheme == "http":
		port = "80"
	default:
		port = "1080" // of SOCKS
	}
	return net.JoinHostPort(u.Hostname(), port)
}
