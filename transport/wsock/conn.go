package wsock

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/wsock/kernel"
	"wsproxy/transport/wsock/rest"
	"wsproxy/transport/wsock/splice"
)

// A Conn is the server's side of one WebSocket after the handshake: the
// writer that a pump, the keepalive and the answers to pings share, and the
// signs of life by which the keepalive judges the client.
//
// One goroutine reads from it, a session's reading pump. Any goroutine may
// write; a data frame may wait for the client, a ping or a pong never waits.
type Conn struct {
	conn rest.Conn
	raw  syscall.RawConn

	// reading is true while the reading goroutine waits for the client, and
	// heard counts what came. Written by that goroutine, read by the keepalive.
	reading atomic.Bool
	heard   atomic.Uint32
	// writing is true while a data frame is on its way into the kernel, and
	// written counts the frames. Set under turn, read by the keepalive.
	writing atomic.Bool
	written atomic.Uint32

	// broken is set when the kernel refused a ping because the connection is
	// no more. Set under turn, read by the keepalive.
	broken atomic.Bool

	// leaving is set when the close frame is due: from then on the client is
	// waited for by a deadline. Read by the keepalive.
	leaving atomic.Bool

	verdict atomic.Pointer[messages.Reason] // why the keepalive gave the client up
	gaveUp  func(messages.Reason)           // set before the keepalive gets the Conn; never blocks
	pulse   pulse                           // owned by the keepalive
	linger  *Linger                         // owned by the pump that closes it; nil until then
	limiter Limiter                         // nil for none; set before the Conn is attached
	closing <-chan struct{}                 // closed when the session begins to close; set as the Conn is attached, with a limiter

	// urgent holds the newest frame of each kind that overtakes data, until it is
	// sent, and waits whether there is one.
	urgent [urgentKinds]atomic.Pointer[[]byte]
	waits  atomic.Bool

	pings  []byte     // the frame that asks for a sign of life; set before the keepalive gets the Conn
	opens  bool       // nothing overtakes the first message; set as pings is
	turn   sync.Mutex // held by whoever writes frames to conn
	rest   []byte     // under turn: what the kernel has not yet taken of a control frame
	torn   bool       // under turn: the last data frame has not gone out whole
	closed bool       // under turn: a close frame was sent, nothing may follow

	spliced *splice.Writer // under turn; nil until something comes in a pipe
}

// An Urgent is a kind of frame that overtakes data that waits. Of each kind only
// the newest one is sure to be sent.
type Urgent uint8

// The kinds of urgent frames.
const (
	UrgentPong   Urgent = iota // the answer to a ping (RFC 6455, section 5.5.3)
	UrgentAnswer               // the answer to a ping that is a message (protocol, section 9)
	UrgentAck                  // an acknowledgement (protocol, section 9)
	UrgentAuth                 // what came of a fresh token (protocol, section 10)
	urgentKinds
)

var (
	errCloseSent = errors.New("the close frame was sent already")
	errTorn      = errors.New("the last frame has not gone out whole")
)

// NewConn returns the Conn of a connection on which the handshake is done. The
// connection is the Conn's if there is no error.
func NewConn(conn *net.TCPConn) (*Conn, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	BoundSendBuffer(conn, SendBuffer)
	return &Conn{conn: rest.Conn{TCPConn: conn}, raw: raw, pings: pingFrame}, nil
}

// PingBy has the keepalive ask for a sign of life by another whole frame than a
// ping of RFC 6455: one that is a message, as what is urgent is then, too. Of all
// messages the first one that is written comes first. Called before the Conn is read.
func (s *Conn) PingBy(frame []byte) { s.pings, s.opens = frame, true }

// isUnopened reports whether the first message is to come. Called with the turn, which
// it is written in.
func (s *Conn) isUnopened() bool { return s.opens && s.written.Load() == 0 }

// RaiseSendBuffer has the kernel hold up to so many bytes, if that is more than
// SendBuffer.
func (s *Conn) RaiseSendBuffer(bytes int64) {
	if bytes > SendBuffer {
		BoundSendBuffer(s.conn.TCPConn, int(bytes))
	}
}

// SendBuffer is how many bytes the kernel holds at most of what was written to a
// WebSocket, or to a relay's target, and not acknowledged: fixed by the protocol
// (section 12). Containers are charged for them.
const SendBuffer = 1 << 20

