package session

import (
	"encoding/binary"
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
	var b batch
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.over {
		s.asked = false
		if s.sock == nil || s.line.broken || s.line.close || !s.next(&b) {
			if !s.asked { // else something may have come about meanwhile
				s.work.Wait()
			}
			continue
		}
		sock := s.sock
		if sock == nil { // lost while the Source was asked
			b.drop()
			continue
		}
		s.line.writing = true
		s.mu.Unlock()
		err := b.write(sock, s.o.Unit)
		s.mu.Lock()
		s.line.writing = false
		s.wrote(&b, err)
		s.changed.Broadcast()
	}
}

// next makes the next batch, and reports whether there is one. Under mu, which it
// gives back while it asks the Source.
func (s *Session) next(b *batch) bool {
	*b = batch{pieces: b.pieces[:0], frame: b.frame}
	if s.urgent(b) || s.more(b) || s.last(b) {
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

// wrote notes how the write of a batch has ended. Under mu.
func (s *Session) wrote(b *batch, err error) {
	s.line.unflushed = !b.flush && b.close == nil
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

// write writes the batch.
func (b *batch) write(sock *socket.Conn, unit replay.Unit) error {
	switch {
	case b.text != nil:
		return sock.Write(socket.Text, b.text)
	case b.pong != nil:
		return sock.WritePong(*b.pong)
	case b.ping:
		return sock.WritePing()
	case b.close != nil:
		return sock.Close(b.close.code, b.close.reason)
	case b.flush:
		return sock.Flush()
	case b.isData:
		return sock.Write(kindOf(b.plain.JSON), b.plain.Payload)
	case unit == replay.Messages:
		return b.messages(sock)
	}
	return b.bytes(sock)
}

func kindOf(json bool) socket.Kind {
	if json {
		return socket.Text
	}
	return socket.Binary
}

// messages writes each piece as a message.
func (b *batch) messages(sock *socket.Conn) error {
	for _, p := range b.pieces {
		b.frame = append(b.frame[:0], p.Payload)
		if !p.JSON {
			binary.BigEndian.PutUint64(b.trailer[:], p.Position)
			b.frame = append(b.frame, b.trailer[:])
		}
		if err := sock.Write(kindOf(p.JSON), b.frame...); err != nil {
			return err
		}
	}
	return nil
}

// bytes writes pieces of a stream, as many in a message as fit: where messages
// begin and end means nothing.
func (b *batch) bytes(sock *socket.Conn) error {
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
		if err := sock.Write(socket.Binary, b.frame...); err != nil {
			return err
		}
		b.frame, size = b.frame[:0], 0
	}
	return nil
}
