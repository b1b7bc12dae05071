package rest

import (
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"wsproxy/internal/testkit"
)

// come is what a reader has read, or why it has ended.
type come struct {
	data string
	err  error
}

// A reader reads a Conn as those of the server do, into got, which has room for little.
type reader struct {
	*Conn
	raw    syscall.RawConn
	got    chan come
	over   chan struct{} // closed when the test has ended
	starts atomic.Int32  // since it was at rest
	peer   *net.TCPConn
}

func newReader(t *testing.T) *reader {
	t.Helper()
	peer, conn := testkit.TCPPair(t)
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{Conn: &Conn{TCPConn: conn}, raw: raw, got: make(chan come), over: make(chan struct{}), peer: peer}
	t.Cleanup(func() { r.Close(); close(r.over) })
	return r
}

func (r *reader) run() {
	b := make([]byte, 100)
	for {
		var n int
		var err error
		failed := r.Await(r.raw, func(fd uintptr) bool {
			n, err = syscall.Read(int(fd), b)
			return err != syscall.EAGAIN
		})
		if failed == ErrDue {
			r.Again(func() { r.starts.Add(1); go r.run() })
			return
		}
		if failed != nil {
			err = failed
		} else if n == 0 && err == nil {
			err = io.EOF
		}
		select {
		case r.got <- come{string(b[:max(n, 0)]), err}:
		case <-r.over:
			return
		}
		if err != nil {
			return
		}
	}
}

// say has the peer send something, and waits until the reader has read it.
func (r *reader) say(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(r.peer, text); err != nil {
		t.Fatal(err)
	}
	r.want(t, come{text, nil})
}

func (r *reader) want(t *testing.T, want come) {
	t.Helper()
	if got := testkit.Receive(t, r.got); got.data != want.data || !errors.Is(got.err, want.err) {
		t.Fatalf("read %q, %v; want %q, %v", got.data, got.err, want.data, want.err)
	}
}

func (r *reader) isAtRest() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.start != nil
}

func (r *reader) awaitRest(t *testing.T) {
	t.Helper()
	testkit.Eventually(t, "it is at rest", r.isAtRest)
}

func descriptor(t *testing.T, c *Conn) (number uintptr) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { number = fd })
	}
	if err != nil {
		t.Fatal(err)
	}
	return number
}

// wait lets a reader of nothing go to rest, if it would.
func wait(looks int) { <-time.After(time.Duration(looks) * After) }
