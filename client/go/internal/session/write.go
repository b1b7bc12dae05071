package session

import (
	"encoding/binary"
	"runtime"
	"time"

	"wsproxy/client/go/internal/socket"
	"wsproxy/messages"
	"wsproxy/transport/wsock"
	"wsproxy/transport/wsock/replay"
)

// findsEnd is how long the reader may look for a close frame when a write has
// failed: it says why.
const findsEnd = time.Second

// A batch is what the writer writes next. One of its fields is set.
type batch struct {
	text   []byte         // a message of section 9
	pieces []replay.Piece // in flight
	plain  replay.Message // in the plain way
	isData bool           // plain is set
	ping   bool           // of the WebSocket protocol
	pong   *string        // the same
	close  *closing
	flush  bool // nothing else is there now

	scratch [128]byte // of text
	frame   [][]byte  // of a message
	trailer [replay.TrailerSize]byte
}

// write is the session's writer. It writes to the WebSocket of the moment, what
// is urgent first, until the session is over.
func (s *Session) write() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.over {
		if s.busy || !s.step(false) {
			s.work.Wait()
		}
	}
}

// mostSteps is after how many steps whoever has something to write, and writes what
// others have as well, leaves the rest to the writer: it has work of its own.
const mostSteps = 32

// serve writes what there is, without waiting, which spares waking the writer. It is
// the writer's where that can't be done. Under mu, which it gives back meanwhile.
func (s *Session) serve() {
	if s.busy {
		return // who is goes on with it
	}
	for n := 0; n < mostSteps && s.mayTry(); n++ {
		if n == 1 && s.line.unflushed {
			s.gather()
		}
		if !s.step(true) && s.mayTry() {
			return
		}
	}
	s.work.Signal()
}

// alone is how many flushes follow without gather on one where nobody else was there.
const alone = 3

// gather lets others that are about to write do so, before all goes out in one call of the
// kernel. Where nobody was it is left out for some times, since it may wake a thread. Under
// mu, which it gives back meanwhile.
func (s *Session) gather() {
	if s.skip > 0 {
		s.skip--
		return
	}
	s.busy, s.ready = true, false
	s.mu.Unlock()
	runtime.Gosched()
	s.mu.Lock()
	s.busy = false
	if !s.ready {
		s.skip = alone
	}
	s.ready = true
}

// mayTry reports whether what there is can be written without waiting. Ends are said by
// the writer alone. Under mu.
func (s *Session) mayTry() bool {
	return s.sock != nil && s.sock.Tries() && !s.line.stuck && !s.eof && !s.closing.wanted
}

// step writes the next batch, and reports whether another may follow. With try it
// doesn't wait for the kernel. Under mu, which it gives back meanwhile.
func (s *Session) step(try bool) (more bool) {
	b := &s.batch
	s.busy, s.asked = true, false
	defer func() { s.busy = false }()
	if s.sock == nil || s.line.broken || s.line.close || !s.next(b, try) {
		return s.asked // something may have come about meanwhile
	}
	sock := s.sock
	if sock == nil { // lost while the Source was asked
		b.drop()
		return true
	}
	s.line.writing = true
	s.mu.Unlock()
	all, err := b.write(sock, s.o.Unit, try)
	s.mu.Lock()
	s.line.writing = false
	s.wrote(b, all, err)
	s.changed.Broadcast()
	return all
}

// next makes the next batch, and reports whether there is one. Under mu, which it
// gives back while it asks the Source. With try nothing ends.
func (s *Session) next(b *batch, try bool) bool {
	*b = batch{pieces: b.pieces[:0], frame: b.frame}
	if !s.line.stuck && (s.urgent(b) || s.more(b) || !try && s.last(b)) {
		return true
	}
	b.flush = s.line.unflushed
	return b.flush
}

// urgent makes what goes ahead of data. Under mu.
func (s *Session) urgent(b *batch) bool {
	l := &s.line
	switch {
	case l.ack:
		l.ack = false
		position, limit := s.in.Ack()
		s.unacked = unacked{wide: int64(limit-position) >= s.o.Window}
		b.text = messages.AppendAck(b.scratch[:0], s.o.Unit.Name(), position, limit)
	case l.pong:
		l.pong = false
		b.text = append(b.scratch[:0], messages.PongText...)
	case l.ping:
		l.ping = false
		b.text = append(b.scratch[:0], messages.PingText...)
	case l.wsPong != nil:
		b.pong, l.wsPong = l.wsPong, nil
	case l.wsPing:
		l.wsPing, b.ping = false, true
	default:
		return false
	}
	return true
}

// more makes what the Source has, or what is kept and was not written to this
// WebSocket. Under mu, which it gives back while it asks the Source.
func (s *Session) more(b *batch) bool {
	if !s.resumable {
		b.plain, b.isData = s.ask(replay.MaxPayload)
		return b.isData
	}
	for s.isShort() {
		m, ok := s.ask(min(s.out.Room(), replay.MaxPayload))
		if !ok {
			break
		}
		s.out.Keep(m)
	}
	if !s.out.Pending() || s.sock == nil {
		return false
	}
	most := 1 // a message
	if s.o.Unit == replay.Bytes {
		most = wsock.BufferSize + 1 // two buffers, which are one message
	}
	b.pieces = s.out.Next(b.pieces, most)
	s.line.next = b.pieces[len(b.pieces)-1].Position
	return true
}

