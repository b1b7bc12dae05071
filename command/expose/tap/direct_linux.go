package tap

import (
	"io"
	"net"
	"syscall"
	"unsafe"
)

// A direct is a TCP connection to a service, which one goroutine reads and one writes. Its
// calls of the kernel never wait, so Go's scheduler is not told of them: for whatever may
// wait it has a thread that looks every 20 µs whether it does, and takes the processor from a
// goroutine that it meets in a call, such as a write over loopback that only takes its time.
// What waits is the poller, as ever.
type direct struct {
	raw      syscall.RawConn
	in, out  call
	onRead   func(fd uintptr) bool // these are made once, so that nothing is allocated
	onWrites func(fd uintptr) bool
}

// A call is one of the kernel.
type call struct {
	b     []byte
	n     int
	errno syscall.Errno
}

// newDirect returns nil for a connection that is none of TCP.
func newDirect(conn net.Conn) *direct {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	d := &direct{raw: raw}
	d.onRead = func(fd uintptr) bool { return d.in.do(syscall.SYS_READ, fd) }
	d.onWrites = func(fd uintptr) bool {
		d.out.do(syscall.SYS_WRITE, fd)
		return true
	}
	return d
}

// do makes the call, and reports whether there is no need to wait.
func (c *call) do(number, fd uintptr) bool {
	for {
		n, _, errno := syscall.RawSyscall(number, fd, uintptr(unsafe.Pointer(unsafe.SliceData(c.b))), uintptr(len(c.b)))
		if errno == syscall.EINTR {
			continue
		}
		if c.n, c.errno = int(n), errno; errno != 0 {
			c.n = 0
		}
		return errno != syscall.EAGAIN
	}
}

// Read reads as of the connection.
func (d *direct) Read(b []byte) (int, error) {
	d.in.b = b
	err := d.raw.Read(d.onRead)
	d.in.b = nil
	switch {
	case err != nil:
		return 0, err
	case d.in.errno != 0:
		return 0, d.in.errno
	case d.in.n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	return d.in.n, nil
}

// tryWrite returns how many bytes the kernel has taken at once. An error comes again for
// who writes the rest.
func (d *direct) tryWrite(b []byte) int {
	d.out.b = b
	err := d.raw.Write(d.onWrites)
	d.out.b = nil
	if err != nil {
		return 0
	}
	return d.out.n
}
