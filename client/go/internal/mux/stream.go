package mux

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"wsproxy/client/go/internal/wire"
	"wsproxy/messages"
	"wsproxy/transport/wsock/replay"
)

// A Stream is one connection of a tunnel. It is a [net.Conn], of which any
// goroutine may use any method. One on which nothing waits holds no buffer.
type Stream struct {
	mux    *Mux
	id     string
	http   bool // the server speaks HTTP over it, and nobody owes an answer to an end
	local  net.Addr
	remote net.Addr

	// All that follows is under mux.mu.
	in       inbox
	window   window    // of what comes
	giving   int       // credit that the server has yet to be told
	direct   TryWriter // of a WriteTo that waits for what comes
	passing  bool      // what has come is being given to direct, without mu
	passed   int64     // bytes that direct has taken
	readErr  error     // what Read says behind what waits: io.EOF, or why the connection broke
	readable sync.Cond // something has come, or changed for Read
	readBy   deadline

	out      outbox
	may      int       // payload bytes that may be sent
	turn     turn      // of turns
	writing  bool      // a Write is under way
	writeErr error     // what Write says
	writable sync.Cond // there is room, or something changed for Write
	writeBy  deadline

	end    ending // what is to be said behind what waits
	said   ending // what was said
	closed bool   // by Close and its like
	gone   bool   // the Mux knows nothing of it any more
}

// An ending is what this side says of the end of a stream.
type ending uint8

const (
	endNone    ending = iota
	endEOF            // of the sending side
	endClose          // of both directions
	endReset          // the outside connection is to be reset
	endRefused        // there is no service for it
)

func (e ending) reason() string {
	switch e {
	case endEOF:
		return messages.ClientEOF
	case endReset:
		return messages.ClientReset
	case endRefused:
		return messages.ClientRefused
	}
	return ""
}

func newStream(m *Mux, opened *wire.Opened) *Stream {
	s := &Stream{mux: m, id: opened.ConnID, local: m.rawAddr, remote: address(opened.RemoteAddr),
		http: opened.Protocol == messages.ProtocolHTTP, window: newWindow(), may: messages.Window}
	if s.http {
		s.local = m.url
	}
	s.readable.L, s.writable.L = &m.mu, &m.mu
	return s
}

// HTTP reports whether the server speaks HTTP over the connection.
func (s *Stream) HTTP() bool { return s.http }

// Read reads what the outside peer has sent. The error is io.EOF when it has
// ended its sending side, and an [Error] when the connection broke, each behind
// what came before.
func (s *Stream) Read(p []byte) (n int, err error) {
	s.mux.mu.Lock()
	defer s.mux.unlock()
	for {
		switch err := s.readError(); {
		case err != nil:
			return 0, err
		case s.in.size > 0:
			n = s.in.take(p)
			s.give()
			return n, nil
		case len(p) == 0:
			return 0, nil
		}
		s.readable.Wait()
	}
}

func (s *Stream) readError() error {
	switch {
	case s.closed:
		return s.opError("read", net.ErrClosed)
	case s.readBy.expired:
		return s.opError("read", os.ErrDeadlineExceeded)
	case s.in.size == 0 && s.readErr != nil:
		return s.opError("read", s.readErr)
	}
	return nil
}

// Write copies p to what waits to be sent, and waits until there is room for
// all of it: at most 128 KiB wait, and go out as the server gives credit and
// other streams have had their turns.
func (s *Stream) Write(p []byte) (n int, err error) {
	err = s.fill(func() bool {
		n += s.out.put(p[n:], s.id)
		return n == len(p)
	})
	return n, err
}

// fill calls put, which puts something into the outbox and reports whether that was all,
// as often as there is room until it was. put is called with the lock.
func (s *Stream) fill(put func() bool) error {
	m := s.mux
	m.mu.Lock()
	defer m.unlock()
	for s.writing { // one after the other, as on any connection
		if err := s.writeError(); err != nil {
			return err
		}
		s.writable.Wait()
	}
	s.writing = true
	defer func() {
		s.writing = false
		s.writable.Broadcast()
	}()
	for {
		if err := s.writeError(); err != nil {
			return err
		}
		before := s.sendable()
		all := put()
		s.ask(before)
		if all {
			return nil
		}
		if m.tell.wake && m.session != nil {
			m.unlock()
			m.mu.Lock()
			continue
		}
		s.writable.Wait()
	}
}

func (s *Stream) writeError() error {
	switch {
	case s.closed:
		return s.opError("write", net.ErrClosed)
	case s.writeErr != nil:
		return s.opError("write", s.writeErr)
	case s.end != endNone:
		return s.opError("write", io.ErrClosedPipe)
	case s.writeBy.expired:
		return s.opError("write", os.ErrDeadlineExceeded)
	}
	return nil
}

