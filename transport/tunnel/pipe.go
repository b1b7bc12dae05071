package tunnel

import (
	"cmp"
	"io"
	"net"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/tunnel/sendqueue"
	"wsproxy/transport/wsock"
)

// A Pipe is the outer end of a stream that ends in this process. The same budgets
// and credit hold for such a stream as for any other, and a conn actor says what
// happens. One goroutine reads a Pipe, and one writes to it; any may close it.
type Pipe struct {
	s        *Stream
	patience time.Duration   // how long the client may take nothing
	stop     <-chan struct{} // set by Interrupt
	silent   bool            // the writer's: it has not looked whether the client can take bytes
	pause    time.Duration   // the writer's: how long it waits before it sends more
	buf      *wsock.Buffer   // the writer's: lent by Room
	taken    [][]byte        // the reader's: chunks that Next has yet to return
	passed   int             // the reader's: bytes that were passed on and not told yet
}

// OpenPipe opens a stream with a Pipe. The client is told at once, of a connection
// from peer over which this process speaks protocol. Without a protocol it is told
// of a raw connection like any other, when that has its slot: until then, and
// as long as the dialect asks for, nothing can be sent. patience is how long the
// client may take nothing of what waits for it. The error is [net.ErrClosed] before
// the Mux has started and once it closes.
func (m *Mux) OpenPipe(peer, protocol string, patience time.Duration) (*Pipe, error) {
	if !m.started.Load() || m.life.Closing().Err() != nil {
		return nil, net.ErrClosed
	}
	s := newStream(m, nil, peer)
	s.protocol, s.announced = protocol, make(chan struct{})
	// The handler must have it before the client can say anything about it.
	m.settings.Host.Send(m.handler, &messages.Accepted{Stream: s, Protocol: protocol})
	if protocol != "" {
		s.mu.Lock()
		s.announce()
		s.mu.Unlock()
	}
	return &Pipe{s: s, patience: patience, silent: true}, nil
}

// Stream returns the stream.
func (p *Pipe) Stream() *Stream { return p.s }

// Interrupt has Room and Next return ErrStopped from when stop is closed, and
// never if it is nil. Reader and writer must have come to rest.
func (p *Pipe) Interrupt(stop <-chan struct{}) { p.stop = stop }

// Room waits until the client may be sent at least so many bytes, and returns room
// for as many as it may be sent at once. It is the caller's until the next [Pipe.Send].
// The error is [messages.ErrStalled], [messages.ErrStopped] or a [messages.EndError].
func (p *Pipe) Room(least int) ([]byte, error) {
	s := p.s
	if p.silent || p.pause > 0 {
		if err := p.await(); err != nil {
			return nil, err
		}
	}
	if p.buf == nil {
		if _, err := ready(p, s.queue.Room()); err != nil {
			return nil, err
		}
		if s.mux.memory.Full() { // then no more than one frame waits
			if _, err := ready(p, s.queue.Room()); err != nil {
				return nil, err
			}
			s.queue.GiveRoom()
		}
		p.buf = wsock.TakeBuffer()
		s.mux.memory.Add(wsock.BufferSize) // whoever fills it may take its time
	}
	if !s.mux.credit {
		return p.buf[sendqueue.DataRoom:], nil
	}
	for s.allowed < least {
		more, err := ready(p, s.credit)
		if err != nil {
			p.Send(0, 0)
			return nil, err
		}
		s.allowed = min(s.allowed+more, messages.MaxWindow)
	}
	return p.buf[sendqueue.DataRoom:min(len(p.buf), sendqueue.DataRoom+s.allowed)], nil
}

// await waits until the client can take bytes of the stream, or more of them.
func (p *Pipe) await() error {
	if p.silent {
		if _, err := ready(p, p.s.announced); err != nil {
			return err
		}
		if is := p.s.special.Ready; is != nil {
			if _, err := ready(p, is); err != nil {
				return err
			}
		}
		p.silent = false
	}
	if p.pause > 0 {
		if _, err := ready(p, time.After(p.pause)); err != nil {
			return err
		}
		p.pause = 0
	}
	return nil
}

// Send sends what stands in the room from one place to another. If that is
// nothing, the room is given back.
func (p *Pipe) Send(from, to int) {
	buf := p.buf
	p.buf = nil
	defer p.s.mux.memory.Add(-wsock.BufferSize) // of a frame it counts by that
	if from < to {
		p.s.sendData(buf, sendqueue.DataRoom+from, to-from)
		if p.s.special.Pause != nil {
			p.pause = p.s.special.Pause(to - from)
		}
		return
	}
	wsock.GiveBuffer(buf)
	p.s.queue.GiveRoom() // Room took it
}

// Write sends b. The error is that of Room.
func (p *Pipe) Write(b []byte) (n int, err error) {
	for n < len(b) {
		room, err := p.Room(1)
		if err != nil {
			return n, err
		}
		m := copy(room, b[n:])
		p.Send(0, m)
		n += m
	}
	return n, nil
}

