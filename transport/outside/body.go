package outside

import (
	"errors"
	"io"
	"net"
	"net/http"

	"wsproxy/messages"
)

// A Body is what is left of an answer's body, whose length is known. It goes from the
// chunks in which it comes to the client's connection, as many of them at once as have
// come: with net/http's buffers between them, each would be written by itself, and in
// two pieces. It belongs to the goroutine that writes.
type Body struct {
	Left     int64     // bytes that have yet to be written
	Chunks   Chunks    // where they come from
	Patience *Patience // with the client

	rest []byte      // what has come behind the body
	held [][]byte    // chunks that are being written
	bufs [][]byte    // what of them is the body's; its array is used again
	out  net.Buffers // what of that is left to be written
	err  error       // why the body is not written whole
}

// Chunks are what a [Body] comes in.
type Chunks interface {
	// Next waits for the next chunk, which is the caller's until Passed.
	Next() (chunk []byte, err error)
	// Waits reports whether Next would wait.
	Waits() bool
	// Passed says that a chunk was written, or never will be.
	Passed(chunk []byte)
}

// passedAtOnce is about how many bytes are written at once. Who sends them hears no
// sooner that it may send more: a quarter of its window, which is also when it is told.
const passedAtOnce = messages.Window / 4

// Pass writes the body behind what w has already, head included, which must be flushed.
// It returns the last chunk with what
// stands in it behind the body, which is the caller's. The error is that of Next, or
// [ErrGone].
func (b *Body) Pass(w http.ResponseWriter) (chunk, rest []byte, err error) {
	if observed, ok := w.(*Observed); ok { // of the head alone, which is written
		w = observed.ResponseWriter
	}
	if direct, ok := w.(io.ReaderFrom); ok {
		_, err = direct.ReadFrom(b)
	} else {
		_, err = b.WriteTo(w)
	}
	if b.err != nil {
		err = b.err // which others wrap
	}
	if len(b.held) > 0 {
		chunk = b.held[0]
	}
	return chunk, b.rest, err
}

// WriteTo writes the body to w, which net/http gives to it: the connection, if nothing
// is to be put between the pieces.
func (b *Body) WriteTo(w io.Writer) (written int64, err error) {
	for b.Left > 0 && b.err == nil {
		if b.gather(); len(b.bufs) == 0 {
			break
		}
		b.Patience.Begin()
		b.out = b.bufs
		n, err := b.out.WriteTo(w)
		if err = b.Patience.End(err); err != nil {
			b.err = err
		}
		written += n
		b.Left -= n
		b.passed()
	}
	return written, b.err
}

// gather waits for a chunk, and takes what has come behind it.
func (b *Body) gather() {
	b.bufs = b.bufs[:0]
	for size := int64(0); size == 0 || size < min(b.Left, passedAtOnce) && !b.Chunks.Waits(); {
		chunk, err := b.Chunks.Next()
		if err != nil {
			b.err = err
			return
		}
		n := min(b.Left-size, int64(len(chunk)))
		b.held = append(b.held, chunk)
		b.bufs = append(b.bufs, chunk[:n])
		b.rest = chunk[n:]
		size += n
	}
}

// passed lets go of the chunks that were written, but for one with more in it.
func (b *Body) passed() {
	for i, chunk := range b.held {
		if i == len(b.held)-1 && len(b.rest) > 0 {
			b.held[0] = chunk
			b.held = b.held[:1]
			return
		}
		b.Chunks.Passed(chunk)
	}
	clear(b.held)
	b.held = b.held[:0]
}

// Read makes a Body what [io.ReaderFrom] takes. Nobody calls it who could call WriteTo.
func (b *Body) Read([]byte) (n int, err error) { return 0, errors.ErrUnsupported }
