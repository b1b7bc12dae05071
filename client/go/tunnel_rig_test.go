package wsproxy

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A tunnelRig is a server, a tunnel, and the outside world.
type tunnelRig struct {
	t       testing.TB
	address string // of the server
	http    net.Listener
	*Tunnel
	outside *http.Client
}

// newTunnelServer starts a server that has tunnels.
func newTunnelServer(t testing.TB, env ...string) (address string) {
	t.Helper()
	return startServer(t, append(tunnelEnv(t), env...)...)
}

func tunnelEnv(t testing.TB) []string {
	t.Helper()
	l := listen(t)
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	return []string{"TUNNEL_DOMAIN=tunnel.test", "TUNNEL_BIND=127.0.0.1",
		fmt.Sprint("TUNNEL_PORT_MIN=", port), fmt.Sprint("TUNNEL_PORT_MAX=", port)}
}

// openTunnel opens a tunnel that ends with the test.
func openTunnel(t testing.TB, address string, o ListenOptions) *tunnelRig {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if o.URL == "" {
		o.URL = "ws://" + address
	}
	l, tunnel, err := Listen(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	r := &tunnelRig{t: t, address: address, http: l, Tunnel: tunnel, outside: outsideOf(t, address)}
	t.Cleanup(func() {
		tunnel.Close()
		<-tunnel.Done()
	})
	return r
}

// outsideOf returns a client for which all names are those of the server.
func outsideOf(t testing.TB, address string) *http.Client {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		},
		MaxIdleConnsPerHost: 100, DisableCompression: true,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 2 * patience}
}

// serve has a handler answer what comes over HTTP, until the test ends.
func (r *tunnelRig) serve(handler http.Handler) *http.Server {
	s := &http.Server{Handler: handler}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(r.http)
	}()
	r.t.Cleanup(func() {
		s.Close()
		<-done
	})
	return s
}

// url is the address of a path from outside, by http.
func (r *tunnelRig) url(path string) string {
	u, err := url.Parse(r.URL)
	if err != nil {
		r.t.Fatal(err)
	}
	return "http://" + u.Hostname() + path
}

// get returns what a path answers.
func (r *tunnelRig) get(path string) (status int, body string) {
	r.t.Helper()
	answer, err := r.outside.Get(r.url(path))
	if err != nil {
		r.t.Fatal(err)
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		r.t.Error(err)
	}
	return answer.StatusCode, string(b)
}

// raw dials the raw port and returns both ends.
func (r *tunnelRig) raw() (*Stream, *net.TCPConn) {
	r.t.Helper()
	port := r.RawAddr[strings.LastIndexByte(r.RawAddr, ':'):]
	outside, err := net.Dial("tcp", "127.0.0.1"+port)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = outside.SetDeadline(time.Now().Add(2 * patience))
	s, err := r.Raw.Accept()
	if err != nil {
		r.t.Fatal(err)
	}
	_ = s.SetDeadline(time.Now().Add(2 * patience))
	r.t.Cleanup(func() {
		outside.Close()
		s.Close()
	})
	return s.(*Stream), outside.(*net.TCPConn)
}

// noise is bytes that are the same for the same seed.
func noise(seed uint64, n int64) io.Reader {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	return io.LimitReader(rand.NewChaCha8(key), n)
}

// sum reads to the end and returns the hash of what came, and how much it was.
func sum(r io.Reader) (hash string, n int64, err error) {
	h := sha256.New()
	n, err = io.Copy(h, struct{ io.Reader }{r})
	return fmt.Sprintf("%x", h.Sum(nil)), n, err
}

// noiseSum is the hash of noise.
func noiseSum(seed uint64, n int64) string {
	hash, _, _ := sum(noise(seed, n))
	return hash
}

// A cutter passes TCP connections on to an address, and can cut them.
type cutter struct {
	l       net.Listener
	mu      sync.Mutex
	conns   []*net.TCPConn
	refuses bool
	cuts    int
}

func newCutter(t testing.TB, to string) *cutter {
	t.Helper()
	c := &cutter{l: listen(t)}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			near, err := c.l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil || !c.add(near.(*net.TCPConn), far.(*net.TCPConn)) {
				near.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
				all.Go(func() {
					_, _ = io.Copy(way[0], way[1])
					_ = way[0].(*net.TCPConn).CloseWrite()
				})
			}
		}
	})
	t.Cleanup(func() {
		c.l.Close()
		c.cut()
		all.Wait()
	})
	return c
}

func (c *cutter) add(conns ...*net.TCPConn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns = append(c.conns, conns...)
	return !c.refuses
}

// cut resets all connections.
func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		_ = conn.SetLinger(0)
		conn.Close()
	}
	c.conns = slices.Delete(c.conns, 0, len(c.conns))
	c.cuts++
}
