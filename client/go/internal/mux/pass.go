package mux

import (
	"io"

	"wsproxy/transport/wsock"
	"wsproxy/transport/wsock/replay"
)

// A TryWriter is a writer that [Stream.WriteTo] spares a change of goroutines, mostly.
type TryWriter interface {
	io.Writer
	// TryWrite writes what it can of p without waiting, and returns how many bytes. It is
	// called by the goroutine that receives what comes for all streams, and never at the same
	// time as Write, which gets what is left.
	TryWrite(p []byte) int
}

// WriteTo writes what the outside peer sends to w until that ends, which it returns no error
// for. What comes while it waits goes to w at once if that is a [TryWriter].
func (s *Stream) WriteTo(w io.Writer) (total int64, err error) {
	direct, _ := w.(TryWriter)
	for {
		buf, p, passed, err := s.nextChunk(direct)
		if total += passed; buf == nil {
			if err == io.EOF {
				err = nil
			}
			return total, err
		}
		n, err := w.Write(p)
		wsock.GiveBuffer(buf)
		switch total += int64(n); {
		case err != nil:
			return total, err
		case n < len(p):
			return total, io.ErrShortWrite
		}
	}
}

// nextChunk waits for something that direct, which may be nil, does not take. The buffer
// that it is in is the caller's; there is none with an error. passed is how much direct has
// taken meanwhile.
func (s *Stream) nextChunk(direct TryWriter) (buf *wsock.Buffer, p []byte, passed int64, err error) {
	s.mux.mu.Lock()
	defer s.mux.unlock()
	s.give() // what was written
	before := s.passed
	for {
		if !s.passing {
			passed = s.passed - before
			if err := s.readError(); err != nil {
				return nil, nil, passed, err
			}
			if s.in.size > 0 {
				buf, p = s.in.pop()
				return buf, p, passed, nil
			}
		}
		s.direct = direct
		s.readable.Wait()
		s.direct = nil
	}
}

// arrived takes what has come to be read. It gives the lock back while a WriteTo that waits
// takes it.
func (s *Stream) arrived(p []byte) {
	if s.direct != nil && s.in.size == 0 {
		direct := s.direct
		s.passing = true
		s.mux.mu.Unlock()
		n := direct.TryWrite(p)
		s.mux.mu.Lock()
		s.passing = false
		p = p[n:]
		s.passed += int64(n)
		s.give()
	}
	if len(p) > 0 && !s.closed {
		s.in.put(p)
	}
	if len(p) > 0 || s.readError() != nil {
		s.readable.Broadcast()
	}
}

// ReadFrom is Write of what r has until that ends, which it returns no error for. It spares
// a copy of what comes in large pieces.
func (s *Stream) ReadFrom(r io.Reader) (total int64, err error) {
	head := headerSize(s.id)
	buf := wsock.TakeBuffer()
	defer func() { wsock.GiveBuffer(buf) }()
	for {
		n, err := r.Read(buf[head:])
		total += int64(n)
		var failed error
		switch {
		case n >= replay.Poolable: // else it would be copied once more
			if failed = s.fill(func() bool { return s.out.push(buf, s.id, head+n) }); failed == nil {
				buf = wsock.TakeBuffer()
			}
		case n > 0:
			_, failed = s.Write(buf[head : head+n])
		}
		switch {
		case failed != nil:
			return total, failed
		case err == io.EOF:
			return total, nil
		case err != nil:
			return total, err
		}
	}
}
