package wsock

import (
	"sync"

	"wsproxy/transport/wsock/splice"
)

// BufferSize is how much a pump reads at once, the room for a frame's header
// included. Half of what a message may be: it is written while it still is in
// the processor's nearest caches, which measured 10 to 20 % less CPU per byte
// than 64 KiB, in both directions.
const BufferSize = 32 << 10

// A Buffer is lent to a pump from the moment bytes have arrived until they are
// written. While there are none, a session has no buffer.
type Buffer [BufferSize]byte

// buffers lends to all pumps. The pool is safe for concurrent use, and lets go
// of what two garbage collections have found unused.
var buffers = sync.Pool{New: func() any { return new(Buffer) }}

// Poolable is from how many bytes on a copy is made in a buffer of the pool:
// below, most of it would stay empty while the bytes wait.
const Poolable = BufferSize / 2

// Retain returns a copy of bytes for as long as they wait somewhere. When they
// don't any more it goes to Release, or the collector finds out.
func Retain(b []byte) []byte {
	if len(b) < Poolable {
		return append([]byte(nil), b...)
	}
	buf := TakeBuffer()
	return buf[:copy(buf[:], b)]
}

// Release takes back what Retain returned.
func Release(b []byte) {
	if cap(b) == BufferSize && len(b) >= Poolable {
		GiveBuffer((*Buffer)(b[:BufferSize]))
	}
}

// TakeBuffer borrows a buffer, whose contents are anything.
func TakeBuffer() *Buffer { return buffers.Get().(*Buffer) }

// GiveBuffer gives a borrowed buffer back. Nobody may use it after that.
func GiveBuffer(b *Buffer) { buffers.Put(b) }

// TrackBuffers has made called for each buffer that the pool makes from now on:
// a test then knows them all. Not to be called while buffers are in use.
func TrackBuffers(made func(*Buffer)) {
	buffers.New = func() any {
		b := new(Buffer)
		made(b)
		return b
	}
}

// A Chunk is what one read has brought: in a buffer behind room for a header, or in a
// pipe. It is given away once.
type Chunk struct {
	buf  *Buffer
	pipe *splice.Pipe // if buf is nil
	n    int
}

// InBuffer is a Chunk of n bytes at buf[ServerHeader:].
func InBuffer(buf *Buffer, n int) Chunk { return Chunk{buf: buf, n: n} }

// Bytes returns those of a Chunk that is in a buffer, and the buffer, which is the
// caller's then.
func (c Chunk) Bytes() ([]byte, *Buffer) { return c.buf[ServerHeader : ServerHeader+c.n], c.buf }

// Len returns how many bytes it is.
func (c Chunk) Len() int { return c.n }

// release gives back what the bytes are in.
func (c Chunk) release() {
	if c.buf != nil {
		GiveBuffer(c.buf)
	}
	if c.pipe != nil {
		c.pipe.Give()
	}
}
