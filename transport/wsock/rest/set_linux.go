package rest

import (
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const supported = true

// A set has the connections at rest, and wakes them. A descriptor is in its epoll set
// exactly while the connection is in its table: who closes one takes it out before. A
// token is never used twice, so an event that was on its way meanwhile means nobody.
type set struct {
	mu    sync.Mutex // taken after that of a Conn
	file  *os.File   // under mu: of the epoll set; nil while nobody rests
	epoll int        // under mu: its descriptor
	conns map[uint64]*Conn
	last  uint64 // under mu: the token that was given last
}

// resting is that of the process.
var resting set

// Count returns how many connections are at rest.
func Count() int {
	resting.mu.Lock()
	defer resting.mu.Unlock()
	return len(resting.conns)
}

// add has a connection woken when something comes, or has come already.
func (s *set) add(c *Conn) (token uint64, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil && !s.open() {
		return 0, false
	}
	s.last++
	event := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, // beside errors, which it always tells
		Fd:     int32(s.last), Pad: int32(s.last >> 32),
	}
	if s.control(unix.EPOLL_CTL_ADD, c, &event) != nil {
		s.close()
		return 0, false
	}
	s.conns[s.last] = c
	return s.last, true
}

// remove takes a connection out, which is not closed.
func (s *set) remove(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.control(unix.EPOLL_CTL_DEL, c, nil)
	delete(s.conns, c.token)
	s.close()
}

// control tells the kernel what to do with a connection. Under mu.
func (s *set) control(what int, c *Conn, event *unix.EpollEvent) error {
	raw, err := c.TCPConn.SyscallConn()
	if err != nil {
		return err
	}
	if closed := raw.Control(func(fd uintptr) { err = unix.EpollCtl(s.epoll, what, int(fd), event) }); closed != nil {
		return closed
	}
	return err
}

// open begins to wait. Under mu.
func (s *set) open() bool {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	// The runtime waits for what doesn't block, so that no thread has to.
	if err := unix.SetNonblock(epoll, true); err != nil {
		unix.Close(epoll)
		return false
	}
	file := os.NewFile(uintptr(epoll), "epoll")
	raw, err := file.SyscallConn()
	if err != nil || file.SetReadDeadline(time.Time{}) != nil { // the runtime does not wait for it
		file.Close()
		return false
	}
	s.file, s.epoll, s.conns = file, epoll, make(map[uint64]*Conn)
	go s.wait(raw)
	return true
}

// close ends the waiting if there is nobody to wait for. Under mu.
func (s *set) close() {
	if len(s.conns) == 0 {
		go s.file.Close() // it waits for who reads it
		s.file, s.conns = nil, nil
	}
}

// wait wakes connections until its epoll set is closed.
func (s *set) wait(raw syscall.RawConn) {
	var events [64]unix.EpollEvent
	for {
		n := 0
		if err := raw.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events[:], 0) // it is interrupted at most
			return n != 0
		}); err != nil {
			return
		}
		for _, event := range events[:max(n, 0)] {
			token := uint64(uint32(event.Fd)) | uint64(uint32(event.Pad))<<32
			s.wake(token)
		}
	}
}

// wake starts the reader that has gone to rest by this token, if it is at rest still.
func (s *set) wake(token uint64) {
	s.mu.Lock()
	c := s.conns[token]
	s.mu.Unlock()
	if c != nil {
		c.wake(token)
	}
}
