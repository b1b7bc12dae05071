package netpolicy

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A connection that is given up while it is being made is reset: its target, which may
// have accepted it, never sees one that was made and has ended with nothing to say.
func TestDialGivenUpIsReset(t *testing.T) {
	for range 50 {
		c := newCanary(t)
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		ctx, cancel := context.WithCancel(t.Context())
		p := New(Options{OwnPort: func(uint16) bool { cancel(); return false }}) // asked right before connect(2)
		if conn, err := p.connectTCP(ctx, c.addr()); err == nil {
			conn.Close()
			t.Fatal("what was given up is connected")
		}
		far, err := c.Accept()
		if err != nil {
			t.Fatal("what was given up has never come: ", err)
		}
		_ = far.SetDeadline(time.Now().Add(10 * time.Second))
		if said, err := io.ReadAll(far); len(said) > 0 || !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("what was given up reads as %q, %v, not as a reset", said, err)
		}
		far.Close()
		c.Close()
	}
}

// One that was made and is closed ends in order, with all that was written.
func TestDialedConnectionDoesNotReset(t *testing.T) {
	c := newCanary(t)
	conn, err := New(Options{}).connectTCP(t.Context(), c.addr())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var linger *unix.Linger
	if bad := raw.Control(func(fd uintptr) { linger, err = unix.GetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER) }); bad != nil || err != nil {
		t.Fatal(bad, err)
	}
	if linger.Onoff != 0 {
		t.Errorf("SO_LINGER is %+v", *linger)
	}
	_, _ = conn.Write([]byte("hello"))
	conn.Close()
	var far net.Conn
	if far, err = c.Accept(); err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	if said, err := io.ReadAll(far); string(said) != "hello" || err != nil {
		t.Errorf("what was closed reads as %q, %v", said, err)
	}
}
