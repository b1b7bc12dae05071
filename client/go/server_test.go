package wsproxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"wsproxy/config"
	"wsproxy/server"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// startServer starts a server of its own for a test, and returns its address.
func startServer(t testing.TB, env ...string) (address string) {
	t.Helper()
	address, stop := runServer(t, env...)
	t.Cleanup(stop)
	return address
}

// runServer is startServer for one that the test stops.
func runServer(t testing.TB, env ...string) (address string, stop func()) {
	t.Helper()
	address, stop, err := launch(env...)
	if err != nil {
		t.Fatal(err)
	}
	return address, stop
}

// launch starts a server whose every target is allowed.
func launch(env ...string) (address string, stop func(), err error) {
	c, err := config.Load(append([]string{"PORT=0", "BIND=127.0.0.1", "BLOCKED_TARGETS=none", "MAX_CONNS_PER_IP=0", "SHUTDOWN_TIMEOUT=10ms"}, env...))
	if err != nil {
		return "", nil, err
	}
	log := &serverLog{address: make(chan string, 1)}
	signals, done := make(chan os.Signal, 2), make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Run(c, config.Environment{}, "test", server.Signals{End: signals}, log)
	}()
	stop = sync.OnceFunc(func() {
		signals <- os.Interrupt
		signals <- os.Interrupt
		<-done
	})
	select {
	case address = <-log.address:
		return address, stop, nil
	case <-done:
		return "", nil, fmt.Errorf("the server does not start:\n%s", log.lines.Bytes())
	case <-time.After(patience):
		stop()
		return "", nil, errors.New("the server does not say where it listens")
	}
}

// StartExample starts a server and an echo behind it, for examples: their text is to
// show the client alone.
func StartExample() (serverURL string, echoPort int, stop func()) {
	address, stopServer, err := launch()
	if err != nil {
		panic(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	return "ws://" + address, l.Addr().(*net.TCPAddr).Port, func() {
		l.Close()
		stopServer()
	}
}

// A serverLog finds the address in a server's log.
type serverLog struct {
	address chan string
	mu      sync.Mutex
	lines   bytes.Buffer
}

func (l *serverLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines.Write(line)
	var said struct{ Msg, Address string }
	if json.Unmarshal(line, &said) == nil && said.Msg == "listening" {
		l.address <- said.Address
	}
	return len(line), nil
}

// listen returns a listener of a target.
func listen(t testing.TB) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

// dial dials a target through a server, and returns both ends.
func dial(t testing.TB, s Server, target *net.TCPListener) (*Conn, *net.TCPConn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := Dial(ctx, DialOptions{Server: s, Host: "127.0.0.1", Port: target.Addr().(*net.TCPAddr).Port})
	if err != nil {
		t.Fatal(err)
	}
	_ = target.SetDeadline(time.Now().Add(patience))
	far, err := target.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.(*Conn).Reset()
		far.Close()
	})
	return conn.(*Conn), far
}
