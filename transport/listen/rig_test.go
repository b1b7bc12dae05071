package listen

import (
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"wsproxy/internal/testkit"
)

func TestMain(m *testing.M) { testkit.VerifyMain(m) }

// A road is one way on which connections come.
type road struct {
	*Listener
	t      *testing.T
	dial   func() (net.Conn, error) // a client's connection
	bare   func(net.Conn) net.Conn  // the socket below it
	resets bool                     // a client hears of a reset
}

// allRoads open all of them, by name.
var allRoads = map[string]func(*testing.T) *road{"TLS": secureRoad, "Unix": unixRoad, "TLS over Unix": secureUnixRoad}

// roads has a test run on each, which is open until the test ends.
func roads(t *testing.T, each func(t *testing.T, r *road)) {
	t.Parallel() // they wait most of the time
	for name, open := range allRoads {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := open(t)
			r.t = t
			t.Cleanup(func() {
				r.Close()
				testkit.Eventually(t, "no splice is left", func() bool { return r.unflushed.Load() == 0 && r.lingering.count() == 0 })
			})
			each(t, r)
		})
	}
}

func secureRoad(t *testing.T) *road {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := secured(t, l)
	r.resets = true
	return r
}

func unixRoad(t *testing.T) *road {
	l := openUnix(t)
	return &road{
		Listener: New(l, Options{Log: slog.New(slog.DiscardHandler)}),
		dial:     func() (net.Conn, error) { return net.Dial("unix", l.Addr().String()) },
		bare:     func(c net.Conn) net.Conn { return c },
	}
}

func secureUnixRoad(t *testing.T) *road { return secured(t, openUnix(t)) }

func openUnix(t *testing.T) net.Listener {
	t.Helper()
	l, err := OpenUnix(filepath.Join(t.TempDir(), "s"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func secured(t *testing.T, l net.Listener) *road {
	c := testkit.NewCertificate(t, "proxy.example")
	config := &tls.Config{Certificates: []tls.Certificate{c.TLS}, NextProtos: []string{"http/1.1"}}
	return &road{
		Listener: New(l, Options{Log: slog.New(slog.DiscardHandler), TLS: config}),
		dial: func() (net.Conn, error) {
			conn, err := net.Dial(l.Addr().Network(), l.Addr().String())
			if err != nil {
				return nil, err
			}
			return tls.Client(conn, &tls.Config{RootCAs: c.Roots, ServerName: "proxy.example", NextProtos: []string{"http/1.1"}}), nil
		},
		bare: func(c net.Conn) net.Conn { return c.(*tls.Conn).NetConn() },
	}
}

// connect returns both ends of a connection: the client's, and the edge's.
func (r *road) connect() (client net.Conn, edge *Prepared) {
	r.t.Helper()
	type outcome struct {
		*Prepared
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		conn, err := r.Accept()
		if err != nil {
			done <- outcome{nil, err}
			return
		}
		prepared, no := r.Prepare(r.t.Context(), conn)
		if no != nil {
			conn.Close()
			done <- outcome{nil, no}
			return
		}
		done <- outcome{prepared, nil}
	}()
	client, err := r.dial()
	if err != nil {
		r.t.Fatal(err)
	}
	if secure, ok := client.(*tls.Conn); ok {
		if err := secure.Handshake(); err != nil {
			r.t.Fatal(err)
		}
	}
	got := testkit.Receive(r.t, done)
	if got.err != nil {
		r.t.Fatal(got.err)
	}
	deadline := time.Now().Add(testkit.Patience)
	_, _ = client.SetDeadline(deadline), got.Conn.SetDeadline(deadline)
	r.t.Cleanup(func() {
		r.bare(client).Close() // TLS has nothing to say to who reads nothing
		got.Conn.Close()
	})
	return client, got.Prepared
}

func closeWrite(c net.Conn) { _ = c.(interface{ CloseWrite() error }).CloseWrite() }

// say writes text, and wantText reads it.
func say(c net.Conn, text string) { _, _ = io.WriteString(c, text) }

func wantText(t *testing.T, c net.Conn, text string) {
	t.Helper()
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("%q has come, %v; want %q", got, err, text)
	}
}