// ready waits for what lets the writer go on.
func ready[T any](p *Pipe, is <-chan T) (value T, err error) {
	select {
	case <-p.s.unread: // before all others
		return value, p.ended()
	case <-p.s.done:
		return value, p.ended()
	case <-p.stop:
		return value, messages.ErrStopped
	default:
	}
	select {
	case value = <-is:
		return value, nil
	default:
	}
	late := time.NewTimer(p.patience)
	defer late.Stop()
	select {
	case value = <-is:
		return value, nil
	case <-p.s.unread:
	case <-p.s.done:
	case <-p.stop:
		return value, messages.ErrStopped
	case <-late.C:
		return value, messages.ErrStalled
	}
	return value, p.ended()
}

// ended says why the stream is over.
func (p *Pipe) ended() error {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return &messages.EndError{Reason: cmp.Or(p.s.aborted, messages.CloseClient)}
}

// Next waits for bytes from the client, until stop is closed. They are the
// caller's until it gives them to [Pipe.Passed]. The error is io.EOF behind the
// last of them if the client has ended the stream in an orderly way, [messages.ErrStopped], or
// a [messages.EndError].
func (p *Pipe) Next(stop <-chan struct{}) ([]byte, error) {
	s := p.s
	for {
		if len(p.taken) > 0 {
			select {
			case <-s.done: // what waits counts nowhere any more
				for _, chunk := range p.taken {
					wsock.Release(chunk)
				}
				p.taken = nil
				return nil, p.ended()
			default:
			}
			chunk := p.taken[0]
			p.taken[0] = nil
			p.taken = p.taken[1:]
			return chunk, nil
		}
		s.mu.Lock()
		p.taken, s.chunks = s.chunks, nil
		ended, left, over := s.endWrite || s.closeWrite, s.left, s.over
		s.mu.Unlock()
		switch {
		case over || left && len(p.taken) == 0:
			return nil, p.ended()
		case len(p.taken) > 0:
			continue
		case ended:
			return nil, io.EOF
		}
		select {
		case <-s.wake:
		case <-s.done:
		case <-stop:
			return nil, messages.ErrStopped
		case <-p.stop:
			return nil, messages.ErrStopped
		}
	}
}

// Quiet waits for so long, or until stop is closed. It reports whether nothing has
// come meanwhile, neither bytes nor an end. It is the reader's.
func (p *Pipe) Quiet(wait time.Duration, stop <-chan struct{}) bool {
	late := time.NewTimer(wait)
	defer late.Stop()
	for p.Waits() {
		select {
		case <-p.s.wake:
		case <-p.s.done:
		case <-late.C:
			return p.Waits()
		case <-stop:
			return false
		case <-p.stop:
			return false
		}
	}
	return false
}

// Waits reports whether Next would wait now.
func (p *Pipe) Waits() bool {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	return len(p.taken)+len(p.s.chunks) == 0 && !p.s.endWrite && !p.s.closeWrite && !p.s.left && !p.s.over
}

// passedWorth is after how many bytes the conn hears what was passed on: it grants
// the client new credit no sooner (protocol, section 4.3).
const passedWorth = messages.Window / 4

// Passed says that what Next returned was passed on: the client may send more. The
// chunk is the pool's.
func (p *Pipe) Passed(chunk []byte) {
	p.s.wrote(len(chunk), cap(chunk))
	p.passed += len(chunk)
	wsock.Release(chunk)
	if p.passed >= passedWorth {
		p.tellPassed()
	}
}

func (p *Pipe) tellPassed() {
	p.s.tell(&messages.Flushed{N: p.passed})
	p.passed = 0
}

// Idle says that nobody uses the Pipe until [Pipe.Use]. If anything happens to it
// before, happens is called, once, and the Pipe is of no use any more; it must
// not block. Idle returns false if that is so already.
func (p *Pipe) Idle(happens func()) bool {
	s := p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.left || s.endWrite || s.closeWrite || len(p.taken)+len(s.chunks) > 0 {
		return false
	}
	s.idle = happens
	return true
}

// Use ends the idleness of a Pipe. It returns false if something has happened to
// it meanwhile.
func (p *Pipe) Use() bool {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	used := p.s.idle != nil
	p.s.idle = nil
	return used
}

// Close ends the stream in both directions, and drops what waits for its reader.
// The client is told the reason.
func (p *Pipe) Close(reason messages.CloseReason) {
	if p.s.finish(reason, false) {
		p.s.release()
	}
}

// Join puts a connection in the place of the Pipe: the stream becomes one like
// that of a raw connection, and ends as those do. The connection is the stream's, and
// ended is called when that has ended. Join returns the stream; or nil, and takes
// nothing, if it is over. Reader and writer must have come to rest.
func (p *Pipe) Join(conn *net.TCPConn, ended func()) *Stream {
	if p.passed > 0 {
		p.tellPassed()
	}
	s := p.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.left {
		return nil
	}
	s.conn, s.joined, s.special.Ended = conn, true, ended
	s.chunks = append(p.taken, s.chunks...)
	p.taken = nil
	s.touch()
	s.tell(&messages.StreamJoined{})
	s.start()
	return s
}
