//go:build !windows

package kernel_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"wsproxy/transport/wsock/kernel"
)

// pair returns both ends of a TCP connection, and what the calls are given of the first.
func pair(t *testing.T) (a, b *net.TCPConn, raw syscall.RawConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	dialed, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialed.Close(); accepted.Close() })
	a, b = dialed.(*net.TCPConn), accepted.(*net.TCPConn)
	if raw, err = a.SyscallConn(); err != nil {
		t.Fatal(err)
	}
	return a, b, raw
}

// More than the kernel takes at once arrives whole, and the end behind it is told as such.
func TestSendAndReceiveWait(t *testing.T) {
	_, b, raw := pair(t)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<20) // 16 MiB
	go func() {
		got, _ := io.ReadAll(io.LimitReader(b, int64(len(sent))))
		_, _ = b.Write(got[len(got)-3:])
		b.CloseWrite()
	}()
	if n, err := kernel.Send(raw, sent); n != len(sent) || err != nil {
		t.Fatalf("%d of %d bytes are sent: %v", n, len(sent), err)
	}
	var got []byte
	for buf := make([]byte, 2); ; {
		n, err := kernel.Receive(raw, buf)
		if got = append(got, buf[:n]...); err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if string(got) != "def" {
		t.Errorf("%q comes back, not def", got)
	}
}

// However many pieces there are, and however little the kernel takes at a time.
func TestPiecesGoOutInOrder(t *testing.T) {
	a, b, raw := pair(t)
	_ = a.SetWriteBuffer(16 << 10)
	for _, count := range []int{0, 1, 2, 16, 17, 1024, 1025, 5000} {
		var all [][]byte
		var want []byte
		for i := range count {
			all = append(all, bytes.Repeat([]byte{byte(i)}, i%300)) // some are empty, the first too
			want = append(want, all[i]...)
		}
		got := make(chan []byte)
		go func() {
			b, _ := io.ReadAll(io.LimitReader(b, int64(len(want))))
			got <- b
		}()
		if n, err := kernel.Send(raw, all...); n != len(want) || err != nil {
			t.Fatalf("of %d pieces %d of %d bytes are sent: %v", count, n, len(want), err)
		}
		if !bytes.Equal(<-got, want) {
			t.Errorf("of %d pieces other bytes have come", count)
		}
		for i := range all {
			if len(all[i]) != i%300 {
				t.Fatal("the caller's pieces are not as they were")
			}
		}
	}
}

// A write that ends in its middle says how far it came.
func TestSendTellsWhatWasTaken(t *testing.T) {
	a, b, raw := pair(t)
	_ = a.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	piece := make([]byte, 1<<20)
	n, err := kernel.Send(raw, piece, piece, piece, piece, piece, piece, piece, piece, piece, piece, piece, piece, piece, piece, piece, piece)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("a peer that reads nothing: %d bytes, %v", n, err)
	}
	a.CloseWrite()
	if got, _ := io.Copy(io.Discard, b); int(got) != n || n == 0 {
		t.Errorf("%d bytes have come, %d were taken", got, n)
	}
}

// Who looks at an error finds what the connection's own methods say.
func TestErrorsAreThoseOfTheConnection(t *testing.T) {
	for name, cause := range map[string]struct {
		arrange func(a, b *net.TCPConn)
		is      error
	}{
		"deadline": {func(a, _ *net.TCPConn) { _ = a.SetDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded},
		"closed":   {func(a, _ *net.TCPConn) { a.Close() }, net.ErrClosed},
		"reset": {func(a, b *net.TCPConn) { // told but once
			_ = b.SetLinger(0)
			b.Close()
			raw, _ := a.SyscallConn()
			_ = raw.Control(func(fd uintptr) { // waits until it is there, and leaves it there
				_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd)}}, 10_000)
			})
		}, syscall.ECONNRESET},
	} {
		for _, op := range []string{"read", "write"} {
			t.Run(name+" "+op, func(t *testing.T) {
				call := func(own bool) (n int, err error) {
					a, b, raw := pair(t)
					cause.arrange(a, b)
					switch {
					case op == "read" && own:
						return a.Read(make([]byte, 1))
					case op == "read":
						n, err = kernel.Receive(raw, make([]byte, 1))
					case own:
						return a.Write([]byte("x"))
					default:
						n, err = kernel.Send(raw, []byte("x"))
					}
					return n, kernel.Failed(a, op, err)
				}
				n, err := call(false)
				ownN, own := call(true)
				var got, want *net.OpError
				switch {
				case n != ownN:
					t.Errorf("it returns %d, not %d", n, ownN)
				case !errors.As(err, &got) || !errors.As(own, &want):
					t.Errorf("it fails with %#v, not as %#v", err, own)
				case got.Op != want.Op || got.Net != want.Net || got.Err.Error() != want.Err.Error() || got.Timeout() != want.Timeout():
					t.Errorf("it fails with %v, not with %v", got, want)
				case !errors.Is(err, cause.is):
					t.Errorf("%v is not %v", err, cause.is)
				}
			})
		}
	}
}
