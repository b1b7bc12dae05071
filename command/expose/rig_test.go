package expose

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

const patience = 10 * time.Second

// A shown is what was written, and tells of it.
type shown struct {
	mu   sync.Mutex
	b    bytes.Buffer
	came chan struct{}
}

func newScreen() *shown { return &shown{came: make(chan struct{}, 1)} }

func (t *shown) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case t.came <- struct{}{}:
	default:
	}
	return t.b.Write(b)
}

func (t *shown) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

// wait waits until text was written.
func (t *shown) wait(tb testing.TB, text string) {
	tb.Helper()
	for late := time.After(patience); !strings.Contains(t.String(), text); {
		select {
		case <-t.came:
		case <-late:
			tb.Fatalf("%q was not written, but %q", text, t.String())
		}
	}
}

// A stream is the server's connection as these tests have it.
type stream struct{ *net.TCPConn }

func (s stream) Reset() error {
	_ = s.SetLinger(0)
	return s.Close()
}
func (s stream) Refuse() error { return s.Reset() }

// A streamListener accepts streams.
type streamListener struct{ net.Listener }

func (l streamListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return stream{c.(*net.TCPConn)}, nil
}

// A fakeTunnel is a tunnel whose outside is two ports of loopback.
type fakeTunnel struct {
	*Tunnel
	request   Request
	http, raw string // addresses
	done      chan struct{}
	once      sync.Once
	err       error // set before done is closed
}

// end ends it, as the server does.
func (f *fakeTunnel) end(err error) {
	f.once.Do(func() {
		f.err = err
		close(f.done)
		_ = f.HTTP.Close()
		if f.Raw != nil {
			_ = f.Raw.Close()
		}
	})
}

// A fakeServer hands out tunnels, or errors.
type fakeServer struct {
	t           *testing.T
	credentials bool
	errs        chan error // of the next tries
	tunnels     chan *fakeTunnel
}

func newFakeServer(t *testing.T) *fakeServer {
	return &fakeServer{t: t, credentials: true, errs: make(chan error, 100), tunnels: make(chan *fakeTunnel, 100)}
}

func (s *fakeServer) open(ctx context.Context, r Request) (*Tunnel, error) {
	select {
	case err := <-s.errs:
		return nil, err
	default:
	}
	f := &fakeTunnel{request: r, done: make(chan struct{})}
	listen := func() (net.Listener, string) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			s.t.Error(err)
		}
		s.t.Cleanup(func() { _ = l.Close() })
		return streamListener{l}, l.Addr().String()
	}
	f.Tunnel = &Tunnel{URL: "https://" + r.Name + "sub.test", Credentials: s.credentials, Done: f.done,
		Err:      func() error { <-f.done; return f.err },
		Shutdown: func(context.Context) error { f.end(nil); return nil },
		Taken:    func(context.Context) bool { return false }}
	f.HTTP, f.http = listen()
	if r.Raw {
		f.Raw, f.raw = listen()
		f.RawAddr = "sub.test:10042"
	}
	s.tunnels <- f
	return f.Tunnel, nil
}

// next is the next tunnel.
func (s *fakeServer) next() *fakeTunnel {
	s.t.Helper()
	select {
	case f := <-s.tunnels:
		return f
	case <-time.After(patience):
		s.t.Fatal("no tunnel was opened")
		return nil
	}
}

// A running is an expose that runs.
type running struct {
	t        *testing.T
	server   *fakeServer
	out, err *shown
	stop     context.CancelFunc
	ended    chan error
}

func start(t *testing.T, server *fakeServer, o Options) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{t: t, server: server, out: newScreen(), err: newScreen(), stop: cancel, ended: make(chan error, 1)}
	over := make(chan struct{})
	go func() {
		defer close(over)
		r.ended <- Run(ctx, o, server.open, false, Streams{Out: r.out, Err: r.err})
	}()
	t.Cleanup(func() { cancel(); <-over })
	return r
}

// end is what Run returned.
func (r *running) end() error {
	r.t.Helper()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(patience):
		r.t.Fatalf("it does not end: %q", r.err.String())
		return nil
	}
}

// status is the exit status that an error has.
func status(err error) int {
	var end *EndError
	if errors.As(err, &end) {
		return end.ExitCode()
	}
	return 0
}

// get asks for a page at an address, and closes the connection.
func get(t *testing.T, at, path string, fields ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequest("GET", "http://"+at+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	client := http.Client{Timeout: patience}
	answer, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	b, _ := io.ReadAll(answer.Body)
	return answer.StatusCode, string(b)
}
