package splice

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// maxHeader is how long a header is at most.
const maxHeader = 16

// A Writer sends what is in pipes over a TCP connection, each behind a header. It belongs
// to one goroutine at a time.
type Writer struct {
	raw     syscall.RawConn
	attempt func(fd uintptr) bool // try, made once so that writing allocates nothing
	room    [maxHeader]byte
	header  []byte // what is left of it
	pipe    *Pipe
	begun   bool // some of it has gone out
	err     error
}

// NewWriter returns a writer to a connection.
func NewWriter(raw syscall.RawConn) *Writer {
	w := &Writer{raw: raw}
	w.attempt = w.try
	return w
}

// Write sends the header and what is in the pipe, and waits until the kernel has taken
// it, or for a deadline. The header is not kept. With an error, begun says whether some of
// it has gone out.
func (w *Writer) Write(header []byte, p *Pipe) (begun bool, err error) {
	w.header, w.pipe, w.begun, w.err = append(w.room[:0], header...), p, false, nil
	if err = w.raw.Write(w.attempt); err == nil {
		err = w.err
	}
	w.pipe = nil
	return w.begun, err
}

// try writes without waiting, and reports whether there is no more to do.
func (w *Writer) try(fd uintptr) bool {
	for len(w.header) > 0 || w.pipe.held > 0 {
		n := 0
		if len(w.header) > 0 {
			// The kernel keeps it for what follows.
			n, w.err = unix.SendmsgN(int(fd), w.header, nil, nil, unix.MSG_MORE|unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
			w.header = w.header[max(n, 0):]
		} else {
			n, w.err = w.pipe.drain(fd)
		}
		w.begun = w.begun || n > 0
		switch w.err {
		case nil, syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			return true
		}
	}
	return true
}
