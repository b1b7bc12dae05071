package resume

import (
	"encoding/binary"
	"math"
	"sync"

	"wsproxy/messages"
	"wsproxy/transport/wsock"
	"wsproxy/transport/wsock/replay"
)

// AwaitRoom waits until the client may be sent something, and the session has room
// to keep it, if there is any for want bytes. It returns how many units may be sent: 0 if
// the session closes. One goroutine calls it and Send.
func (s *Session) AwaitRoom(want int) (units int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if units = s.roomFor(want); units > 0 {
			return units
		}
		if !s.awaitRoom() {
			return 0
		}
	}
}

// Send keeps messages, whose memory is the session's now, and sends them together if
// there is a WebSocket. It waits for room, and reports false if the session closes before.
func (s *Session) Send(all ...replay.Message) bool {
	for len(all) > 0 {
		s.mu.Lock()
		n, some := s.keep(all)
		more := some || s.awaitRoom()
		all = all[n:]
		s.flush()
		if !more {
			for _, m := range all {
				giveBuffer(m.Buf)
			}
			return false
		}
	}
	return true
}

// keep keeps as many messages as there is room for, and returns how many that were, and
// whether it has kept anything. Under mu.
func (s *Session) keep(all []replay.Message) (n int, some bool) {
	for n < len(all) {
		m := &all[n]
		room := s.roomFor(len(m.Payload))
		if room <= 0 {
			break
		}
		some = true
		if s.unit == replay.Bytes && room < int64(len(m.Payload)) {
			// A client may grant less than a buffer holds.
			s.out.Keep(replay.Message{Payload: append([]byte(nil), m.Payload[:room]...)})
			m.Payload = m.Payload[room:]
			break
		}
		s.out.Keep(*m)
		n++
	}
	return n, some
}

// awaitRoom waits until there may be room. It reports false if the session closes.
// Under mu.
func (s *Session) awaitRoom() bool {
	if s.reason == "" {
		s.changed.Wait()
	}
	return s.reason == ""
}

func giveBuffer(buf *wsock.Buffer) {
	if buf != nil {
		wsock.GiveBuffer(buf)
	}
}

// End says that nothing follows what was sent.
func (s *Session) End() {
	s.mu.Lock()
	s.ended = true
	s.flush()
}

// flush writes what is kept, unless somebody does, or there is no WebSocket. Called
// with mu, which it gives back.
func (s *Session) flush() {
	write := !s.writing && s.socket != nil && !s.socket.broken
	s.writing = s.writing || write
	s.mu.Unlock()
	if write {
		s.write()
	}
}

// keepStep is by how many bytes at a time a session takes more memory to keep what
// it has sent.
const keepStep = 64 << 10

// roomFor returns how many units the client may be sent of a message of n bytes
// that must be kept as a whole. Under mu.
func (s *Session) roomFor(n int) (units int64) {
	room := s.out.Room()
	if room <= 0 {
		return 0
	}
	free := FirstBytes + s.reserved - s.out.Held()
	if more := int64(n) - free; more > 0 {
		more = min((more+keepStep-1)/keepStep*keepStep, s.settings.Buffer-FirstBytes-s.reserved)
		if more > 0 && s.held.Try(more) {
			s.reserved += more
			free += more
		}
	}
	if s.unit == replay.Bytes {
		return min(room, free)
	}
	if free < int64(n) && s.out.Held() > 0 {
		return 0
	}
	return room
}

// freed notes that less may be kept than before: memory that is not needed any more
// comes back, and who waits for room looks again. Under mu.
func (s *Session) freed() {
	spare := s.reserved - max(s.out.Held()-FirstBytes, 0)
	if spare >= keepStep || s.out.Held() == 0 {
		s.reserved -= spare
		s.held.Add(-spare)
	}
	s.changed.Broadcast()
}

// writeBatch is about how many bytes are given to the kernel at once.
const writeBatch = 64 << 10

// A batch is what one write needs. An idle session has none.
type batch struct {
	pieces []replay.Piece
	around []byte   // headers and trailers
	bufs   [][]byte // frames
}

var batches = sync.Pool{New: func() any { return new(batch) }}

// aroundSize is how long the header and the trailer of a frame are at most.
const aroundSize = wsock.MaxHeader + replay.TrailerSize

