package wsock

import (
	"io"
	"sync/atomic"
	"syscall"

	"wsproxy/transport/wsock/kernel"
	"wsproxy/transport/wsock/rest"
	"wsproxy/transport/wsock/splice"
)

// A Reader reads from a TCP connection into borrowed buffers. While it waits
// it holds none, which is what makes an idle session cheap. It belongs to one
// goroutine.
type Reader struct {
	raw     syscall.RawConn
	rests   *rest.Conn            // nil for a connection that is never at rest
	attempt func(fd uintptr) bool // try, made once so that reading allocates nothing
	skip    int                   // bytes to leave free at the start of each buffer
	limit   int                   // where in a buffer reading stops
	buf     *Buffer
	n       int
	err     error
	grown   bool         // something was read since Afresh was called
	pair    bool         // the next read is ReadPair's
	sentEnd *atomic.Bool // whether this side has ended its stream; nil = it never does

	bulk bulk // of ReadChunk

	second *Buffer // what the last read has filled beside buf; else nil
}

// NewReader returns a reader of a connection that leaves skip bytes free at the
// start of each buffer.
func NewReader(conn syscall.Conn, skip int) (*Reader, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	r := &Reader{raw: raw, skip: skip, limit: BufferSize}
	r.rests, _ = conn.(*rest.Conn)
	r.attempt = r.try
	return r, nil
}

// ErrAfresh is what a Reader returns instead of waiting, if it was told to, and instead
// of waiting on for a connection that is to be at rest: its goroutine ends, and another
// one goes on by [Reader.Again].
var ErrAfresh = rest.ErrDue

// Again has start called when the reading is to go on, maybe at once.
func (r *Reader) Again(start func()) { r.rests.Again(start) }

// Afresh has Read, once something was read, return ErrAfresh where it would wait: so
// that its goroutine goes on in another one, which waits in a small stack. A stack that
// has grown to four kilobytes, by what was done with the bytes, would never shrink.
// Called at the beginning of each.
func (r *Reader) Afresh() {
	r.grown = false
	r.attempt = r.tryAfresh
}

// tryAfresh is try, but for where it would wait.
func (r *Reader) tryAfresh(fd uintptr) bool {
	if r.try(fd) {
		r.grown = true
		return true
	}
	if r.grown {
		r.n, r.err = 0, ErrAfresh
	}
	return r.grown
}

// SentEnd names what is set before this side ends its own stream, while the
// peer's goes on.
func (r *Reader) SentEnd(sent *atomic.Bool) { r.sentEnd = sent }

// hasSentEnd reports whether this side has ended its stream.
func (r *Reader) hasSentEnd() bool { return r.sentEnd != nil && r.sentEnd.Load() }

// WasReset reports whether the connection was reset and only a write has heard
// of it. When both sides have ended their streams the kernel says the same of a
// connection; but then nothing was written since, and who reads hears of a
// reset.
func (r *Reader) WasReset() bool {
	return kernel.WasReset(r.raw) && !r.hasSentEnd() // in this order: it may end just now
}

// Raw returns what the Reader reads from.
func (r *Reader) Raw() syscall.RawConn { return r.raw }

// Limit has the next reads bring at most n bytes each.
func (r *Reader) Limit(n int) { r.limit = min(r.skip+n, BufferSize) }

// Read waits for bytes and returns them at buf[skip:skip+n]. The caller gives
// the buffer back. The error is io.EOF at the end of the stream, what a
// deadline or Close of the connection causes, or the kernel's.
func (r *Reader) Read() (buf *Buffer, n int, err error) {
	if err := r.rests.Await(r.raw, r.attempt); err != nil {
		return nil, 0, err // r.attempt left no buffer behind
	}
	buf, r.buf = r.buf, nil
	if r.n > 0 {
		return buf, r.n, nil
	}
	if buf != nil {
		GiveBuffer(buf)
	}
	if r.err != nil {
		return nil, 0, r.err
	}
	return nil, 0, io.EOF
}

// pairPart is how many bytes ReadPair reads into each of its buffers: both, with what
// stands around them in a message each, fit in one segment of loopback.
const pairPart = 30 << 10

// PairSize is how many bytes ReadPair brings at most.
const PairSize = 2 * pairPart

// ReadPair is Read into two buffers, with half the system calls where much comes. The
// second Chunk may be empty.
func (r *Reader) ReadPair() (first, second Chunk, err error) {
	buf, n, other, m, err := r.ReadTwo()
	return InBuffer(buf, n), InBuffer(other, m), err
}

