package wsock

import (
	"syscall"

	"wsproxy/transport/wsock/kernel"
)

// A TryWriter writes to a TCP connection what its kernel takes at once. It belongs to
// one goroutine at a time.
type TryWriter struct {
	raw     syscall.RawConn
	attempt func(fd uintptr) bool // made once so that writing allocates nothing
	p       [][]byte
	one     [1][]byte // the pieces of Try
	n       int
	err     error
}

// NewTryWriter returns a writer to a connection.
func NewTryWriter(conn syscall.Conn) (*TryWriter, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	w := &TryWriter{raw: raw}
	w.attempt = func(fd uintptr) bool {
		w.n, w.err = kernel.WriteAll(fd, w.p)
		return true
	}
	return w, nil
}

// Try returns how many bytes of p the kernel has taken. It never waits; the error is
// the kernel's, or that the connection is closed.
func (w *TryWriter) Try(p []byte) (n int, err error) {
	w.one[0] = p
	n, err = w.TryAll(w.one[:])
	w.one[0] = nil
	return n, err
}

// TryAll is Try for pieces that follow each other. With up to eight it allocates nothing.
func (w *TryWriter) TryAll(p [][]byte) (n int, err error) {
	for {
		w.p = p
		err := w.raw.Write(w.attempt)
		w.p = nil
		switch {
		case err != nil:
			return 0, err
		case w.err == syscall.EINTR:
		case w.err == syscall.EAGAIN:
			return 0, nil
		case w.err != nil:
			return 0, w.err
		default:
			return w.n, nil
		}
	}
}
