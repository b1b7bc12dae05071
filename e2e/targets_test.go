package e2e

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// target listens on a free port of the loopback interface and calls serve, in
// a goroutine of its own, for each connection, which is closed when serve
// returns or the test ends. The test does not end before all have returned.
func target(t *testing.T, serve func(conn *net.TCPConn)) net.Addr {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var (
		running sync.WaitGroup
		mu      sync.Mutex
		ended   bool                          // under mu
		conns   = map[*net.TCPConn]struct{}{} // under mu
	)
	running.Go(func() {
		for {
			c, err := listener.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			conn := c.(*net.TCPConn)
			mu.Lock()
			conns[conn] = struct{}{}
			if ended {
				conn.Close()
			}
			mu.Unlock()
			running.Go(func() {
				defer func() {
					conn.Close()
					mu.Lock()
					delete(conns, conn)
					mu.Unlock()
				}()
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		mu.Lock()
		ended = true
		for conn := range conns {
			conn.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	return listener.Addr()
}

// echoServer is a target that sends back what it gets, and ends when its peer
// does.
func echoServer(t *testing.T) net.Addr {
	t.Helper()
	return target(t, func(conn *net.TCPConn) { _, _ = io.Copy(conn, conn) })
}

// sinkServer is a target that reads everything, sends nothing, and ends when
// its peer does.
func sinkServer(t *testing.T) net.Addr {
	t.Helper()
	return target(t, func(conn *net.TCPConn) { _, _ = io.Copy(io.Discard, conn) })
}

// floodServer is a target that sends without end and reads nothing.
func floodServer(t *testing.T) net.Addr {
	t.Helper()
	return target(t, func(conn *net.TCPConn) {
		for block := make([]byte, 64<<10); ; {
			if _, err := conn.Write(block); err != nil {
				return
			}
		}
	})
}

// handServer is a target whose connections the test gets by the channel, to do
// with them what it wants. They are closed with the test.
func handServer(t *testing.T) (net.Addr, <-chan *net.TCPConn) {
	t.Helper()
	conns := make(chan *net.TCPConn, 1024)
	ended := make(chan struct{})
	addr := target(t, func(conn *net.TCPConn) {
		conns <- conn
		<-ended
	})
	t.Cleanup(func() { close(ended) }) // before target's own, which waits
	return addr, conns
}

// closedPort is an address where nobody listens, nor will before the test ends:
// it is the near end of a connection to elsewhere.
func closedPort(t *testing.T) net.Addr {
	t.Helper()
	conn, err := net.Dial("tcp", sinkServer(t).String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.LocalAddr()
}
