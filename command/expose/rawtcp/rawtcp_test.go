package rawtcp

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

const patience = 10 * time.Second

func addr(s string) net.Addr {
	a, err := net.ResolveTCPAddr("tcp", s)
	if err != nil {
		panic(err)
	}
	return a
}

// Headers as proxy-protocol.txt has them.
func TestHeaders(t *testing.T) {
	long, service := "[2001:db8:1111:2222:3333:4444:5555:6666]:65535", "127.0.0.1:22"
	for _, test := range []struct {
		version  Version
		from, to net.Addr
		want     string
	}{
		{V1, addr("203.0.113.9:50123"), addr(service), "PROXY TCP4 203.0.113.9 127.0.0.1 50123 22\r\n"},
		{V1, addr(long), addr("[::1]:22"), "PROXY TCP6 2001:db8:1111:2222:3333:4444:5555:6666 ::1 65535 22\r\n"},
		{V1, addr("203.0.113.9:50123"), addr("[::1]:22"), "PROXY TCP6 ::ffff:203.0.113.9 ::1 50123 22\r\n"},
		{V1, nil, addr(service), "PROXY UNKNOWN\r\n"},
		{V1, &net.UnixAddr{Name: "x", Net: "unix"}, addr(service), "PROXY UNKNOWN\r\n"},
		{V2, addr("203.0.113.9:50123"), addr(service), "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x09\x7f\x00\x00\x01\xc3\xcb\x00\x16"},
		{V2, addr("203.0.113.9:1"), addr("[::1]:22"), "\r\n\r\n\x00\r\nQUIT\n\x21\x21\x00\x24" +
			"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xcb\x00\x71\x09" + "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01" + "\x00\x01\x00\x16"},
		{V2, nil, addr(service), "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"},
	} {
		if got := string(test.version.Append(nil, test.from, test.to)); got != test.want {
			t.Errorf("v%d of %v: %s, not %s", test.version, test.from, hex.EncodeToString([]byte(got)), hex.EncodeToString([]byte(test.want)))
		}
	}
	if _, err := ParseVersion("2"); err == nil {
		t.Error("2 is taken for a version")
	}
}

// A line of version 1 is never longer than its specification says.
func FuzzHeader(f *testing.F) {
	f.Add("203.0.113.9:50123", "[::1]:22")
	f.Fuzz(func(t *testing.T, from, to string) {
		line := V1.Append(nil, stringAddr(from), stringAddr(to))
		if len(line) > 107 || bytes.Count(line, []byte("\n")) != 1 || !bytes.HasPrefix(line, []byte("PROXY ")) || !bytes.HasSuffix(line, []byte("\r\n")) {
			t.Fatalf("%q", line)
		}
		header := V2.Append(nil, stringAddr(from), stringAddr(to))
		if len(header) < 16 || len(header) != 16+int(header[14])<<8+int(header[15]) {
			t.Fatalf("%x", header)
		}
	})
}

type stringAddr string

func (stringAddr) Network() string  { return "tcp" }
func (a stringAddr) String() string { return string(a) }

// A tcpStream is a raw connection as these tests have it.
type tcpStream struct {
	*net.TCPConn
	refused *bool
}

func (s tcpStream) Reset() error {
	_ = s.SetLinger(0)
	return s.TCPConn.Close()
}

func (s tcpStream) Refuse() error {
	*s.refused = true
	return s.Reset()
}

// pipe returns two ends of a connection over loopback.
func pipe(t *testing.T) (one, other *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	for _, conn := range []net.Conn{c, d} {
		_ = conn.SetDeadline(time.Now().Add(patience))
		t.Cleanup(func() { _ = conn.Close() })
	}
	return c.(*net.TCPConn), d.(*net.TCPConn)
}

func TestForward(t *testing.T) {
	outside, near := pipe(t)
	inside, service := pipe(t)
	done := make(chan Result, 1)
	f := &Forwarder{Dial: func(context.Context) (net.Conn, error) { return inside, nil }, Header: V1}
	go func() { done <- f.Serve(t.Context(), tcpStream{TCPConn: near}) }()
	_, _ = io.WriteString(outside, "hello")
	_ = outside.CloseWrite()
	b, err := io.ReadAll(service)
	header := string(V1.Append(nil, near.RemoteAddr(), inside.RemoteAddr()))
	if err != nil || string(b) != header+"hello" {
		t.Errorf("%v, %q", err, b)
	}
	_, _ = io.WriteString(service, "world!") // the other direction goes on
	_ = service.Close()
	if b, err := io.ReadAll(outside); err != nil || string(b) != "world!" {
		t.Errorf("%v, %q", err, b)
	}
	if r := <-done; r != (Result{In: 5, Out: 6}) {
		t.Errorf("%+v", r)
	}
}

// A reset of one side is one of the other.
func TestForwardReset(t *testing.T) {
	for _, byService := range []bool{false, true} {
		outside, near := pipe(t)
		inside, service := pipe(t)
		done := make(chan Result, 1)
		f := &Forwarder{Dial: func(context.Context) (net.Conn, error) { return inside, nil }}
		go func() { done <- f.Serve(t.Context(), tcpStream{TCPConn: near}) }()
		cut, other := outside, service
		if byService {
			cut, other = service, outside
		}
		_ = cut.SetLinger(0)
		_ = cut.Close()
		if _, err := io.ReadAll(other); err == nil {
			t.Errorf("by the service: %v: the other side ended in order", byService)
		}
		if r := <-done; !r.Cut {
			t.Errorf("%+v", r)
		}
	}
}

func TestForwardRefused(t *testing.T) {
	_, near := pipe(t)
	refused := false
	why := errors.New("nothing listens")
	f := &Forwarder{Dial: func(context.Context) (net.Conn, error) { return nil, why }}
	if r := f.Serve(t.Context(), tcpStream{near, &refused}); r.Err != why || !refused {
		t.Errorf("%+v, refused: %v", r, refused)
	}
}
