package socket

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"wsproxy/transport/wsock"
	"wsproxy/transport/wsock/kernel"
	"wsproxy/transport/wsock/replay"
)

const (
	// joined is up to how many bytes frames wait for Flush, so that those that are
	// there at the same time go out in one write.
	joined = 16 << 10
	// room is that of the frames that wait, and of the longest one behind them: a
	// message of section 9 with its trailer.
	room = joined + wsock.MaxMaskedHeader + replay.MaxPayload + replay.TrailerSize
	// lingering is how long the server may take to end its TCP connection behind
	// the close frames.
	lingering = 5 * time.Second

	// readAhead is how much is read at once while much comes: gorilla reads a
	// message in two pieces, which are two calls of the kernel.
	readAhead = 64 << 10

	// maxAnswer is how long an answer to a handshake may be: 64 KiB of fields, as
	// everywhere in the protocol, and the first bytes behind it. net/http itself would
	// read on for as long as fields come.
	maxAnswer = 64<<10 + readBuffer

	closeFrame = 0x88 // first byte of a close frame
)

var errLongAnswer = errors.New("its answer to the handshake is longer than 64 KiB")

// errNotAsked is of a close frame that nobody has asked for.
var errNotAsked = errors.New("the WebSocket is broken")

// A wire is what gorilla's Conn reads and writes. It holds small frames back
// until Flush, counts what comes, and keeps gorilla from closing by itself:
// where a frame can't be read gorilla says 1002, which would end a session that
// only has to be taken up.
//
// There is one writer at a time, but for the methods that say otherwise.
type wire struct {
	*road
	system  syscall.RawConn  // of the TCP connection; nil if it is none
	holds   bool             // since the handshake
	try     *wsock.TryWriter // of the same; nil where a write can only be waited for
	calls   io.ReadWriter    // Conn, or what costs less where there is try
	held    []byte           // frames that wait for Flush, in spare
	gone    int              // bytes of held that the kernel has taken
	spare   *[room]byte
	timed   bool          // there is a write deadline
	closes  atomic.Bool   // the next close frame is the session's own
	came    atomic.Uint64 // bytes read
	ahead   []byte        // the reader's: read, and not asked for yet; in lent
	lent    *[readAhead]byte
	much    bool          // the reader's: the last read has filled its buffer
	written atomic.Uint64 // bytes
}

// unsent is how many bytes that can't be sent yet the kernel takes. It would take
// megabytes, which are seconds of an uplink, and whatever came later would stand
// behind them: a tunnel decides as late as it can whose turn it is.
const unsent = 32 << 10

// spares are lent to wires while frames wait.
var spares = sync.Pool{New: func() any { return new([room]byte) }}

func newWire(r *road, unsentLow bool) *wire {
	w := &wire{road: r, calls: r.Conn}
	if tcp, ok := r.raw.(syscall.Conn); ok {
		if w.system, _ = tcp.SyscallConn(); w.system != nil && unsentLow {
			kernel.KeepUnsent(w.system, unsent)
		}
		// What only has a TCP connection in it may do more than that when it is read and written.
		if plain, ok := r.Conn.(*net.TCPConn); ok && w.system != nil && runtime.GOOS != "windows" {
			w.try, _ = wsock.NewTryWriter(plain)
			w.calls = &calls{plain, w.system}
		}
	}
	return w
}

// aheads are lent to wires on which much comes.
var aheads = sync.Pool{New: func() any { return new([readAhead]byte) }}

// Read is the reader's. An idle wire has no buffer.
func (w *wire) Read(b []byte) (int, error) {
	if !w.holds && w.came.Load() >= maxAnswer {
		return 0, errLongAnswer
	}
	if len(w.ahead) == 0 {
		if !w.much || w.Conn != w.raw { // TLS has buffers of its own
			n, err := w.calls.Read(b)
			w.came.Add(uint64(n))
			w.much = n == len(b) && n > readBuffer/2 && n <= readBuffer // it was gorilla's buffer
			return n, err
		}
		w.lent = aheads.Get().(*[readAhead]byte)
		n, err := w.calls.Read(w.lent[:])
		w.came.Add(uint64(n))
		w.ahead, w.much = w.lent[:n], n == readAhead
		if n == 0 {
			aheads.Put(w.lent)
			w.ahead, w.lent = nil, nil
			return 0, err
		}
	}
	n := copy(b, w.ahead)
	if w.ahead = w.ahead[n:]; len(w.ahead) == 0 {
		aheads.Put(w.lent)
		w.ahead, w.lent = nil, nil
	}
	return n, nil
}

// Write gets what gorilla writes: the handshake, and then whole control frames.
// Its own close frames come from the reader, at any time.
func (w *wire) Write(b []byte) (int, error) {
	switch {
	case !w.holds:
		return w.Conn.Write(b)
	case b[0] == closeFrame && !w.closes.Load():
		return 0, errNotAsked
	}
	w.take()
	w.held = append(w.held, b...)
	return len(b), nil
}

// message writes a message as one frame. gorilla would copy it, then mask the copy.
func (w *wire) message(kind Kind, pieces [][]byte) {
	w.take()
	w.held = wsock.AppendMasked(w.held, byte(kind), rand.Uint32(), pieces...)
}

// take takes a buffer for what is to be held.
func (w *wire) take() {
	if w.held == nil {
		w.spare = spares.Get().(*[room]byte)
		w.held = w.spare[:0]
	}
}

// flush writes what is held.
func (w *wire) flush() error {
	if w.held == nil {
		return nil
	}
	n, err := w.calls.Write(w.held[w.gone:])
	w.written.Add(uint64(n))
	w.release()
	return err
}

func (w *wire) release() {
	spares.Put(w.spare)
	w.held, w.spare, w.gone = nil, nil, 0
}

// tryFlush writes as much of what is held as the kernel takes at once, and reports
// whether that was all.
func (w *wire) tryFlush() (all bool, err error) {
	if w.held == nil {
		return true, nil
	}
	n, err := w.try.Try(w.held[w.gone:])
	w.written.Add(uint64(n))
	if w.gone += n; err == nil && w.gone < len(w.held) {
		return false, nil
	}
	w.release()
	return true, err
}

// SetWriteDeadline spares the kernel what changes nothing: gorilla sets one
// before each write.
func (w *wire) SetWriteDeadline(t time.Time) error {
	if t.IsZero() && !w.timed {
		return nil
	}
	w.timed = !t.IsZero()
	return w.Conn.SetWriteDeadline(t)
}

// acked returns how many bytes the other kernel has acknowledged, or 0 if that
// can't be told. Any goroutine may call it.
func (w *wire) acked() uint64 {
	if w.system == nil {
		return 0
	}
	return kernel.BytesAcked(w.system)
}

// abandon closes the TCP connection, without a word and without waiting. Any
// goroutine may call it.
func (w *wire) abandon() { w.raw.Close() }

// linger waits until the server has ended its connection, and closes: what is
// closed before that may take back what was sent last.
func (w *wire) linger() {
	_ = w.raw.SetDeadline(time.Now().Add(lingering))
	if half, ok := w.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_, _ = io.Copy(io.Discard, w.Conn)
	w.raw.Close()
}

var _ net.Conn = (*wire)(nil)
