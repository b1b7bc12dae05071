package wsproxy

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/net/nettest"
)

// What programs rely on that take a net.Conn.
func TestStreamIsANetConn(t *testing.T) {
	for name, plain := range ways {
		t.Run(name, func(t *testing.T) {
			r := openTunnel(t, newTunnelServer(t), ListenOptions{Server: Server{NoResume: plain}, Raw: true})
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				s, outside := r.raw()
				_ = s.SetDeadline(time.Time{})
				_ = outside.SetDeadline(time.Time{})
				return s, outside, func() {
					s.Close()
					outside.Close()
				}, nil
			})
		})
	}
}

// Raw connections end in each direction alone, and both ways in order.
func TestRawHalfClose(t *testing.T) {
	r := openTunnel(t, newTunnelServer(t), ListenOptions{Raw: true})
	const size = 5 << 20
	for _, first := range []string{"the peer", "this side"} {
		s, outside := r.raw()
		if s.RemoteAddr().String() != outside.LocalAddr().String() || s.LocalAddr().String() != r.RawAddr || s.HTTP() {
			t.Errorf("it is from %v to %v", s.RemoteAddr(), s.LocalAddr())
		}
		var one, two interface {
			net.Conn
			CloseWrite() error
		} = s, outside
		if first == "the peer" {
			one, two = outside, s
		}
		go func() {
			_, _ = io.Copy(one, noise(1, size))
			_ = one.CloseWrite()
		}()
		if hash, n, err := sumOf(two); hash != noiseSum(1, size) {
			t.Errorf("%s first: %d bytes come, %v", first, n, err)
		}
		go func() {
			_, _ = io.Copy(two, noise(2, size))
			_ = two.CloseWrite()
		}()
		if hash, n, err := sumOf(one); hash != noiseSum(2, size) {
			t.Errorf("%s first: %d bytes come back, %v", first, n, err)
		}
	}
}

// Each side hears of the other's reset.
func TestRawReset(t *testing.T) {
	r := openTunnel(t, newTunnelServer(t), ListenOptions{Raw: true})
	for name, end := range map[string]func(*Stream) error{"reset": (*Stream).Reset, "refuse": (*Stream).Refuse} {
		s, outside := r.raw()
		_, _ = outside.Write([]byte("x"))
		if err := end(s); err != nil {
			t.Error(err)
		}
		if _, err := io.Copy(io.Discard, outside); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: the peer reads %v", name, err)
		}
	}
	s, outside := r.raw()
	_ = outside.SetLinger(0)
	outside.Close()
	_, err := s.Read(make([]byte, 1))
	var broken *StreamError
	if !errors.Is(err, syscall.ECONNRESET) || !errors.As(err, &broken) || broken.Reason != "reset" {
		t.Errorf("it reads %v", err)
	}
	// Unread bytes are no orderly end.
	s, outside = r.raw()
	_, _ = outside.Write([]byte("two"))
	_, _ = io.ReadFull(s, make([]byte, 1))
	s.Close()
	if _, err := io.Copy(io.Discard, outside); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("of bytes that were not read the peer reads %v", err)
	}
}

// What was written before Close is delivered, all of it.
func TestStreamCloseDelivers(t *testing.T) {
	r := openTunnel(t, newTunnelServer(t), ListenOptions{Raw: true})
	s, outside := r.raw()
	const size = 20 << 20
	go func() {
		_, _ = io.Copy(s, noise(3, size))
		s.Close()
	}()
	if hash, n, err := sumOf(outside); hash != noiseSum(3, size) || err != nil {
		t.Errorf("%d bytes come, %v", n, err)
	}
	if err := r.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

// The WebSocket is cut again and again, and no byte is lost, doubled or
// reordered, over HTTP and on raw connections, both ways.
func TestCutsOfTheWebSocket(t *testing.T) {
	address := newTunnelServer(t)
	c := newCutter(t, address, 4<<20)
	var detached, resumed atomic.Int32
	r := openTunnel(t, address, ListenOptions{Raw: true, Server: Server{
		URL:        "ws://" + c.Addr().String(),
		OnDetached: func(error) { detached.Add(1) },
		OnResumed:  func(time.Duration) { resumed.Add(1) },
	}})
	r.serve(echo)
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			const size = 8 << 20
			answer, err := r.outside.Post(r.url("/"), "", noise(uint64(i), size))
			if err != nil {
				t.Errorf("request %d: %v", i, err)
				return
			}
			defer answer.Body.Close()
			if hash, n, err := sumOf(answer.Body); hash != noiseSum(uint64(i), size) || err != nil {
				t.Errorf("request %d: %d bytes come back, %v", i, n, err)
			}
		})
	}
	s, outside := r.raw()
	all.Go(func() { _, _ = io.Copy(s, s); _ = s.CloseWrite() })
	all.Go(func() { _, _ = io.Copy(outside, noise(9, 8<<20)); _ = outside.CloseWrite() })
	all.Go(func() {
		if hash, n, err := sumOf(outside); hash != noiseSum(9, 8<<20) || err != nil {
			t.Errorf("%d bytes come back on the raw connection, %v", n, err)
		}
	})
	all.Wait()
	if detached.Load() < 3 || resumed.Load() < 3 {
		t.Errorf("it was detached %d times, and taken up %d times: this shows nothing", detached.Load(), resumed.Load())
	}
}

