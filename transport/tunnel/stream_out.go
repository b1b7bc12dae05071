package tunnel

import (
	"net"

	"wsproxy/messages"
	"wsproxy/transport/wsock"
)

// joinable is below how many bytes data is joined to what waits before it. By
// itself a byte would take up dozens of times what it is counted as.
const joinable = 1 << 10

// enqueue adds data to what waits for the out pump. A chunk that has grown is
// still below what the pool lends. Under mu.
func (s *Stream) enqueue(data []byte) {
	last := len(s.chunks) - 1
	if last < 0 || len(data) >= joinable || len(s.chunks[last])+len(data) >= wsock.Poolable {
		s.chunks = append(s.chunks, data)
		return
	}
	before := cap(s.chunks[last]) + cap(data)
	s.chunks[last] = append(s.chunks[last], data...)
	s.held.Add(int64(cap(s.chunks[last]) - before))
}

// pumpOut writes to the outside peer what the client sends, as much at once as
// waits.
func (s *Stream) pumpOut() {
	closed := false // the sending side has ended
	for {
		s.mu.Lock()
		chunks, closeWrite, endWrite, over := s.chunks, s.closeWrite && !s.passing, s.endWrite && !s.passing, s.over
		s.chunks = nil
		s.mu.Unlock()
		switch {
		case over:
			return
		case len(chunks) > 0:
			if !s.writeOut(chunks) {
				return
			}
		case endWrite:
			s.endOut()
			return
		case closeWrite && !closed:
			closed = true
			s.endSending()
		default:
			select {
			case <-s.wake:
			case <-s.done:
			}
		}
	}
}

// writeOut writes chunks, and reports whether the peer took them.
func (s *Stream) writeOut(chunks [][]byte) bool {
	var bufs net.Buffers
	for len(chunks) > 0 {
		// In pieces, so that credit comes back while the rest is written, and no
		// later than the protocol asks for: a half window, less what the conn
		// keeps back, which is below a quarter.
		piece, n, memory := chunks, 0, 0
		for i, chunk := range chunks {
			if i > 0 && n+len(chunk) > messages.Window/4 {
				piece = chunks[:i]
				break
			}
			n += len(chunk)
			memory += cap(chunk)
		}
		chunks = chunks[len(piece):]
		bufs = append(bufs[:0], piece...)
		if _, err := bufs.WriteTo(s.conn); err != nil {
			s.Abort(messages.CloseReset)
			return false
		}
		for _, chunk := range piece {
			wsock.Release(chunk)
		}
		s.wrote(n, memory)
		s.tell(&messages.Flushed{N: n})
	}
	return true
}

// wrote notes that n bytes, which took up so much memory, were written to the
// peer.
func (s *Stream) wrote(n, memory int) {
	s.movedOut(n)
	s.mu.Lock()
	if !s.over {
		s.book(int64(-n), int64(-memory))
	}
	s.mu.Unlock()
}

// movedOut counts n bytes that were written to the peer.
func (s *Stream) movedOut(n int) {
	s.out.Add(int64(n))
	if s.isRaw() {
		s.mux.settings.Host.Flows.Raw.FromClient.Add(int64(n))
	}
	s.touch()
}

// endSending ends the sending side towards the peer. It fails only if the
// connection is gone, which its reader finds.
func (s *Stream) endSending() {
	s.sentEnd.Store(true)
	_ = s.conn.CloseWrite()
}

// endOut lets the peer read what it was sent before the socket closes: closed
// at once, the kernel would answer what the peer still sends with a reset. A
// peer that is slow has the time that it needs, as long as it acknowledges
// something.
func (s *Stream) endOut() {
	s.endSending()
	s.finish("", false)
	wsock.Discard(s.conn, s.inDone, s.noLinger.Load)
}