// ReadTwo is ReadPair for any skip: n bytes are at buf[skip:], and m more at other[skip:].
// If all fit in one buffer, other is nil.
func (r *Reader) ReadTwo() (buf *Buffer, n int, other *Buffer, m int, err error) {
	r.pair = true
	buf, n, err = r.Read()
	r.pair = false
	if other, r.second = r.second, nil; other != nil {
		n, m = pairPart, n-pairPart
	}
	return buf, n, other, m, err
}

// A bulk is how much has come of late to a Reader of Chunks.
type bulk struct {
	on   bool         // Chunks are read, and may be in pipes
	full int          // reads in a row that have filled their buffers
	much int          // from how many of those on a pipe is tried
	pipe *splice.Pipe // what the last read has filled; else nil
}

const (
	// leastSpliced is how many bytes a pipe must have got for another one to be tried.
	// What is less costs no more in a buffer, and may be small pieces each of which keeps
	// a page from being used: a pipe has 16 of them, so here half of each is used.
	leastSpliced = BufferSize
	// muchAgain is how many reads must fill their buffers after a pipe has got less.
	muchAgain = 4
)

// ReadChunk is Read for what goes to a WebSocket as it is. Where much comes it stays in
// the kernel.
func (r *Reader) ReadChunk() (Chunk, error) {
	if r.bulk.much == 0 {
		r.bulk.on, r.bulk.much = true, 1
	}
	buf, n, err := r.Read()
	c := Chunk{buf: buf, pipe: r.bulk.pipe, n: n}
	r.bulk.pipe = nil
	return c, err
}

// Peek looks whether the stream has ended, without waiting and without taking
// any of its bytes. It returns io.EOF if the end is all that is left to read,
// and the kernel's error if the connection broke.
func (r *Reader) Peek() error {
	var n int
	var err error
	var one [1]byte
	if rawErr := r.raw.Control(func(fd uintptr) {
		n, err = kernel.Peek(fd, one[:])
	}); rawErr != nil {
		return rawErr
	}
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
		return nil
	case err != nil:
		return err
	case r.WasReset() || n > 0 && r.hasSentEnd() && kernel.HasError(r.raw):
		return syscall.ECONNRESET
	case n == 0:
		return io.EOF
	}
	return nil
}

// try reads without waiting, and reports whether it got an answer.
func (r *Reader) try(fd uintptr) bool {
	if r.bulk.on && r.bulk.full >= r.bulk.much && r.trySplice(fd) {
		return true
	}
	if r.pair {
		return r.tryPair(fd)
	}
	r.buf = TakeBuffer()
	for {
		r.n, r.err = kernel.Read(fd, r.buf[r.skip:r.limit])
		switch r.err {
		case syscall.EINTR:
		case syscall.EAGAIN:
			GiveBuffer(r.buf)
			r.buf = nil
			r.bulk.full = 0
			return false
		default:
			if r.bulk.full++; r.n < r.limit-r.skip {
				r.bulk.full = 0
			}
			return true
		}
	}
}

// tryPair is try with two buffers.
func (r *Reader) tryPair(fd uintptr) (answered bool) {
	r.buf, r.second = TakeBuffer(), TakeBuffer()
	into := [2][]byte{r.buf[r.skip : r.skip+pairPart], r.second[r.skip : r.skip+pairPart]}
	for {
		if r.n, r.err = kernel.ReadAll(fd, into[:]); r.err != syscall.EINTR {
			break
		}
	}
	if r.n <= pairPart {
		GiveBuffer(r.second)
		r.second = nil
	}
	if r.err == syscall.EAGAIN {
		GiveBuffer(r.buf)
		r.buf = nil
		return false
	}
	return true
}

// trySplice is try with a pipe. done says that it knows what a read would say: not where
// there is no pipe, and not where nothing comes by it. An urgent byte (tcp(7)) ends what can
// be spliced, and looks like the end of the stream, or as if nothing had come; a read goes
// past it.
func (r *Reader) trySplice(fd uintptr) (done bool) {
	pipe := splice.Take()
	if pipe == nil {
		return false
	}
	if r.n, r.err = pipe.Fill(fd); r.n > 0 {
		if r.bulk.pipe, r.bulk.much = pipe, 1; r.n < leastSpliced {
			r.bulk.full, r.bulk.much = 0, muchAgain
		}
		return true
	}
	pipe.Give()
	if splice.IsUnfit(r.err) {
		r.bulk.on = false
		return false
	}
	return r.err != nil && r.err != syscall.EAGAIN // the kernel says it only once
}
