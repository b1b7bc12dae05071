package connect

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// newServed returns a listener's address, its relays' targets and its troubles.
func newServed(t *testing.T, dial func(*fakeRelay) (Relay, error)) (address string, targets <-chan *net.TCPConn, troubles <-chan error, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	reached, told, ended := make(chan *net.TCPConn, 16), make(chan error, 16), make(chan error, 1)
	go func() {
		ended <- serve(ctx, l, func(context.Context) (Relay, error) {
			relay, target := newPair(t)
			reached <- target
			return dial(relay)
		}, func(_ net.Addr, err error) { told <- err })
	}()
	stop = func() error {
		cancel()
		return wait(t, ended)
	}
	t.Cleanup(cancel)
	return l.Addr().String(), reached, told, stop
}

func dialTCP(t *testing.T, address string) *net.TCPConn {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn.(*net.TCPConn)
}

// Each connection has a relay of its own, with an end for each direction.
func TestServe(t *testing.T) {
	address, targets, troubles, stop := newServed(t, func(r *fakeRelay) (Relay, error) { return r, nil })
	for range 3 {
		conn := dialTCP(t, address)
		_, _ = conn.Write([]byte("question"))
		_ = conn.CloseWrite()
		target := <-targets
		if asked, err := io.ReadAll(target); string(asked) != "question" || err != nil {
			t.Fatalf("the target reads %q, %v", asked, err)
		}
		_, _ = target.Write([]byte("answer"))
		target.Close()
		if answer, err := io.ReadAll(conn); string(answer) != "answer" || err != nil {
			t.Errorf("%q comes, %v", answer, err)
		}
	}
	open := dialTCP(t, address)
	target := <-targets
	if err := stop(); err != nil {
		t.Error(err)
	}
	wantReset(t, target)
	wantReset(t, open)
	if len(troubles) > 0 {
		t.Error(<-troubles)
	}
}

// A reset goes through in both directions, and a relay that is refused is one.
func TestServeResets(t *testing.T) {
	refused := errors.New("refused")
	refuses, connected := false, make(chan struct{})
	address, targets, troubles, stop := newServed(t, func(r *fakeRelay) (Relay, error) {
		if refuses {
			<-connected // a reset must not come before
			return nil, refused
		}
		return r, nil
	})
	conn := dialTCP(t, address)
	target := <-targets
	_ = target.SetLinger(0)
	target.Close()
	wantReset(t, conn)
	<-troubles

	conn = dialTCP(t, address)
	target = <-targets
	_ = conn.SetLinger(0)
	conn.Close()
	wantReset(t, target)
	<-troubles

	refuses = true
	conn = dialTCP(t, address)
	close(connected)
	<-targets
	wantReset(t, conn)
	if err := <-troubles; !errors.Is(err, refused) {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}
