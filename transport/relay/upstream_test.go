package relay

import (
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"wsproxy/internal/testkit"
	"wsproxy/transport/wsock"
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

// What a target does not read waits in the kernel too, behind Cloudflare Access
// as well.
func TestKernelHoldsLittleOfATarget(t *testing.T) {
	near, _ := testkit.TCPPair(t)
	if _, err := newTCPUpstream(near); err != nil {
		t.Fatal(err)
	}
	testkit.WantSendBuffer(t, near, wsock.SendBuffer)
	u, err := dialService(t, func(conn net.Conn, accept string) {
		_, _ = io.WriteString(conn, switching(accept, ""))
		_, _ = io.Copy(io.Discard, conn)
	})
	if err != nil {
		t.Fatal(err)
	}
	testkit.WantSendBuffer(t, u.ws.NetConn().(*handshake).NetConn().(*net.TCPConn), wsock.SendBuffer)
}