// BoundSendBuffer bounds what the kernel holds of what was written to a
// connection, in bytes, its own overhead included. By itself it goes up to 4 MiB
// (tcp(7), tcp_wmem). Where net.core.wmem_max is below half of bytes, twice that
// is the bound.
func BoundSendBuffer(conn *net.TCPConn, bytes int) {
	// The kernel doubles what it is asked for (socket(7), SO_SNDBUF). It fails
	// only for a connection that is gone, which its reader finds.
	_ = conn.SetWriteBuffer(bytes / 2)
}

// Write sends whole frames and waits until the kernel has taken them.
func (s *Conn) Write(frames ...[]byte) error {
	s.turn.Lock()
	err := s.writeInTurn(frames)
	s.turn.Unlock()
	if s.limiter != nil {
		s.wrote(frames)
	}
	if s.waits.Load() {
		s.flush()
	}
	return err
}

// WriteChunk sends a Chunk as one binary message, and waits until the kernel has taken
// it. The Chunk is gone then.
func (s *Conn) WriteChunk(c Chunk) error {
	defer c.release()
	if c.pipe == nil {
		return s.Write(c.buf[PutHeader(c.buf[:], OpBinary, c.n) : ServerHeader+c.n])
	}
	s.turn.Lock()
	header, err := s.spliceInTurn(c)
	s.turn.Unlock()
	if s.limiter != nil {
		s.limiter.Passed(toClient, header+c.n)
	}
	if s.waits.Load() {
		s.flush()
	}
	return err
}

// writeClose sends a close frame, the last frame there is. It waits until then at
// most, if that is not the zero Time.
func (s *Conn) writeClose(code int, text string, until time.Time) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	if s.torn {
		return errTorn
	}
	if !until.IsZero() {
		_ = s.conn.SetWriteDeadline(until)
	}
	if err := s.writeInTurn([][]byte{closeFrame(code, text)}); err != nil {
		return err
	}
	s.closed = true
	return nil
}

// endSending ends the sending side of the connection behind a close frame. It never
// waits.
func (s *Conn) endSending() { _ = s.conn.CloseWrite() }

// endSendingTaken is endSending if the peer's kernel has acknowledged all that was sent.
// It reports whether it has.
func (s *Conn) endSendingTaken() bool {
	if kernel.Look(s.raw).Unacked > 0 {
		return false
	}
	s.endSending()
	return true
}

// beginInTurn begins a frame that may wait, which writing.Store(false) ends.
func (s *Conn) beginInTurn() error {
	if s.closed {
		return errCloseSent
	}
	s.written.Add(1)
	s.writing.Store(true)
	if len(s.rest) > 0 {
		n, err := kernel.Send(s.raw, s.rest)
		if err != nil {
			s.rest = s.rest[n:] // a close frame goes on from there
			return err
		}
		s.rest = nil
	}
	return nil
}

func (s *Conn) writeInTurn(frames [][]byte) error {
	defer s.writing.Store(false)
	if err := s.beginInTurn(); err != nil {
		return err
	}
	n, err := kernel.Send(s.raw, frames...)
	s.torn = err != nil && n > 0
	return err
}

// spliceInTurn sends a Chunk from its pipe, and returns how long the header was.
func (s *Conn) spliceInTurn(c Chunk) (header int, err error) {
	defer s.writing.Store(false)
	if err := s.beginInTurn(); err != nil {
		return 0, err
	}
	if s.spliced == nil {
		s.spliced = splice.NewWriter(s.raw)
	}
	var room [MaxHeader]byte
	head := AppendHeader(room[:0], OpBinary, c.n)
	begun, err := s.spliced.Write(head, c.pipe)
	s.torn = err != nil && begun
	return len(head), err
}

// ping sends a ping, unless something else is being written: then the client
// is judged by whether that makes progress. It never waits.
func (s *Conn) ping() {
	if !s.turn.TryLock() {
		return
	}
	if !s.closed && len(s.rest) == 0 && !s.isUnopened() {
		s.offer(s.pings)
		s.pulse.pinged = kernel.BytesWritten(s.raw)
	}
	s.turn.Unlock()
	s.flush()
}

