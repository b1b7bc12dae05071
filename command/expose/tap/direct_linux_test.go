package tap

import (
	"fmt"
	"io"
	"net"
	"testing"
)

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
		t.Fatal("there is none")
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
