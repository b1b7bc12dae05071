package wsproxy

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// A cutter is a TCP proxy before a server that ends each connection somewhere.
type cutter struct {
	net.Listener
	to    string
	mean  int // bytes of a connection, about; 0 = it cuts none
	mu    sync.Mutex
	conns map[net.Conn]struct{}
	cuts  int
	all   sync.WaitGroup
}

func newCutter(t testing.TB, to string, mean int) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{Listener: l, to: to, mean: mean, conns: map[net.Conn]struct{}{}}
	c.all.Go(c.run)
	t.Cleanup(func() {
		c.Close()
		c.cut()
		c.all.Wait()
	})
	return c
}

func (c *cutter) run() {
	for {
		near, err := c.Accept()
		if err != nil {
			return
		}
		c.mu.Lock()
		to := c.to
		c.mu.Unlock()
		far, err := net.Dial("tcp", to)
		if err != nil {
			near.Close()
			continue
		}
		c.mu.Lock()
		c.conns[near], c.conns[far] = struct{}{}, struct{}{}
		c.mu.Unlock()
		c.all.Go(func() { c.copy(near, far) })
		c.all.Go(func() { c.copy(far, near) })
	}
}

// copy copies until an end, which it passes on, or to where it cuts both ways.
func (c *cutter) copy(to, from net.Conn) {
	limit := int64(1 << 60)
	if c.mean > 0 {
		limit = rand.Int64N(2 * int64(c.mean))
	}
	n, err := io.CopyN(to, from, limit)
	if err == io.EOF {
		_ = to.(*net.TCPConn).CloseWrite()
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if n == limit {
		c.cuts++
	}
	c.end(to)
	c.end(from)
}

// end ends a connection by a FIN or by a reset. Under mu.
func (c *cutter) end(conn net.Conn) {
	if rand.IntN(2) == 0 {
		_ = conn.(*net.TCPConn).SetLinger(0)
	}
	conn.Close()
	delete(c.conns, conn)
}

// cut ends what there is.
func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		c.end(conn)
	}
}

// stream writes bytes of a seed, in pieces of any length, and returns their sum.
func stream(w io.Writer, seed, size uint64) (sum string, err error) {
	random, hash := rand.NewChaCha8([32]byte{byte(seed)}), sha256.New()
	lengths := rand.New(rand.NewPCG(seed, 2))
	b := make([]byte, 200_000)
	for size > 0 {
		n := min(size, 1+lengths.Uint64N(uint64(len(b))>>lengths.IntN(16)))
		_, _ = random.Read(b[:n])
		hash.Write(b[:n])
		if _, err = w.Write(b[:n]); err != nil {
			return "", err
		}
		size -= n
	}
	return fmt.Sprintf("%x", hash.Sum(nil)), nil
}

func sumOf(r io.Reader) (sum string, n int64, err error) {
	hash := sha256.New()
	n, err = io.Copy(hash, r)
	return fmt.Sprintf("%x", hash.Sum(nil)), n, err
}

// Not a byte is lost, doubled or reordered wherever the WebSocket is cut, and both
// ends come behind the last one.
func TestSurvivesCuts(t *testing.T) {
	c := newCutter(t, startServer(t), 400_000)
	for round, size := range []uint64{24 << 20, 6 << 20} {
		var s Server
		s.URL = "ws://" + c.Addr().String()
		var mu sync.Mutex
		detached, resumed := 0, 0
		s.OnDetached = func(error) { mu.Lock(); defer mu.Unlock(); detached++ }
		s.OnResumed = func(time.Duration) { mu.Lock(); defer mu.Unlock(); resumed++ }
		near, far := dialThrough(t, s)
		_ = far.SetDeadline(time.Now().Add(4 * patience))
		_ = near.SetDeadline(time.Now().Add(4 * patience))
		var all sync.WaitGroup
		var up, down, gotUp, gotDown string
		all.Go(func() { up = must(stream(near, 1, size)); check(t, near.CloseWrite()) })
		all.Go(func() { down = must(stream(far, 2, size)); check(t, far.CloseWrite()) })
		all.Go(func() { gotUp, _, _ = sumOf(far) })
		all.Go(func() {
			if round == 0 {
				gotDown, _, _ = sumOf(near)
			} else {
				gotDown, _, _ = sumOf(struct{ io.Reader }{near}) // by Read
			}
		})
		all.Wait()
		if up != gotUp || down != gotDown {
			t.Errorf("up %.8s came as %.8s, down %.8s as %.8s", up, gotUp, down, gotDown)
		}
		if err := near.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if detached < int(size>>20) || resumed != detached {
			t.Errorf("it was detached %d times, resumed %d times", detached, resumed)
		}
	}
}

// What was written is delivered behind Close, wherever that is cut.
func TestCloseSurvivesCuts(t *testing.T) {
	const size = 500_000
	c := newCutter(t, startServer(t), 150_000)
	for seed := range uint64(12) {
		near, far := dialThrough(t, Server{URL: "ws://" + c.Addr().String()})
		sent := must(stream(near, seed, size))
		near.Close()
		_ = far.SetDeadline(time.Now().Add(patience))
		if got, n, err := sumOf(far); got != sent || err != nil {
			t.Errorf("%d of %d bytes have come, %v", n, size, err)
		}
		far.Close()
		if err := near.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// dialThrough is dial for a server behind a cutter, which may cut the first message.
func dialThrough(t *testing.T, s Server) (*Conn, *net.TCPConn) {
	t.Helper()
	target := listen(t)
	for {
		conn, err := Dial(t.Context(), DialOptions{Server: s, Host: "127.0.0.1", Port: target.Addr().(*net.TCPAddr).Port})
		if err != nil {
			continue
		}
		near := conn.(*Conn)
		_ = target.SetDeadline(time.Now().Add(patience))
		far, err := target.AcceptTCP()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = near.Reset()
			far.Close()
		})
		return near, far
	}
}

func must(sum string, err error) string {
	if err != nil {
		return err.Error()
	}
	return sum
}

func check(t *testing.T, err error) {
	if err != nil && !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