// keys makes an RSA key and the address that a server gets it from.
func keys(t testing.TB) (jwks string, token func(context.Context) (string, error)) {
	t.Helper()
	return keysFor(t, time.Hour)
}

// keysFor is keys for tokens that last for so long.
func keysFor(t testing.TB, lasts time.Duration) (jwks string, token func(context.Context) (string, error)) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	text := base64.RawURLEncoding.EncodeToString
	set, _ := json.Marshal(map[string]any{"keys": []map[string]string{{"kty": "RSA", "kid": "k", "alg": "RS256", "use": "sig",
		"n": text(key.N.Bytes()), "e": text(big.NewInt(int64(key.E)).Bytes())}}})
	issuer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(set) }))
	t.Cleanup(issuer.Close)
	return issuer.URL, func(context.Context) (string, error) {
		claims := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{"sub": "alice", "exp": time.Now().Add(lasts).Unix()})
		claims.Header["kid"] = "k"
		return claims.SignedString(key)
	}
}

// The latest tunnel of a name has its address, and the one before it hears so.
func TestNameIsTakenOver(t *testing.T) {
	jwks, token := keys(t)
	address := newTunnelServer(t, "CLERK_JWKS_URL="+jwks, "TUNNEL_NAME_SECRET="+string(bytes.Repeat([]byte("s"), 32)), "MAX_TUNNELS_PER_USER=5")
	if _, _, err := Listen(t.Context(), ListenOptions{Server: Server{URL: "ws://" + address}}); err == nil {
		t.Fatal("nobody needs a token here")
	}
	for name, plain := range ways {
		o := ListenOptions{Server: Server{NoResume: plain, Token: token}, Name: "web-" + name}
		first := openTunnel(t, address, o)
		accepted := make(chan error, 1)
		go func() {
			_, err := first.http.Accept()
			accepted <- err
		}()
		second := openTunnel(t, address, o)
		if first.URL != second.URL {
			t.Errorf("%s: the addresses are %s and %s", name, first.URL, second.URL)
		}
		<-first.Done()
		if err := first.Err(); !errors.Is(err, ErrReplaced) {
			t.Errorf("%s: the first one ends with %v", name, err)
		}
		if err := <-accepted; !errors.Is(err, ErrReplaced) {
			t.Errorf("%s: Accept returns %v", name, err)
		}
		second.serve(echo)
		if status, _ := second.get("/"); status != 200 {
			t.Errorf("%s: the second one answers %d", name, status)
		}
	}
}

// A server that drains lets its tunnels go on, and a program ends its own in order.
func TestShutdownInOrder(t *testing.T) {
	for name, plain := range ways {
		r := openTunnel(t, newTunnelServer(t), ListenOptions{Server: Server{NoResume: plain}})
		begun, end := make(chan struct{}), make(chan struct{})
		s := r.serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(begun)
			<-end
			fmt.Fprint(w, "the whole answer")
		}))
		got := make(chan string)
		go func() {
			_, body := r.get("/")
			got <- body
		}()
		<-begun
		down := make(chan error)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			if err := s.Shutdown(ctx); err != nil {
				t.Error(err)
			}
			down <- r.Shutdown(ctx)
		}()
		close(end)
		if body := <-got; body != "the whole answer" {
			t.Errorf("%s: it answers %q", name, body)
		}
		if err := <-down; err != nil {
			t.Errorf("%s: Shutdown returns %v", name, err)
		}
		if err := r.Err(); err != nil {
			t.Errorf("%s: the tunnel ends with %v", name, err)
		}
	}
}

// What nobody accepts any more is refused, in words that a stranger understands.
func TestClosedListenerRefuses(t *testing.T) {
	r := openTunnel(t, newTunnelServer(t), ListenOptions{Raw: true})
	r.http.Close()
	if status, body := r.get("/"); status != http.StatusBadGateway || !bytes.Contains([]byte(body), []byte("refused")) {
		t.Errorf("it answers %d %q", status, body)
	}
	s, _ := r.raw() // the other one goes on
	if _, err := s.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if _, err := r.http.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept returns %v", err)
	}
	s.Close()
	r.Raw.Close()
	<-r.Done()
	if err := r.Err(); err != nil {
		t.Error(err)
	}
}
