package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// bytesLinger is how long a connection whose service has ended its sending side
// waits for bytes from the proxy before it is given up.
const bytesLinger = 30 * time.Second

// A bytesTunnel is a tunnel with http=bytes whose client does the least that one
// can do: it hands the bytes of each connection on to a service's TCP address,
// and knows nothing of HTTP.
type bytesTunnel struct {
	*tunnelClient
	service string
	eof     string // the reason of tcp_close when the service has ended; empty for none

	mu    sync.Mutex
	conns []*bytesConn // under mu: all there ever were
}

// A bytesConn is a connection of the proxy and the one to the service.
type bytesConn struct {
	*tunnelRawConn
	tunnel  *bytesTunnel
	service *net.TCPConn  // nil if there is none
	done    chan struct{} // closed when both have ended
}

// bytesOpen registers a tunnel whose connections lead to a service. more is what
// else stands in the query.
func bytesOpen(t *testing.T, s *server, service string, more ...string) *bytesTunnel {
	t.Helper()
	return bytesOpenEnding(t, s, "eof", service, more...)
}

// bytesOpenEnding is bytesOpen for a client that gives another reason when the
// service has ended.
func bytesOpenEnding(t *testing.T, s *server, eof, service string, more ...string) *bytesTunnel {
	t.Helper()
	b := &bytesTunnel{service: service, eof: eof}
	query := "flow=credit&http=bytes"
	for _, part := range more {
		query += "&" + part
	}
	b.tunnelClient = tunnelOpen(t, s, tunnelScript{query: query, raw: b.join})
	if b.ready.HTTP != "bytes" {
		t.Fatalf("tunnel_ready is %+v, which does not say http=bytes", b.ready)
	}
	return b
}

// all returns the connections so far.
func (b *bytesTunnel) all() []*bytesConn {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]*bytesConn(nil), b.conns...)
}

// opened returns how many connections there were so far.
func (b *bytesTunnel) opened() int { return len(b.all()) }

// join passes bytes both ways until both sides have ended.
func (b *bytesTunnel) join(c *tunnelClient, n *tunnelRawConn) {
	conn := &bytesConn{tunnelRawConn: n, tunnel: b, done: make(chan struct{})}
	defer close(conn.done)
	defer n.forget()
	service, err := net.DialTimeout("tcp", b.service, patience)
	if err == nil {
		conn.service = service.(*net.TCPConn)
		defer conn.service.Close()
	}
	b.mu.Lock()
	b.conns = append(b.conns, conn)
	b.mu.Unlock()
	if err != nil {
		n.end("refused")
		return
	}
	fromProxy := make(chan struct{})
	go func() {
		defer close(fromProxy)
		conn.toService()
	}()
	conn.fromService()
	if !waitClosed(fromProxy, bytesLinger) {
		_ = n.Close()
		n.forget()
		<-fromProxy
	}
}

// toService passes on what the proxy sends, and how it ends.
func (c *bytesConn) toService() {
	_, err := io.CopyBuffer(struct{ io.Writer }{c.service}, struct{ io.Reader }{c}, make([]byte, 32<<10))
	var network *net.OpError
	switch {
	case err == nil:
		_ = c.service.CloseWrite()
	case errors.As(err, &network):
		// The service takes no more. What it has said still goes the other way, and
		// its end after it.
	default: // the proxy's reset, or the end of the tunnel
		_ = c.service.SetLinger(0)
		c.service.Close()
	}
}

// fromService passes on what the service sends, and how it ends.
func (c *bytesConn) fromService() {
	reader := &failing{Reader: c.service}
	_, _ = io.CopyBuffer(struct{ io.Writer }{c}, reader, make([]byte, 32<<10))
	switch {
	case reader.err == nil: // the proxy takes no more
		_ = c.service.SetLinger(0)
		c.service.Close()
	case errors.Is(reader.err, io.EOF) && c.tunnel.eof == "":
		_ = c.Close()
	case errors.Is(reader.err, io.EOF):
		c.end(c.tunnel.eof)
	case errors.Is(reader.err, net.ErrClosed): // by toService
	default:
		c.end("reset")
	}
}

// failing notes with which error its reader has ended.
type failing struct {
	io.Reader
	err error
}

func (f *failing) Read(p []byte) (n int, err error) {
	n, err = f.Reader.Read(p)
	f.err = err
	return n, err
}

// waitClosed waits for the end of a channel, and reports whether it came in time.
func waitClosed(done <-chan struct{}, timeout time.Duration) bool {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// Raw connections of a tunnel with http=bytes are what they are without it: the
// client tells them apart by protocol alone.
func TestBytesRawConnectionsBesideHTTP(t *testing.T) {
	t.Parallel()
	s := tunnelServer(t)
	b := bytesOpen(t, s, echoServer(t).String())
	outside := tunnelDial(t, b.port)
	for range 3 {
		if _, err := tunnelPing(outside); err != nil {
			t.Fatal(err)
		}
	}
	go func() {
		_, _ = io.CopyN(struct{ io.Writer }{outside}, tunnelNoise(3), 8<<20)
		outside.CloseWrite()
	}()
	want, _, _ := tunnelSum(io.LimitReader(tunnelNoise(3), 8<<20))
	if sum, n, err := tunnelSum(outside); err != nil || sum != want {
		t.Errorf("%d bytes come back, the same: %t, %v", n, sum == want, err)
	}
	if conns := b.all(); len(conns) != 1 || conns[0].protocol != "" || conns[0].remote != outside.LocalAddr().String() {
		t.Errorf("the connections are %d, %+v", len(conns), conns)
	}
}

// Hundreds of connections at once, each with its own bytes both ways, lose and mix
// nothing.
func TestBytesManyAtOnce(t *testing.T) {
	t.Parallel()
	r := newBytesRig(t, bytesEcho(), "MAX_TUNNEL_HTTP=400", "MAX_TUNNEL_HTTP_PER_IP=200")
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			const size = 300_000
			want, _, _ := tunnelSum(io.LimitReader(tunnelNoise(uint64(i)), size))
			response, err := r.do("POST", fmt.Sprint("/", i), io.LimitReader(tunnelNoise(uint64(i)), size))
			if err != nil {
				t.Errorf("request %d: %v", i, err)
				return
			}
			defer response.Body.Close()
			if sum, n, err := tunnelSum(response.Body); err != nil || sum != want || response.StatusCode != 200 {
				t.Errorf("request %d: %d, %d bytes, the same: %t, %v", i, response.StatusCode, n, sum == want, err)
			}
		})
	}
	all.Wait()
}
