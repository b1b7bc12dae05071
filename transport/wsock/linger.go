package wsock

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/wsock/kernel"
)

// lingerLooks is how often a peer is looked at within [messages.Linger]: that
// much later at most its last progress is found to be past.
const lingerLooks = 16

// A Linger bounds the wait for a peer that is to take what was sent to it: it
// ends when the peer's kernel has acknowledged nothing new for
// [messages.Linger]. A slow reader has all the time that it needs. It holds no
// goroutine.
type Linger struct {
	progress func() uint64 // returns the bytes acknowledged; set once
	expire   func()        // set once
	mu       sync.Mutex
	timer    *time.Timer   // under mu; nil when it was stopped
	acked    uint64        // under mu: bytes acknowledged at the last look
	since    time.Time     // under mu: when that last changed
	after    time.Duration // under mu, of WhenQuiet
	quiet    func() bool   // under mu, of WhenQuiet; nil for none, or when it is done
	fin      bool          // under mu: quiet is done, and its FIN may come to be acknowledged
}

// NewLinger begins to look at the peer of a TCP connection, and calls expire at
// the wait's end, from a goroutine of its own.
func NewLinger(raw syscall.RawConn, expire func()) *Linger {
	return newLinger(func() uint64 { return kernel.BytesAcked(raw) }, expire)
}

func newLinger(progress func() uint64, expire func()) *Linger {
	l := &Linger{progress: progress, expire: expire, acked: progress(), since: time.Now()}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = time.AfterFunc(messages.Linger/lingerLooks, l.look)
	return l
}

func (l *Linger) look() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer == nil {
		return
	}
	acked := l.progress()
	if l.fin && acked == l.acked+1 { // the FIN counts as a byte, and is none
		l.acked, l.fin = acked, false
	}
	switch idle := time.Since(l.since); {
	case acked != l.acked:
		l.acked, l.since = acked, time.Now()
	case idle >= messages.Linger:
		l.timer = nil
		go l.expire() // it may be whoever calls Stop that it waits for
		return
	case l.quiet != nil && idle >= l.after && l.quiet():
		l.quiet, l.fin = nil, true
	}
	l.timer.Reset(messages.Linger / lingerLooks)
}

// WhenQuiet has end called when the peer's kernel has acknowledged nothing new for after,
// and again until it returns true. It ends the sending side, and must not wait.
func (l *Linger) WhenQuiet(after time.Duration, end func() bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.after, l.quiet = after, end
}

// Stop ends the looking. The wait is over, one way or another.
func (l *Linger) Stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
}

// Discard reads what a peer still sends, to no purpose, until it ends or has
// acknowledged nothing new of what it was sent for [messages.Linger]. It begins when who
// reads the connection has closed read, which a deadline has it do. enough says that
// nobody waits for the peer any more; what it depends on is set before a deadline is that
// ends the reading.
func Discard(conn *net.TCPConn, read <-chan struct{}, enough func() bool) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	acked, since := kernel.BytesAcked(raw), time.Now()
	for time.Since(since) < messages.Linger {
		_ = conn.SetReadDeadline(time.Now().Add(messages.Linger / lingerLooks))
		if enough() {
			return
		}
		<-read // by then at the latest
		if _, err := io.Copy(io.Discard, conn); !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		if now := kernel.BytesAcked(raw); now != acked {
			acked, since = now, time.Now()
		}
	}
}
