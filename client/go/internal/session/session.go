package session

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"wsproxy/client/go/internal/socket"
	"wsproxy/messages"
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
	o         Options
	resumable bool
	timeout   time.Duration // for which the server waits for another WebSocket
	token     string
	local     net.Addr
	done      chan struct{}
	ctx       context.Context // ends with the session
	cancel    context.CancelFunc

	mu      sync.Mutex
	work    sync.Cond    // of mu: the writer waits for it
	busy    bool         // somebody writes, and goes on while there is something
	batch   batch        // of who is busy
	skip    int          // flushes that go without gather
	changed sync.Cond    // of mu: the keeper waits for it, for the writer and for room
	sock    *socket.Conn // nil while it is detached
	line    line         // of sock
	out     *replay.Sender
	in      *replay.Receiver // nil in the plain way, as out
	unacked unacked
	behind  int64 // in the plain way: units that the Sink took and has not passed on
	ready   bool  // the Source may have something
	asked   bool  // the writer has given mu back to ask it
	eof     bool  // follows what the Source has
	ended   bool  // the peer's eof has come
	timed   bool  // late is going to be called
	pulse   pulse
	tries   tries
	closing closing
	over    bool
	err     error
}

// A line is what belongs to one WebSocket.
type line struct {
	ack, ping, pong bool    // are to be sent, ahead of data
	wsPing          bool    // the same, in the plain way
	wsPong          *string // one may answer several pings
	writing         bool    // who is busy uses the WebSocket, without mu
	stuck           bool    // the kernel has not taken all: the writer is to wait for it
	unflushed       bool    // something waits for Flush
	broken          bool    // a write has failed, and the reader finds the end
	eof, close      bool    // have been sent
	next            uint64  // position that this WebSocket is written up to
	silent          bool    // the keepalive gave it up
	closedAt        time.Time
}

// A closing is how this side ends the session.
type closing struct {
	wanted  bool
	aborted bool // what is kept is dropped, and nothing is waited for
	code    int
	reason  string
	tried   bool          // a close frame was sent on a WebSocket that was lost since
	stall   time.Duration // without progress, after which it is aborted; 0 = never
}

// farewell is how long an aborted session is tried to be ended. Beyond that the
// server waits for it in vain.
const farewell = 5 * time.Second

// Open begins a session, and returns when its first WebSocket is open and, if the
// server selected wsproxy.resume, the server has told its token. ctx bounds that
// alone. The Sink may be called before it returns.
func Open(ctx context.Context, o Options) (*Session, error) {
	sock, err := o.Dial(ctx, nil)
	if err != nil {
		return nil, err
	}
	s := &Session{o: o, resumable: sock.Resumes(), local: sock.LocalAddr(), done: make(chan struct{}), ready: true}
	s.work.L, s.changed.L = &s.mu, &s.mu
	if s.resumable {
		m, err := first(ctx, sock, o.Unit, messages.KindSession)
		if err != nil {
			sock.Abandon()
			return nil, err
		}
		s.out, s.in = replay.NewSender(o.Unit), replay.NewReceiver(o.Unit)
		s.in.MaxWindow, s.in.Widen = o.Window, func(int64) bool { return true }
		_ = s.out.Acked(0, s.limited(0, m.Limit))
		s.token, s.timeout = m.Token, time.Duration(min(m.Timeout, maxTimeout))*time.Second
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.mu.Lock()
	s.attach(sock)
	s.mu.Unlock()
	go s.write()
	go s.keep(sock)
	return s, nil
}

const (
	// mostBytes and mostMessages are how much may be sent, and is kept, that the server
	// has not acknowledged, whatever its limit is: memory is not its to give. An honest
	// one gives RESUME_BUFFER, a MiB by default, or 1,024 messages, beyond what it has passed
	// on; whose ack may have been lost.
	mostBytes    = 16 << 20
	mostMessages = 2048
)

// limited returns the limit behind a position that was acknowledged.
func (s *Session) limited(position, limit uint64) uint64 {
	if s.o.Unit == replay.Messages {
		return min(limit, position+mostMessages)
	}
	return min(limit, position+mostBytes)
}

// maxTimeout is the longest time, in seconds, that a server can want to keep a
// session: it counts days.
const maxTimeout = 1 << 30

// Wake says that the Source has something again.
func (s *Session) Wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = true
	s.serve()
}

// Passed says that so many units that the Sink took have been passed on: the
// server hears of it, and may send more.
func (s *Session) Passed(units int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.resumable {
		s.behind -= units
		s.changed.Broadcast()
		return
	}
	s.in.Passed(units)
	s.acknowledge()
}

// CloseWrite says, on a relay, that nothing follows what the Source has: eof
// follows when it returns false. In the plain way there is no such thing, and it
// does nothing.
func (s *Session) CloseWrite() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.eof, s.ready = s.resumable, true
	s.work.Signal()
}

// Close ends the session behind everything that the Source has. The first call
// counts. The Sink's Ended follows when the server has answered.
func (s *Session) Close(code int, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.close(code, reason)
}

// Under mu.
func (s *Session) close(code int, reason string) {
	if s.closing.wanted {
		return
	}
	s.closing.wanted, s.closing.code, s.closing.reason = true, code, reason
	s.ready = true
	s.work.Signal()
	s.changed.Broadcast()
}

// Bound has a session that is closing be aborted when it makes no progress for a
// while.
func (s *Session) Bound(stall time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing.stall = stall
	s.pulse.moved = now()
}

// Abort ends the session at once. What the server has not got is lost, and so is
// a close frame that can't be sent at once: then the server waits for the session
// until its time is over.
func (s *Session) Abort(code int, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abort(code, reason)
}

// Under mu.
func (s *Session) abort(code int, reason string) {
	if s.closing.aborted || s.over {
		return
	}
	if !s.line.close { // else the frame is on its way
		s.closing.wanted, s.closing.code, s.closing.reason = true, code, reason
	}
	s.closing.aborted = true
	s.eof = false // a target must not take for whole what was cut
	if s.resumable {
		s.out.Drop()
	}
	s.work.Signal()
	s.changed.Broadcast()
	time.AfterFunc(farewell, s.cancel)
	context.AfterFunc(s.ctx, s.abandon)
}

// abandon ends the WebSocket, if there is one.
func (s *Session) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sock != nil {
		s.sock.Abandon()
	}
}

// LocalAddr returns the near end of the first WebSocket's TCP connection.
func (s *Session) LocalAddr() net.Addr { return s.local }

// Resumable reports whether the session outlives its WebSocket.
func (s *Session) Resumable() bool { return s.resumable }

// Done returns a channel that is closed when the session has ended, behind the
// Sink's Ended.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err returns how the session has ended: nil while it goes on and after an
// orderly end, a [*socket.CloseError] if the server ended it, or an error that
// wraps [ErrReplaced] or [ErrLost].
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