// isShort reports whether the Source should be asked before something is written.
// Under mu.
func (s *Session) isShort() bool {
	if s.closing.aborted || s.out.Room() == 0 {
		return false
	}
	if s.o.Unit == replay.Messages {
		return !s.out.Pending()
	}
	return s.out.Position()-max(s.line.next, s.out.Acknowledged()) <= wsock.BufferSize
}

// ask asks the Source. Under mu, which it gives back while it does.
func (s *Session) ask(units int64) (m replay.Message, ok bool) {
	if !s.ready || s.closing.aborted {
		return m, false
	}
	s.ready = false // by Wake it may become true meanwhile
	func() {
		s.mu.Unlock()
		defer s.mu.Lock()
		m, ok = s.o.Source.Next(units)
	}()
	s.asked, s.ready = true, s.ready || ok
	return m, ok
}

// last makes what follows all data. Under mu.
func (s *Session) last(b *batch) bool {
	l, c := &s.line, &s.closing
	if s.ready && !c.aborted {
		return false // the limit is used up
	}
	switch {
	case s.eof && !l.eof:
		l.eof = true
		b.text = append(b.scratch[:0], messages.EOFText...)
	case c.wanted && (c.aborted || !c.tried || s.isDelivered()):
		l.close, l.closedAt = true, now()
		said := *c
		b.close = &said
	default:
		return false
	}
	return true
}

// isDelivered reports whether everything that was sent is acknowledged. Under mu.
func (s *Session) isDelivered() bool {
	return s.out.Acknowledged() == s.out.Position()
}

// wrote notes how the write of a batch has ended: all says whether the kernel has taken
// what it was given. Under mu.
func (s *Session) wrote(b *batch, all bool, err error) {
	s.line.unflushed = !all || !b.flush && b.close == nil
	if s.line.stuck = !all; !all {
		s.work.Signal()
	}
	if len(b.pieces) > 0 {
		s.out.Wrote()
		clear(b.pieces)
	}
	if b.isData {
		giveBack(b.plain.Buf)
	}
	s.pulse.look(s)
	if err != nil && s.sock != nil {
		s.line.broken = true
		s.sock.SetReadDeadline(time.Now().Add(findsEnd))
	}
}

// drop gives back a batch that is not written.
func (b *batch) drop() {
	if b.isData {
		giveBack(b.plain.Buf)
	}
}

func giveBack(buf *wsock.Buffer) {
	if buf != nil {
		wsock.GiveBuffer(buf)
	}
}

// write writes the batch, and reports whether the kernel has taken what it was given:
// with try it may have taken a part.
func (b *batch) write(sock *socket.Conn, unit replay.Unit, try bool) (all bool, err error) {
	switch {
	case b.text != nil:
		sock.Write(socket.Text, b.text)
	case b.pong != nil:
		err = sock.WritePong(*b.pong)
	case b.ping:
		err = sock.WritePing()
	case b.close != nil:
		return true, sock.Close(b.close.code, b.close.reason)
	case b.isData:
		sock.Write(kindOf(b.plain.JSON), b.plain.Payload)
	case unit == replay.Messages:
		b.messages(sock)
	default:
		b.bytes(sock)
	}
	switch {
	case err != nil || !b.flush && !sock.IsFull():
		return true, err
	case try:
		return sock.TryFlush()
	}
	return true, sock.Flush()
}

func kindOf(json bool) socket.Kind {
	if json {
		return socket.Text
	}
	return socket.Binary
}

// messages writes each piece as a message.
func (b *batch) messages(sock *socket.Conn) {
	for _, p := range b.pieces {
		b.frame = append(b.frame[:0], p.Payload)
		if !p.JSON {
			binary.BigEndian.PutUint64(b.trailer[:], p.Position)
			b.frame = append(b.frame, b.trailer[:])
		}
		sock.Write(kindOf(p.JSON), b.frame...)
	}
}

// bytes writes pieces of a stream, as many in a message as fit: where messages
// begin and end means nothing.
func (b *batch) bytes(sock *socket.Conn) {
	b.frame = b.frame[:0]
	size := 0
	for i, p := range b.pieces {
		b.frame = append(b.frame, p.Payload)
		size += len(p.Payload)
		if i+1 < len(b.pieces) && size+len(b.pieces[i+1].Payload) <= replay.MaxPayload {
			continue
		}
		binary.BigEndian.PutUint64(b.trailer[:], p.Position)
		b.frame = append(b.frame, b.trailer[:])
		sock.Write(socket.Binary, b.frame...)
		b.frame, size = b.frame[:0], 0
	}
}
