package wsproxy

import (
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/nettest"
)

// What programs rely on that take a net.Conn.
func TestConnIsANetConn(t *testing.T) {
	for name, plain := range map[string]bool{"resumable": false, "plain": true} {
		t.Run(name, func(t *testing.T) {
			address, target := startServer(t), listen(t)
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				near, far := dial(t, Server{URL: "ws://" + address, NoResume: plain}, target)
				return near, far, func() {
					near.Close()
					far.Close()
				}, nil
			})
		})
	}
}

func TestEcho(t *testing.T) {
	near, far := dial(t, Server{URL: "ws://" + startServer(t)}, listen(t))
	_ = near.SetDeadline(time.Now().Add(patience))
	if !near.Resumable() {
		t.Error("the session is not resumable")
	}
	go func() {
		_, _ = io.Copy(far, far)
		_ = far.CloseWrite()
	}()
	go func() {
		_, _ = near.Write([]byte("Hello"))
		_ = near.CloseWrite()
	}()
	if got, err := io.ReadAll(near); string(got) != "Hello" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if err := near.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
