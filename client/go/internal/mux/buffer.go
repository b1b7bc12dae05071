package mux

import (
	"wsproxy/client/go/internal/wire"
	"wsproxy/transport/wsock"
	"wsproxy/transport/wsock/replay"
)

// An inbox is what has come on a stream and waits for its reader. It holds
// buffers of the pool, all but the first and the last of them full, and none when
// nothing waits.
type inbox struct {
	chunks []*wsock.Buffer
	start  int // where in the first one what waits begins
	end    int // where in the last one it ends
	size   int // how many bytes wait
}

// put copies bytes behind what waits.
func (b *inbox) put(p []byte) {
	b.size += len(p)
	for len(p) > 0 {
		if len(b.chunks) == 0 || b.end == wsock.BufferSize {
			b.chunks, b.end = append(b.chunks, wsock.TakeBuffer()), 0
		}
		n := copy(b.chunks[len(b.chunks)-1][b.end:], p)
		b.end += n
		p = p[n:]
	}
}

// take moves bytes to p and returns how many.
func (b *inbox) take(p []byte) (n int) {
	for n < len(p) && b.size > 0 {
		end := wsock.BufferSize
		if len(b.chunks) == 1 {
			end = b.end
		}
		m := copy(p[n:], b.chunks[0][b.start:end])
		n, b.start, b.size = n+m, b.start+m, b.size-m
		if b.start == end {
			wsock.GiveBuffer(b.shift())
		}
	}
	return n
}

// pop returns what waits in the first buffer, which is the caller's. There must be one.
func (b *inbox) pop() (buf *wsock.Buffer, p []byte) {
	p = b.chunks[0][b.start:]
	if len(b.chunks) == 1 {
		p = b.chunks[0][b.start:b.end]
	}
	b.size -= len(p)
	return b.shift(), p
}

// shift removes the first buffer.
func (b *inbox) shift() *wsock.Buffer {
	buf := b.chunks[0]
	b.chunks[0] = nil
	b.chunks, b.start = b.chunks[1:], 0
	if len(b.chunks) == 0 {
		b.chunks, b.end = nil, 0
	}
	return buf
}

// drop gives everything back.
func (b *inbox) drop() {
	for len(b.chunks) > 0 {
		wsock.GiveBuffer(b.shift())
	}
	b.size = 0
}

// outDepth is how many messages of one stream wait to be sent, 128 KiB: half of
// them is taken while the other half is being filled, so that who writes is woken once
// for two messages.
const outDepth = 4

// An outbox is what was written to a stream and waits to be sent. Each of its
// buffers becomes one message where it stands, its header in front of it.
type outbox struct {
	chunks [outDepth]outChunk
	count  int
	size   int // how many bytes wait
}

type outChunk struct {
	buf        *wsock.Buffer
	start, end int // start is never below the length of a header
}

func headerSize(id string) int { return 4 + len(id) }

// put copies as much of p as there is room for, and returns how much that is.
func (b *outbox) put(p []byte, id string) (n int) {
	for n < len(p) {
		if b.count == 0 || b.chunks[b.count-1].end == wsock.BufferSize {
			if b.count == outDepth {
				break
			}
			head := headerSize(id)
			b.chunks[b.count] = outChunk{wsock.TakeBuffer(), head, head}
			b.count++
		}
		c := &b.chunks[b.count-1]
		m := copy(c.buf[c.end:], p[n:])
		c.end += m
		n += m
	}
	b.size += n
	return n
}

// push puts a buffer behind what waits, of which the bytes from headerSize on up to end
// are to be sent, and reports whether there was room. Then the buffer is the outbox's.
func (b *outbox) push(buf *wsock.Buffer, id string, end int) bool {
	if b.count == outDepth {
		return false
	}
	head := headerSize(id)
	b.chunks[b.count] = outChunk{buf, head, end}
	b.count++
	b.size += end - head
	return true
}

// first returns how many bytes the next message has, if credit allows all of it.
func (b *outbox) first() int { return b.chunks[0].end - b.chunks[0].start }

// next returns the next message, with at most so many bytes of payload, of which
// there is at least one.
func (b *outbox) next(id string, most int) (m replay.Message, n int) {
	c := &b.chunks[0]
	n = min(b.first(), most)
	b.size -= n
	if n < b.first() {
		buf := wsock.TakeBuffer()
		m = replay.Message{Payload: append(wire.AppendDataHeader(buf[:0], id), c.buf[c.start:c.start+n]...), Buf: buf}
		c.start += n
		return m, n
	}
	from := c.start - headerSize(id)
	wire.AppendDataHeader(c.buf[:from], id) // what stood there was sent
	m = replay.Message{Payload: c.buf[from:c.end], Buf: c.buf}
	b.shift()
	return m, n
}

func (b *outbox) shift() {
	copy(b.chunks[:], b.chunks[1:b.count])
	b.count--
	b.chunks[b.count] = outChunk{}
}

// drop gives everything back.
func (b *outbox) drop() {
	for b.count > 0 {
		wsock.GiveBuffer(b.chunks[0].buf)
		b.shift()
	}
	b.size = 0
}