// write writes what there is for the WebSocket of the moment, until there is
// nothing: its first message, what is kept from where the client stands, that nothing
// follows. Called by who has set writing.
func (s *Session) write() {
	b := batches.Get().(*batch)
	defer batches.Put(b)
	done := false
	defer func() {
		if !done {
			s.failed(&s.writing)
		}
	}()
	for {
		k := s.nextWrite(b)
		if k == nil {
			done = true
			return
		}
		s.wrote(k, k.conn.Write(b.bufs...))
		clear(b.bufs)
		k.conn.AwaitTurn() // the other one's, if it is taken over meanwhile: that ends the wait
	}
}

// nextWrite makes the next frames for the WebSocket of the moment, and returns that. It
// returns nil if there are none: then nobody writes any more.
func (s *Session) nextWrite(b *batch) *socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.socket; k != nil && !k.broken && s.next(k, b) {
		return k
	}
	s.writing = false
	s.changed.Broadcast()
	return nil
}

// wrote notes how the write of what next has made has ended.
func (s *Session) wrote(k *socket, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out.Wrote()
	k.broken = k.broken || err != nil // its reader finds out why
	s.freed()                         // also what was acknowledged while it was being written
	if !k.opened && err == nil {
		k.opened = true
		s.acknowledge(k.number > 0)
	}
}

// failed ends the session because of a fault in what passes on, or writes. Nobody does
// that any more.
func (s *Session) failed(doing *bool) {
	s.mu.Lock()
	*doing = false
	s.changed.Broadcast()
	number := s.number
	s.mu.Unlock()
	s.Tell(&messages.WebSocketEnded{Number: number, Reason: messages.ReasonInternal})
}

// next makes the next frames for a socket, and reports whether there are any. Under
// mu.
func (s *Session) next(k *socket, b *batch) bool {
	b.bufs = b.bufs[:0]
	if !k.begun {
		k.begun = true
		b.bufs = append(b.bufs, s.opening(k))
		return true
	}
	if s.out.Pending() {
		b.pieces = s.out.Next(b.pieces[:0], writeBatch)
		if need := len(b.pieces) * aroundSize; cap(b.around) < need {
			b.around = make([]byte, 0, need)
		}
		b.around = b.around[:0]
		for _, p := range b.pieces {
			b.frame(p, s.opcode)
		}
		clear(b.pieces)
		return true
	}
	if s.ended && !s.endSent {
		s.endSent = true
		b.bufs = append(b.bufs, s.frame([]byte(messages.EOFText)))
		return true
	}
	return false
}

// opening makes the first message to a socket. Under mu.
func (s *Session) opening(k *socket) []byte {
	var room [textRoom]byte
	if k.number == 0 {
		token := s.token
		s.token = ""
		return s.frame(messages.AppendSession(room[:0], token, int(math.Ceil(s.settings.Timeout.Seconds())), s.unit.FirstLimit()))
	}
	// What the client has acknowledged meanwhile is not kept.
	_ = s.out.Rewind(max(s.rewind, s.out.Acknowledged()))
	_, limit := s.in.Ack()
	return s.frame(messages.AppendResumed(room[:0], s.unit.Name(), s.in.Position(), limit))
}

// textRoom is more than the session's own messages need, but for one with a long token: they
// are made on the stack, without the garbage of a slice that grows.
const textRoom = 160

// frame makes a whole frame of a message of section 9.
func (s *Session) frame(text []byte) []byte { return frame(s.opcode, text) }

func frame(opcode byte, text []byte) []byte {
	return append(wsock.AppendHeader(make([]byte, 0, wsock.MaxHeader+len(text)), opcode, len(text)), text...)
}

// pingFrames are what all sessions ask their clients for a sign of life by, by opcode.
var pingFrames = map[byte][]byte{
	wsock.OpText:   frame(wsock.OpText, []byte(messages.PingText)),
	wsock.OpBinary: frame(wsock.OpBinary, []byte(messages.PingText)),
}

// frame adds the frame of a piece. around has room for what stands around it.
func (b *batch) frame(p replay.Piece, opcode byte) {
	start := len(b.around)
	if p.JSON {
		b.around = wsock.AppendHeader(b.around, opcode, len(p.Payload))
		b.bufs = append(b.bufs, b.around[start:], p.Payload)
		return
	}
	b.around = wsock.AppendHeader(b.around, wsock.OpBinary, len(p.Payload)+replay.TrailerSize)
	head := b.around[start:]
	start = len(b.around)
	b.around = binary.BigEndian.AppendUint64(b.around, p.Position)
	b.bufs = append(b.bufs, head, p.Payload, b.around[start:])
}
