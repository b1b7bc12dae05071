package listen

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/wsock/kernel"
)

// looks is how often what is waited for is looked at within [messages.Linger].
const looks = 16

// A wire is a peer's socket, of TCP or Unix. Once it is spliced, reading never waits, and
// writing waits for as long as somebody wants it to: so TLS, which reads and writes through
// a wire, holds no buffer while nothing comes, and is not broken by a deadline.
type wire struct {
	net.Conn
	raw     syscall.RawConn
	spliced bool        // set before both pumps start
	over    func() bool // whether nobody waits for the peer any more; set as spliced is

	// Of the pump that reads.
	p       []byte
	n       int
	err     error
	one     [1]byte
	attempt func(fd uintptr) bool // made once so that reading allocates nothing
	look    func(fd uintptr) bool // the same
}

func newWire(conn net.Conn) (*wire, error) {
	bare, ok := conn.(syscall.Conn)
	if !ok {
		return nil, errors.New("the connection has no socket")
	}
	raw, err := bare.SyscallConn()
	if err != nil {
		return nil, err
	}
	w := &wire{Conn: conn, raw: raw}
	w.attempt = func(fd uintptr) bool {
		w.n, w.err = kernel.Read(fd, w.p)
		return true
	}
	w.look = func(fd uintptr) bool {
		_, w.err = kernel.Peek(fd, w.one[:])
		return w.err != syscall.EAGAIN && w.err != syscall.EINTR
	}
	return w, nil
}

// errNothing says that nothing has come. To crypto/tls it is one of the errors after which
// reading may go on.
var errNothing net.Error = nothing{}

type nothing struct{}

func (nothing) Error() string   { return "nothing has come" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }

// Read reads what has come, or returns errNothing.
func (w *wire) Read(p []byte) (int, error) {
	if !w.spliced {
		return w.Conn.Read(p)
	}
	w.p = p
	defer func() { w.p = nil }()
	for {
		if err := w.raw.Read(w.attempt); err != nil {
			return 0, err
		}
		switch {
		case w.err == syscall.EINTR:
		case w.err == syscall.EAGAIN:
			return 0, errNothing
		case w.err != nil:
			return 0, w.err
		case w.n == 0:
			return 0, io.EOF
		default:
			return w.n, nil
		}
	}
}

// await waits until something has come. The kernel tells an error to one call only.
func (w *wire) await() error {
	if err := w.raw.Read(w.look); err != nil {
		return err
	}
	return w.err
}

var errOver = errors.New("nobody waits for the peer any more")

// Write writes all of p.
func (w *wire) Write(p []byte) (n int, err error) {
	if !w.spliced {
		return w.Conn.Write(p)
	}
	for {
		_ = w.SetWriteDeadline(time.Now().Add(messages.Linger / looks))
		m, err := w.Conn.Write(p[n:])
		n += m
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		if w.over() {
			return n, errOver
		}
	}
}

// closeWrite ends the stream to the peer.
func (w *wire) closeWrite() {
	if half, ok := w.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// cut closes the socket so that the peer doesn't take it for an orderly end, where the
// kernel can tell it so.
func (w *wire) cut() {
	if tcp, ok := w.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = w.Conn.Close()
}
