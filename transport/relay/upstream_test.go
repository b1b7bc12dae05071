package relay

import (
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"wsproxy/internal/testkit"
)

func TestResetIsToldFromAnEnd(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{nil, false},
		{io.EOF, false},
		{&net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.EPIPE)}, false},
		{&net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.ECONNRESET)}, true},
		{&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ETIMEDOUT)}, true},
		{os.ErrDeadlineExceeded, false},
		{net.ErrClosed, false},
	} {
		if got := isReset(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}

// What a reader and a writer find of a reset is told from an end too.
func TestResetOfAConnectionIsFound(t *testing.T) {
	near, far := testkit.TCPPair(t)
	u, err := newTCPUpstream(far)
	if err != nil {
		t.Fatal(err)
	}
	_ = near.SetLinger(0)
	near.Close()
	if _, _, err := u.read(); !isReset(err) {
		t.Errorf("reading ends with %v", err)
	}
	if u.broke() {
		t.Error("it broke before anything was written")
	}
}
