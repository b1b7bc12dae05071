package tap

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait of these tests.
const patience = 10 * time.Second

// A tcpStream is the proxy's connection as these tests have it.
type tcpStream struct{ *net.TCPConn }

func (s tcpStream) Reset() error {
	_ = s.SetLinger(0)
	return s.TCPConn.Close()
}

// WriteTo offers what comes to TryWrite, and has the rest written, as a tunnel's stream does.
func (s tcpStream) WriteTo(w io.Writer) (total int64, err error) {
	b := make([]byte, bufferSize)
	for {
		n, err := s.Read(b)
		total += int64(n)
		left := b[:n]
		if try, ok := w.(interface{ TryWrite(p []byte) int }); ok && n > 0 {
			left = left[try.TryWrite(left):]
		}
		if len(left) > 0 {
			if _, err := w.Write(left); err != nil {
				return total, err
			}
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// A recorder is a Watcher and a Keeper.
type recorder struct {
	mu    sync.Mutex
	ended []*Exchange
	came  chan struct{}
}

func newRecorder() *recorder { return &recorder{came: make(chan struct{}, 1000)} }

func (r *recorder) Lasts(Exchange) {}
func (r *recorder) Ends(e *Exchange) {
	r.mu.Lock()
	r.ended = append(r.ended, e)
	r.mu.Unlock()
	r.came <- struct{}{}
}

// wait returns the exchanges once there are n.
func (r *recorder) wait(t *testing.T, n int) []*Exchange {
	t.Helper()
	late := time.After(patience)
	for {
		r.mu.Lock()
		ended := r.ended
		r.mu.Unlock()
		if len(ended) >= n {
			return ended
		}
		select {
		case <-r.came:
		case <-late:
			t.Fatalf("%d exchanges have ended, not %d", len(ended), n)
		}
	}
}

type keeper struct{ *recorder }

func (keeper) Begins(Exchange)   {}
func (keeper) Answered(Exchange) {}
func (keeper) Ends(*Exchange)    {}
func (keeper) Grow(int) bool     { return true }

// A rig is a tap between a proxy that the test plays and a service.
type rig struct {
	t       *testing.T
	tap     *Tap
	seen    *recorder
	proxies net.Listener
	notices chan string
	served  sync.WaitGroup
}

// newRig serves with a tap in front of the service.
func newRig(t *testing.T, service Service, change func(*Tap)) *rig {
	t.Helper()
	r := &rig{t: t, seen: newRecorder(), notices: make(chan string, 100), proxies: listen(t)}
	r.tap = &Tap{
		Service: service, Watcher: r.seen, Counters: &Counters{},
		Notice: func(s string) { r.notices <- s },
	}
	if change != nil {
		change(r.tap)
	}
	ctx, cancel := context.WithCancel(t.Context())
	r.served.Go(func() {
		for {
			c, err := r.proxies.Accept()
			if err != nil {
				return
			}
			r.served.Go(func() { r.tap.Serve(ctx, tcpStream{c.(*net.TCPConn)}) })
		}
	})
	t.Cleanup(func() {
		cancel()
		_ = r.proxies.Close()
		r.served.Wait()
		if open := r.tap.Counters.Open.Load(); open != 0 {
			t.Errorf("%d connections are counted as open at the end", open)
		}
		if pending := r.tap.Counters.Pending.Load(); pending != 0 {
			t.Errorf("%d requests are counted as pending at the end", pending)
		}
	})
	return r
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// dial opens a connection as the proxy does.
func (r *rig) dial() *net.TCPConn {
	r.t.Helper()
	return dial(r.t, r.proxies.Addr().String())
}

func dial(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

// scripted is a service that the test plays, one function a connection.
func scripted(t testing.TB, play func(c *net.TCPConn, r *bufio.Reader)) *Address {
	t.Helper()
	l := listen(t)
	var playing sync.WaitGroup
	playing.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			playing.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				play(c.(*net.TCPConn), bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); playing.Wait() })
	return addressOf(l.Addr().String())
}

func addressOf(at string) *Address {
	host, port, _ := net.SplitHostPort(at)
	return &Address{Name: at, Host: host, Port: port}
}

// readHead reads up to an empty line.
func readHead(r *bufio.Reader) string {
	var b strings.Builder
	for {
		line, err := r.ReadString('\n')
		b.WriteString(line)
		if err != nil || line == "\r\n" {
			return b.String()
		}
	}
}

// readAll reads until the end, and reports whether it was in order.
func readAll(t *testing.T, c io.Reader) (string, bool) {
	t.Helper()
	var b bytes.Buffer
	_, err := io.Copy(&b, c)
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		t.Fatalf("no end came behind %q", b.String())
	}
	return b.String(), err == nil
}
