package listen

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/wsock"
	"wsproxy/transport/wsock/kernel"
)

// unsent is how many bytes the kernel holds at most that were written to a peer and can't
// be sent yet. What the edge is told of its own connection is that much too good, as the
// answer to a ping is that much late.
const unsent = 64 << 10

// A splice carries the bytes of a peer's connection to a TCP connection of the edge, and
// back. What one side does to its connection happens to the other's: an end to an end, a
// reset to a reset, and what is not read is not read.
//
// Two pumps serve it: in reads the peer, out writes to it. While nothing comes they hold
// no buffer.
type splice struct {
	listener *Listener
	peer     netip.Prefix // whom it comes from, as lingerers count it
	wire     *wire
	secure   *tls.Conn       // over wire; nil without TLS
	stream   io.ReadWriter   // secure, or wire
	front    *net.TCPConn    // this end of the TCP connection
	edge     syscall.RawConn // the other end, to see whether it is closed
	edgeRead *wsock.Reader   // of front
	// edgeWrite writes to front.
	edgeWrite *wsock.TryWriter
	inDone    chan struct{} // closed when the peer is not read any more
	sentEnd   atomic.Bool   // the edge is sent no more
	cutting   sync.Once
	flushed   func() // says, once, that all that the edge has written was given to the kernel

	mu    sync.Mutex
	acked uint64    // under mu: bytes that the peer's kernel had acknowledged at the last look
	since time.Time // under mu: when that changed; zero before the edge was seen closed

	progress atomic.Int64 // since, in nanoseconds of Unix time, for lingerers
	lingered bool         // under mu: it was counted, or must not be any more
}

// splice begins to carry a connection, and returns the edge's end. With an error nothing
// was taken.
func (l *Listener) splice(w *wire, secure *tls.Conn, peer net.Addr) (*net.TCPConn, error) {
	edge, front, err := newPair()
	if err != nil {
		return nil, err
	}
	s := &splice{listener: l, peer: sourceOf(addressOf(peer)), wire: w, secure: secure, stream: w, front: front, inDone: make(chan struct{})}
	if secure != nil {
		s.stream = secure
	}
	s.edge, err = edge.SyscallConn()
	if err == nil {
		s.edgeRead, err = wsock.NewReader(front, 0)
	}
	if err == nil {
		s.edgeWrite, err = wsock.NewTryWriter(front)
	}
	if err != nil {
		edge.Close()
		front.Close()
		return nil, err
	}
	s.edgeRead.SentEnd(&s.sentEnd)
	kernel.KeepUnsent(w.raw, unsent)
	w.spliced, w.over = true, s.isOver
	l.unflushed.Add(1)
	s.flushed = sync.OnceFunc(func() { l.unflushed.Add(-1) })
	wsock.StartPump(l.options.Log, "listener in", s.in, func() { close(s.inDone) })
	wsock.StartPump(l.options.Log, "listener out", s.out, s.end)
	return edge, nil
}

// in passes on what the peer sends.
func (s *splice) in() {
	for {
		err := s.passIn()
		if err == errNothing {
			if err = s.wire.await(); err == nil {
				continue
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF): // with or without a word of TLS
			s.sentEnd.Store(true)
			_ = s.front.CloseWrite()
		case errors.Is(err, errInner):
			// The edge reads no more. What it has sent must arrive: a socket that is closed
			// with bytes unread resets the connection.
			_, _ = io.Copy(io.Discard, s.wire.Conn)
		default:
			s.cut()
		}
		return
	}
}

var errInner = errors.New("the edge reads no more")

// atOnce is how many bytes are passed on at once at most, which is what a record of TLS
// holds (RFC 8446, section 5.1).
const atOnce = 16 << 10

// passIn passes on what has come, and returns why there is no more. While the edge does
// not read it holds no more than the bytes that it has read.
func (s *splice) passIn() error {
	buf := wsock.TakeBuffer()
	defer func() { wsock.GiveBuffer(buf) }()
	for {
		n, err := s.stream.Read(buf[:atOnce])
		if n > 0 {
			m, err := s.edgeWrite.Try(buf[:n])
			if err == nil && m < n {
				rest := append([]byte(nil), buf[m:n]...)
				wsock.GiveBuffer(buf)
				_, err = s.front.Write(rest)
				buf = wsock.TakeBuffer()
			}
			if err != nil {
				return errInner
			}
		}
		if err != nil {
			return err
		}
	}
}

// out passes on what the edge sends, and waits for the connection's end.
func (s *splice) out() {
	for {
		buf, n, err := s.edgeRead.Read()
		if err == nil {
			_, err = s.stream.Write(buf[:n])
			wsock.GiveBuffer(buf)
			if err != nil {
				s.cut()
				return
			}
			continue
		}
		if err != io.EOF || s.edgeRead.WasReset() {
			s.cut()
			return
		}
		break
	}
	if s.secure != nil {
		_ = s.secure.CloseWrite()
	}
	s.wire.closeWrite()
	s.flushed()
	s.linger()
}

// firstLook is when it is first looked whether the peer's kernel has all: most have within a
// round trip, and until then there are two descriptors that count for nobody. After that it
// is looked half as often each time, down to looks in [messages.Linger].
const firstLook = 2 * time.Millisecond

// linger waits until the peer has ended its stream, too; or, when the edge has closed the
// connection, until the peer's kernel has all that was sent to it.
func (s *splice) linger() {
	wait := firstLook
	look := time.NewTimer(wait)
	defer look.Stop()
	for {
		if s.isClosed() {
			if kernel.Look(s.wire.raw).Unacked <= 0 { // below, if the end of the stream is acknowledged, too
				return
			}
			if s.isOver() {
				s.cut()
				return
			}
		}
		select {
		case <-s.inDone:
			if s.isClosed() {
				return
			}
			<-look.C
		case <-look.C:
		}
		wait = min(2*wait, messages.Linger/looks)
		look.Reset(wait)
	}
}

// isClosed reports whether the edge has closed its end.
func (s *splice) isClosed() bool { return s.edge.Control(func(uintptr) {}) != nil }

// isOver reports whether the edge has closed its end, and either cut it or waited long
// enough for the peer, which takes nothing. While it waits it is one of the lingerers.
func (s *splice) isOver() bool {
	over, victim := s.look()
	if victim != nil {
		victim.cut()
	}
	return over || victim == s
}

func (s *splice) look() (over bool, victim *splice) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isClosed() {
		s.since = time.Time{}
		return false, nil
	}
	acked := kernel.BytesAcked(s.wire.raw)
	if s.since.IsZero() || acked != s.acked {
		s.acked, s.since = acked, time.Now()
		s.progress.Store(s.since.UnixNano())
	}
	if !s.lingered {
		s.lingered = true
		victim = s.listener.lingering.enter(s)
	}
	return s.edgeRead.WasReset() || time.Since(s.since) >= messages.Linger, victim
}

// cut resets both connections, once.
func (s *splice) cut() {
	s.cutting.Do(func() {
		_ = s.front.SetLinger(0)
		s.wire.cut()
		_ = s.front.Close()
	})
}

// end closes what is left when out has ended, which in does then, too.
func (s *splice) end() {
	if s.isClosed() {
		_ = s.front.SetLinger(0) // all has come, and a port is not kept waiting
	}
	_ = s.wire.Close()
	_ = s.front.Close()
	s.mu.Lock()
	s.lingered = true
	s.listener.lingering.leave(s)
	s.mu.Unlock()
	s.flushed()
}
