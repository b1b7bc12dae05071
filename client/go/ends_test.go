package wsproxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"
)

// each runs a test in both ways.
func each(t *testing.T, test func(t *testing.T, s Server)) {
	t.Helper()
	address := startServer(t)
	for name, plain := range map[string]bool{"resumable": false, "plain": true} {
		t.Run(name, func(t *testing.T) { test(t, Server{URL: "ws://" + address, NoResume: plain}) })
	}
}

// What was written before Close arrives, and then the end.
func TestCloseDelivers(t *testing.T) {
	each(t, func(t *testing.T, s Server) {
		near, far := dial(t, s, listen(t))
		sent := bytes.Repeat([]byte("0123456789abcdef"), 300_000)
		go func() {
			_, _ = near.Write(sent)
			near.Close()
		}()
		_ = far.SetDeadline(time.Now().Add(patience))
		if got, err := io.ReadAll(far); !bytes.Equal(got, sent) || err != nil {
			t.Errorf("%d of %d bytes have come, %v", len(got), len(sent), err)
		}
		far.Close()
		if _, err := near.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Read after Close returns %v", err)
		}
		if _, err := near.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write after Close returns %v", err)
		}
	})
}

// Shutdown says that everything was passed on.
func TestShutdown(t *testing.T) {
	each(t, func(t *testing.T, s Server) {
		near, far := dial(t, s, listen(t))
		_, _ = far.Write([]byte("nobody reads it"))
		_, _ = near.Write([]byte("Hello"))
		if err := near.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if got, err := io.ReadAll(far); string(got) != "Hello" || err != nil {
			t.Errorf("%q has come, %v", got, err)
		}
	})
}

// It waits no longer than it is told to.
func TestShutdownIsBounded(t *testing.T) {
	each(t, func(t *testing.T, s Server) {
		near, far := dial(t, s, listen(t))
		_ = near.SetWriteDeadline(time.Now().Add(time.Second)) // which nobody reads
		if n, err := io.Copy(near, endless{}); err == nil || n == 0 {
			t.Fatal(n, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := near.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it returns %v", err)
		}
		_ = near.Reset()
		_ = far.SetDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, far); near.Resumable() && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("after Reset the target reads %v", err)
		}
	})
}

type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }

func TestReset(t *testing.T) {
	address := startServer(t)
	near, far := dial(t, Server{URL: "ws://" + address}, listen(t))
	_ = near.Reset()
	_ = far.SetDeadline(time.Now().Add(patience))
	if _, err := far.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the target reads %v", err)
	}
}

// The server's own words come with the first Read.
func TestTargetThatIsNotThere(t *testing.T) {
	each(t, func(t *testing.T, s Server) {
		l := listen(t)
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		conn, err := Dial(t.Context(), DialOptions{Server: s, Host: "127.0.0.1", Port: port})
		if err == nil {
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(patience))
			_, err = conn.Read(make([]byte, 1))
		}
		var closed *CloseError
		if !errors.As(err, &closed) || closed.Code != 1011 || closed.Reason != "cannot reach target" {
			t.Errorf("the error is %v", err)
		}
		if conn != nil {
			if _, err := conn.Write([]byte("x")); !errors.As(err, &closed) {
				t.Errorf("Write returns %v", err)
			}
		}
	})
}

func TestRefusedTarget(t *testing.T) {
	address := startServer(t, "ALLOWED_PORTS=443")
	_, err := Dial(t.Context(), DialOptions{Server: Server{URL: "http://" + address}, Host: "[::1]", Port: 22})
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Status != 403 || refused.Sentence == "" {
		t.Errorf("the error is %v", err)
	}
	for _, o := range []DialOptions{{Host: "", Port: 1}, {Host: "h", Port: 0}, {Host: "h", Port: 65536}} {
		o.URL = "http://" + address
		if _, err := Dial(t.Context(), o); err == nil || errors.As(err, &refused) {
			t.Errorf("%s:%d: %v", o.Host, o.Port, err)
		}
	}
}

// A target that resets is no target that ends.
func TestTargetResets(t *testing.T) {
	each(t, func(t *testing.T, s Server) {
		near, far := dial(t, s, listen(t))
		_ = near.SetDeadline(time.Now().Add(patience))
		_ = far.SetLinger(0)
		far.Close()
		var closed *CloseError
		if _, err := io.ReadAll(near); !errors.As(err, &closed) {
			t.Errorf("Read returns %v", err)
		}
		if err := near.Shutdown(t.Context()); err == nil {
			t.Error("Shutdown says that everything was passed on")
		}
	})
}

// In the plain way there is no half-close, which is said.
func TestHalfClose(t *testing.T) {
	each(t, func(t *testing.T, s Server) {
		near, far := dial(t, s, listen(t))
		_ = near.SetDeadline(time.Now().Add(patience))
		err := near.CloseWrite()
		if !near.Resumable() {
			if !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("it returns %v", err)
			}
			return
		}
		if _, err := near.Write([]byte("x")); !errors.Is(err, net.ErrClosed) || near.CloseWrite() != nil {
			t.Errorf("Write after CloseWrite returns %v", err)
		}
		if got, err := io.ReadAll(far); len(got) > 0 || err != nil {
			t.Errorf("the target reads %q, %v", got, err)
		}
		_, _ = far.Write([]byte("still"))
		far.Close()
		if got, err := io.ReadAll(near); string(got) != "still" || err != nil {
			t.Errorf("%q has come, %v", got, err)
		}
	})
}

// A server that has begun anew does not know the session.
func TestServerThatForgets(t *testing.T) {
	first, stop := runServer(t)
	defer stop()
	c := newCutter(t, first, 0)
	detached := make(chan error, 8)
	near, _ := dial(t, Server{URL: "ws://" + c.Addr().String(), OnDetached: func(err error) { detached <- err }}, listen(t))
	second := startServer(t)
	c.mu.Lock()
	c.to = second
	c.mu.Unlock()
	c.cut()
	_ = near.SetDeadline(time.Now().Add(patience))
	_, err := near.Read(make([]byte, 1))
	var closed *CloseError
	if !errors.Is(err, ErrSessionLost) || !errors.As(err, &closed) || closed.Code != 4404 {
		t.Errorf("Read returns %v", err)
	}
	if err := near.Shutdown(t.Context()); !errors.Is(err, ErrSessionLost) {
		t.Errorf("Shutdown returns %v", err)
	}
	if len(detached) != 1 {
		t.Errorf("it was detached %d times", len(detached))
	}
}

// Addresses are what logs want to show.
func TestAddresses(t *testing.T) {
	near, _ := dial(t, Server{URL: "ws://" + startServer(t)}, listen(t))
	if got := near.RemoteAddr(); got.Network() != "wsproxy" || !strings.HasPrefix(got.String(), "127.0.0.1:") {
		t.Errorf("the remote address is %v", got)
	}
	if got := near.LocalAddr().String(); !strings.HasPrefix(got, "127.0.0.1:") {
		t.Errorf("the local address is %v", got)
	}
}
