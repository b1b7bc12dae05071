package session

import (
	"context"
	"errors"
	"sync"
	"time"

	"wsproxy/client/go/internal/socket"
	"wsproxy/transport/wsock/replay"
)

// What ends a session beside a close frame of the server's.
var (
	// ErrReplaced is of a session that another WebSocket has taken over, which
	// somebody else has.
	ErrReplaced = errors.New("somebody else has taken the session over")
	// ErrLost is of a session that the server does not have any more, or could not
	// be asked for in time.
	ErrLost = errors.New("the session is lost")
)

// Options are those of Open. Dial, Source and Sink are required.
type Options struct {
	// Dial opens a WebSocket, and with again one that takes the session up. It
	// ends with its context.
	Dial   func(ctx context.Context, again *socket.TakeUp) (*socket.Conn, error)
	Unit   replay.Unit // Bytes for a relay, Messages for a tunnel
	Source Source
	Sink   Sink
	Window int64 // most that the server may send beyond what was passed on, in units; at least the protocol's first limit

	// These may be nil. They are called by the session's goroutines, and delay
	// them.
	OnDetached func(error)         // the WebSocket was lost, with why
	OnRetry    func(error)         // a try to take the session up has failed, with why; others follow
	OnResumed  func(time.Duration) // it was taken up, after being away for so long
}

// A Source is where a session gets what it sends.
type Source interface {
	// Next returns what to send next: at most so many units of it, which in bytes
	// are at most 64 KiB and in messages one; or false if there is nothing now. Then
	// its owner calls [Session.Wake] when there is something again. It is called by
	// one goroutine at a time and must not block. What it returns is the session's.
	Next(units int64) (replay.Message, bool)
}

// A Sink gets what comes. Its methods are called by one goroutine at a time and
// must not block.
type Sink interface {
	// Take gets each message, complete and in order, exactly once. In bytes where
	// messages begin and end means nothing. payload is the sink's until it returns.
	// What it has passed on it says by [Session.Passed].
	Take(payload []byte, json bool)
	// PeerEnded says that the other side of a relay sends nothing more: its eof has
	// come, or in the plain way the close frame of an orderly end.
	PeerEnded()
	// Ended says, once and at last, how the session has ended: nil after an orderly
	// end, or what [Session.Err] returns.
	Ended(err error)
}

// A Session is one that has begun. Any goroutine may call its methods, which
// don't block; but not with a lock that its Source or its Sink take.
type Session struct {
	o    Options
	done chan struct{}

	mu   sync.Mutex
	work sync.Cond // of mu: the writer waits for it
}

// Open begins a session, and returns when its first WebSocket is open and, if the
// server selected wsproxy.resume, the server has told its token. ctx bounds that
// alone. The Sink may be called before it returns.
func Open(ctx context.Context, o Options) (*Session, error) {
	panic("not built")
}

// Wake says that the Source has something again.
func (s *Session) Wake() {}

// Passed says that so many units that the Sink took have been passed on: the
// server hears of it, and may send more.
func (s *Session) Passed(units int64) {}

// CloseWrite says, on a relay, that nothing follows what the Source has: eof
// follows when it returns false. In the plain way there is no such thing, and it
// does nothing.
func (s *Session) CloseWrite() {}

// Close ends the session behind everything that the Source has. The first call
// counts. The Sink's Ended follows when the server has answered.
func (s *Session) Close(code int, reason string) {}

// Abort ends the session at once. What the server has not got is lost, and so is
// a close frame that can't be sent at once: then the server waits for the session
// until its time is over.
func (s *Session) Abort(code int, reason string) {}

// Resumable reports whether the session outlives its WebSocket.
func (s *Session) Resumable() bool { return false }

// Done returns a channel that is closed when the session has ended, behind the
// Sink's Ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err returns how the session has ended: nil while it goes on and after an
// orderly end, a [*socket.CloseError] if the server ended it, or an error that
// wraps [ErrReplaced] or [ErrLost].
func (s *Session) Err() error { return nil }