var pingFrame = controlFrame(opPing, nil)

// answer sends a pong for a ping's payload. Only the newest ping is sure to be
// answered, which RFC 6455 section 5.5.3 allows.
func (s *Conn) answer(payload []byte) { s.Urge(UrgentPong, controlFrame(opPong, payload)) }

// Urge sends a whole frame at once if it can, else behind the frame that is being
// written. It never waits, so that a client that writes without reading is read
// on. Any goroutine may call it.
func (s *Conn) Urge(kind Urgent, frame []byte) {
	s.urgent[kind].Store(&frame)
	s.waits.Store(true)
	s.flush()
}

// flush sends the urgent frames that wait, if nobody is writing. Whoever gives up
// the turn flushes after that, so none is forgotten.
func (s *Conn) flush() {
	for s.waits.Load() && s.turn.TryLock() {
		stuck := s.closed || s.isUnopened()
		if !stuck && len(s.rest) > 0 {
			s.offer(nil)
		}
		if stuck = stuck || len(s.rest) > 0; !stuck {
			s.waits.Store(false)
			if !s.offerUrgent() {
				s.waits.Store(true)
				stuck = true
			}
		}
		s.turn.Unlock()
		if stuck {
			return // the kernel's buffer is full: the next write or beat tries again
		}
	}
}

// offerUrgent offers the urgent frames to the kernel, and reports whether it has
// begun them all, and none waits for the rest of another. Called with the turn.
func (s *Conn) offerUrgent() bool {
	for kind := range s.urgent {
		waiting := &s.urgent[kind]
		if waiting.Load() == nil {
			continue
		}
		if len(s.rest) > 0 {
			return false
		}
		if frame := waiting.Swap(nil); frame != nil && !s.offer(*frame) {
			waiting.CompareAndSwap(nil, frame)
			return false
		}
	}
	return true
}

// offer gives the kernel what is left of the last control frame and the frame
// after it, as far as it takes them without waiting, and keeps the rest of a
// frame begun. It reports whether the frame was begun. Called with the turn.
func (s *Conn) offer(frame []byte) bool {
	all := append(s.rest, frame...)
	n := 0
	_ = s.raw.Write(func(fd uintptr) bool {
		var err error
		n, err = kernel.Write(fd, all)
		if err != nil && err != syscall.EAGAIN && err != syscall.EINTR {
			s.broken.Store(true)
		}
		return true
	})
	n = max(n, 0) // -1 with an error
	if n == 0 && len(s.rest) == 0 {
		return false
	}
	s.rest = append([]byte(nil), all[n:]...)
	return true
}

// giveUp ends all waiting for the client, because of reason. Called by the
// keepalive only.
func (s *Conn) giveUp(reason messages.Reason) {
	if s.verdict.CompareAndSwap(nil, &reason) {
		_ = s.conn.SetDeadline(LongAgo)
		s.gaveUp(reason)
	}
}

// Failure says why reading from the client or writing to it failed.
func (s *Conn) Failure(err error) messages.Reason {
	if verdict := s.verdict.Load(); verdict != nil {
		return *verdict
	}
	if errors.Is(err, errCloseSent) {
		return messages.ReasonInternal
	}
	return messages.ReasonClientGone
}

// Sending returns what the kernel knows of what was written.
func (s *Conn) Sending() kernel.Sending { return kernel.Look(s.raw) }

// unsent is how many bytes that can't be sent yet the kernel takes: what is written
// after them stands behind them, whatever its urgency. As much as is written at once:
// over loopback 16, 64 and 128 KiB, and no bound, take the same processor time for each
// byte within 2 %.
const unsent = 64 << 10

// KeepUnsentLow bounds what waits in the kernel of a Conn whose writer knows better
// what goes first.
func (s *Conn) KeepUnsentLow() { kernel.KeepUnsent(s.raw, unsent) }

// IsWebSocket marks a Conn as a [messages.WebSocket].
func (s *Conn) IsWebSocket() {}

// Reading reports whether the client is being waited for: all that has come is
// dealt with, and nothing holds reading up.
func (s *Conn) Reading() bool { return s.reading.Load() }

// LongAgo is a deadline that ends every wait at once.
var LongAgo = time.Unix(1, 0)
