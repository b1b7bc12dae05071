package splice

import (
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// most is how many bytes a pipe is filled with at once. It is less than a message of
	// the server's may be (protocol, section 3), because a message that leaves in one
	// segment, which with its headers is 64 KiB at most, takes two thirds of the processor
	// time for each byte of one that takes two: over loopback 0.39 CPU seconds a GB, and
	// 0.62 with 64 KiB.
	most = 60 << 10
	// maxPipes bounds the pipes that exist. Each has two descriptors, and while a client
	// takes nothing it keeps its bytes in pages that count for no connection. The kernel
	// gives a user without rights 1,024 (pipe(7), pipe-user-pages-soft).
	maxPipes = 64
)

// A Pipe is borrowed while there are bytes in it. It belongs to one goroutine at a time.
type Pipe struct {
	ends  ends
	held  int             // bytes in it
	close runtime.Cleanup // closes it, when nothing refers to it any more
}

// ends are the descriptors of a pipe.
type ends struct{ in, out int }

var (
	open atomic.Int32 // pipes that exist
	// pool has the ones that are not borrowed. The collector closes what nobody has used
	// for a while.
	pool sync.Pool
)

// Take borrows an empty pipe. It returns nil if there is none to be had.
func Take() *Pipe {
	if p, ok := pool.Get().(*Pipe); ok {
		return p
	}
	if open.Add(1) > maxPipes {
		open.Add(-1)
		return nil
	}
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		open.Add(-1)
		return nil
	}
	p := &Pipe{ends: ends{out: fds[0], in: fds[1]}}
	p.close = runtime.AddCleanup(p, ends.close, p.ends)
	return p
}

func (e ends) close() {
	_ = unix.Close(e.in)
	_ = unix.Close(e.out)
	open.Add(-1)
}

// Give gives a pipe back. What is left in it is lost.
func (p *Pipe) Give() {
	if p.held == 0 {
		pool.Put(p)
		return
	}
	p.close.Stop()
	p.ends.close()
}

// Open returns how many pipes there are, borrowed or not.
func Open() int { return int(open.Load()) }

// Fill takes from a TCP connection what has come, without waiting. It returns what read(2)
// would: neither bytes nor an error at the end of the stream.
func (p *Pipe) Fill(fd uintptr) (n int, err error) {
	n, err = move(int(fd), p.ends.in, most)
	p.held += n
	return n, err
}

// drain gives a TCP connection what is in the pipe, as far as it takes it without waiting.
func (p *Pipe) drain(fd uintptr) (n int, err error) {
	n, err = move(p.ends.out, int(fd), p.held)
	p.held -= n
	return n, err
}

func move(from, to, most int) (n int, err error) {
	for {
		moved, err := unix.Splice(from, nil, to, nil, most, unix.SPLICE_F_NONBLOCK)
		if err != syscall.EINTR {
			return int(max(moved, 0)), err
		}
	}
}

// IsUnfit reports whether an error of Fill says that there is no splicing here, and not
// what a read would have said.
func IsUnfit(err error) bool {
	return err == syscall.EINVAL || err == syscall.ENOSYS || err == syscall.EPERM || err == syscall.ENOMEM
}
