package tap

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"
)

// A service that takes little at a time gets all of an upload, once, and so does the watch:
// what a write that doesn't wait has left is written behind it.
func TestUploadToASlowService(t *testing.T) {
	body := make([]byte, 4<<20)
	for i := range body {
		body[i] = byte(i * i >> 5)
	}
	service := scripted(t, func(c *net.TCPConn, r *bufio.Reader) {
		_ = c.SetReadBuffer(64 << 10)
		readHead(r)
		got := make([]byte, 0, len(body))
		for piece := make([]byte, 8<<10); len(got) < len(body); {
			n, err := r.Read(piece)
			if err != nil {
				return
			}
			got = append(got, piece[:n]...)
		}
		answer := "wrong"
		if bytes.Equal(got, body) {
			answer = "right"
		}
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", answer)
	})
	r := newRig(t, service, nil)
	proxy := r.dial()
	fmt.Fprintf(proxy, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", len(body))
	if _, err := proxy.Write(body); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, len("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright"))
	if _, err := io.ReadFull(proxy, answer); err != nil || !bytes.HasSuffix(answer, []byte("right")) {
		t.Errorf("it is answered with %q, %v", answer, err)
	}
	if e := r.seen.wait(t, 1)[0]; e.In != int64(len(body)) || e.Cut {
		t.Errorf("it was taken for %+v", e)
	}
	_ = proxy.Close()
}

// Reading and writing past the scheduler is what the connection's own calls are.
func TestDirect(t *testing.T) {
	l := listen(t)
	near := dial(t, l.Addr().String())
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	d := newDirect(near)
	if d == nil {
		t.Skip("there is none on this system")
	}
	if n := d.tryWrite([]byte("there")); n != 5 {
		t.Fatalf("%d bytes are written", n)
	}
	b := make([]byte, 9)
	if n, err := io.ReadFull(far, b[:5]); string(b[:n]) != "there" {
		t.Fatalf("%q has come, %v", b[:n], err)
	}
	fmt.Fprint(far, "back")
	if n, err := d.Read(b); string(b[:n]) != "back" || err != nil {
		t.Fatalf("%q is read, %v", b[:n], err)
	}
	full := 0
	for piece := make([]byte, 64<<10); full < 1<<30; {
		n := d.tryWrite(piece)
		if full += n; n == 0 {
			break
		}
	}
	if full == 1<<30 {
		t.Error("a kernel takes whatever it is given")
	}
	if _, err := io.CopyN(io.Discard, far, int64(full)); err != nil {
		t.Error(err)
	}
	_ = far.(*net.TCPConn).CloseWrite()
	if n, err := d.Read(b); n != 0 || err != io.EOF {
		t.Errorf("at the end %d bytes are read, %v", n, err)
	}
	_ = near.Close()
	if n, err := d.Read(b); n != 0 || err == nil || err == io.EOF {
		t.Errorf("of what is closed %d bytes are read, %v", n, err)
	}
	if n := d.tryWrite(b); n != 0 {
		t.Errorf("%d bytes are written to what is closed", n)
	}
	if newDirect(nil) != nil {
		t.Error("what is no TCP connection has calls of the kernel")
	}
}