// sendable reports whether the stream has something that may be sent now.
func (s *Stream) sendable() bool {
	if s.out.size > 0 {
		return s.may > 0
	}
	return s.end != s.said && !s.gone
}

// isBrief reports whether its next message is small, or there is none.
func (s *Stream) isBrief() bool { return s.out.size == 0 || min(s.out.first(), s.may) < brief }

// ask has the stream served if it can send something and could not before.
func (s *Stream) ask(before bool) {
	if !before && s.sendable() {
		s.mux.turns.add(s)
		s.mux.wake()
	}
}

// nextMessage returns what the stream sends next, which is sendable.
func (s *Stream) nextMessage() replay.Message {
	if s.out.size == 0 {
		return replay.Message{Payload: s.sayEnd(), JSON: true}
	}
	message, n := s.out.next(s.id, s.may)
	s.may -= n
	if s.out.count <= outDepth/2 { // who waits is not woken for little
		s.writable.Broadcast()
	}
	return message
}

// sayEnd returns tcp_close.
func (s *Stream) sayEnd() []byte {
	s.said = s.end
	if s.http && s.said <= endClose {
		s.mux.settled = time.Now().Add(settle)
	}
	if s.said == endEOF && s.http && s.readErr == nil {
		s.readErr = io.EOF // the end of a service is that of both directions, and nobody answers
		s.readable.Broadcast()
	}
	if s.said != endEOF || s.readErr != nil {
		s.forget()
	}
	return wire.EncodeClose(s.id, s.said.reason())
}

// CloseWrite ends the sending side behind what was written. The outside peer of
// a raw connection can go on sending; over HTTP this is the end of both
// directions, but what has come can still be read.
func (s *Stream) CloseWrite() error {
	s.mux.mu.Lock()
	defer s.mux.unlock()
	if err := s.writeError(); err != nil && s.end != endEOF && !s.writeBy.expired {
		return err
	}
	before := s.sendable()
	s.finish(endEOF)
	s.ask(before)
	return nil
}

// Close ends the connection behind what was written, which is still sent after
// it. What the outside peer sends is dropped. If something of that has come and was
// not read, a raw connection is reset then, as TCP does it: the peer must not take
// it for read.
func (s *Stream) Close() error { return s.closeAs(endClose) }

// Reset resets the outside connection, and drops what waits.
func (s *Stream) Reset() error { return s.closeAs(endReset) }

// Refuse says that there is no service for the connection, and drops what waits.
func (s *Stream) Refuse() error { return s.closeAs(endRefused) }

func (s *Stream) closeAs(end ending) error {
	s.mux.mu.Lock()
	defer s.mux.unlock()
	if s.closed && (s.gone || end == endClose) {
		return s.opError("close", net.ErrClosed)
	}
	s.closeFor(end)
	return nil
}

// closeFor closes the stream for its program.
func (s *Stream) closeFor(end ending) {
	before := s.sendable()
	if end == endClose && !s.http && s.in.size > 0 && s.readErr == nil {
		end = endReset
	} else if end != endClose {
		s.out.drop()
	}
	s.closed = true
	s.in.drop()
	s.readBy.stop()
	s.writeBy.stop()
	s.finish(end)
	s.ask(before)
	s.give()
	s.readable.Broadcast()
}

// finish notes what is to be said of the end behind what waits.
func (s *Stream) finish(end ending) {
	if !s.gone {
		s.end = max(s.end, end)
	}
	s.writable.Broadcast()
}

// broke ends a stream of which the server knows nothing any more. What has come
// can still be read.
func (s *Stream) broke(err error) {
	s.readErr, s.writeErr = err, err
	s.forget()
	s.readable.Broadcast()
	s.writable.Broadcast()
}

// forget removes the stream from its Mux: nothing of it is sent any more.
func (s *Stream) forget() {
	if s.gone {
		return
	}
	s.gone = true
	s.giving = 0
	s.out.drop()
	s.window.end(&s.mux.widened)
	s.mux.recent.add(s.id)
	delete(s.mux.streams, s.id)
	s.mux.closeIfEmpty()
}

const network = "wsproxy"

// addr is an address that is none of TCP.
type addr string

func (a addr) Network() string { return network }
func (a addr) String() string  { return string(a) }

// maxAddr is how many bytes of an address are kept that can't be read.
const maxAddr = 64

func address(text string) net.Addr {
	if a, err := netip.ParseAddrPort(text); err == nil {
		return net.TCPAddrFromAddrPort(a)
	}
	return addr(text[:min(len(text), maxAddr)])
}

// LocalAddr returns the public address of the tunnel that the connection came
// to: its URL, or host and port of raw connections.
func (s *Stream) LocalAddr() net.Addr { return s.local }

// RemoteAddr returns the address of the outside peer; over HTTP that of the
// request for which the connection was opened.
func (s *Stream) RemoteAddr() net.Addr { return s.remote }
