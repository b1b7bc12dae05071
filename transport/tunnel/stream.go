package tunnel

import (
	"cmp"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
	"wsproxy/transport/budget"
	"wsproxy/transport/tunnel/sendqueue"
	"wsproxy/transport/wsock"
	"wsproxy/transport/wsock/kernel"
)

// A Stream is one connection that a tunnel carries: the socket at its outer
// end, the bytes that wait for the outside peer, and the queue in which bytes
// and messages about it go to the client. A conn actor says what happens; see [messages.Stream].
//
// Two pumps serve it: in reads the outside peer, out writes to it. A [Pipe] may
// stand in the place of socket and pumps.
type Stream struct {
	mux      *Mux              // set once
	id       string            // set once
	peer     string            // set once
	protocol string            // what this process speaks over it, set by OpenPipe; "" if that is nobody's business
	queue    *sendqueue.Stream // set once
	owner    *actor.PID        // set by Own, before the pumps start
	share    budget.Account    // what waits for the peer beyond messages.ConnShare
	held     budget.Account    // what all that waits for the peer takes up in memory

	accepted atomic.Bool      // an actor has taken or rejected it
	noLinger atomic.Bool      // the peer is given no more time to read
	sentEnd  atomic.Bool      // the sending side towards the peer has ended, or is about to
	in, out  atomic.Int64     // payload bytes from the peer, and written to it
	allowed  int              // payload bytes that the client has credit for; of who sends them: the in pump or the Pipe
	joined   bool             // it was a Pipe; set before the pumps start
	direct   *wsock.TryWriter // to the peer; the reading pump's, set before the pumps start
	passed   int              // the reading pump's: bytes that were passed on directly and not told yet
	moved    atomic.Int64     // when the pumps moved something last, in ns since 1970; kept if it was a Pipe

	mu         sync.Mutex
	conn       *net.TCPConn         // under mu while there is a Pipe, else set once; nil while there is a Pipe
	idle       func()               // under mu: wants to know when anything happens to a Pipe that nobody uses
	found      func() bool          // under mu: says that an actor has it; else it ends with the Mux
	chunks     [][]byte             // under mu: what the out pump has not taken
	waiting    int64                // under mu: payload bytes on their way to the peer, from Hold until written
	opened     bool                 // under mu: the client was told of it
	owned      bool                 // under mu: of a Pipe: the conn waits for StreamClosed
	left       bool                 // under mu: of a Pipe: the client says no more, and has not ended it
	endWrite   bool                 // under mu: EndWrite was called
	closeWrite bool                 // under mu: CloseWrite was called
	aborted    messages.CloseReason // under mu: the reason of the first Abort
	over       bool                 // under mu: no bytes are taken any more
	mailed     int                  // under mu: messages with data that are on their way to Write or Drop
	passing    bool                 // under mu: the reading pump writes to the peer
	peerEnd    bool                 // under mu: the outside peer has ended its stream

	special   Announcement  // what the client's dialect asks for; set by announce
	announced chan struct{} // of a Pipe: closed when the client was told of it

	wake        chan struct{} // has room for one: something for the out pump
	done        chan struct{} // closed when the stream is over
	unread      chan struct{} // closed by stopReading: what the peer sends goes nowhere
	stopReading func()        // set once
	credit      chan int      // credit granted and not yet seen by the in pump; has room for one
	inDone      chan struct{} // closed when the in pump has ended; nil until it starts
}

// newStream returns a stream with the socket at its outer end, or nil for a Pipe.
func newStream(m *Mux, conn *net.TCPConn, peer string) *Stream {
	s := &Stream{
		mux: m, id: messages.NewID(messages.IDBytes), conn: conn, peer: peer, allowed: messages.Window,
		queue: m.queue.NewStream(),
		wake:  make(chan struct{}, 1), done: make(chan struct{}), unread: make(chan struct{}), credit: make(chan int, 1),
	}
	s.share.Init(m.buffer)
	s.held.Init(m.memory)
	s.stopReading = sync.OnceFunc(func() { close(s.unread) })
	s.mu.Lock() // Reject may run at once
	defer s.mu.Unlock()
	if conn == nil { // it waits for no place
		s.accepted.Store(true)
	}
	s.found = context.AfterFunc(m.life.Closing(), s.Reject)
	return s
}

func (s *Stream) ID() string             { return s.id }
func (s *Stream) RemoteAddr() string     { return s.peer }
func (s *Stream) Moved() (in, out int64) { return s.in.Load(), s.out.Load() }
func (s *Stream) tell(message any)       { s.mux.settings.Host.Send(s.owner, message) }

// LastMoved returns when something moved last, if the stream was a Pipe.
func (s *Stream) LastMoved() time.Time { return time.Unix(0, s.moved.Load()) }

// Done returns what is closed when the stream is over: no bytes are taken for
// the outside peer any more.
func (s *Stream) Done() <-chan struct{} { return s.done }

func (s *Stream) Own(conn *actor.PID) {
	s.owner = conn
	s.taken()
}

// taken lets another raw connection be accepted in this one's place, and has the
// stream end by its actor alone.
func (s *Stream) taken() {
	if s.accepted.CompareAndSwap(false, true) {
		<-s.mux.accepts // has one: acceptAll put it there
	}
	s.mu.Lock()
	found := s.found
	s.found = nil
	s.mu.Unlock()
	if found != nil {
		found()
	}
}

// Reject closes a connection that the client has never heard of.
func (s *Stream) Reject() {
	s.taken()
	if s.finish(messages.CloseReset, true) { // of which only a client hears that knows of it
		s.release()
	}
}

func (s *Stream) Open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over { // it was aborted before
		s.tell(&messages.StreamClosed{})
		return
	}
	s.owned = true
	if s.announce(); s.conn != nil {
		s.start()
	}
}

// announce tells the client, once, of a stream that is not over. Under mu.
func (s *Stream) announce() {
	if s.over || s.opened {
		return
	}
	s.opened = true
	s.mux.streams.add(s)
	s.queue.Send(s.mux.frameControl(messages.EncodeOpen(s.id, s.peer, s.protocol)), false)
	if s.special = s.mux.dialect.Announce(s); s.special.Message != nil {
		s.queue.Send(s.mux.frameControl(s.special.Message), false)
	}
	if s.conn == nil {
		close(s.announced)
	}
}

// start starts the pumps. Under mu.
func (s *Stream) start() {
	s.inDone = make(chan struct{})
	s.direct, _ = wsock.NewTryWriter(s.conn) // it fails for a connection that is gone
	wsock.StartPump(s.mux.life.Log(), "raw in", s.pumpIn, func() { close(s.inDone) })
	wsock.StartPump(s.mux.life.Log(), "raw out", s.pumpOut, func() {
		s.finish(messages.CloseReset, true) // unless it is over, which it is but for a panic
		s.conn.Close()
		if s.special.Ended != nil {
			s.special.Ended()
		}
		s.queue.End(func() { s.tell(&messages.StreamClosed{}) })
	})
}

func (s *Stream) Hold(data []byte) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return 0
	}
	s.book(int64(len(data)), int64(cap(data)))
	return s.waiting
}

// book changes how many payload bytes wait, and what they take up in memory,
// which for those in a buffer of the pool is up to twice as much. Under mu.
func (s *Stream) book(n, memory int64) {
	before := max(s.waiting-messages.ConnShare, 0)
	s.waiting += n
	s.share.Add(max(s.waiting-messages.ConnShare, 0) - before)
	s.held.Add(memory)
}

// Held returns what the stream holds in memory for its outside peer, in bytes.
func (s *Stream) Held() int64 { return s.held.Held() }

func (s *Stream) Write(data []byte) {
	s.mu.Lock()
	refused := s.over || s.endWrite || s.closeWrite
	if !refused {
		s.mailed--
		s.enqueue(data)
	}
	s.unlockAndWake()
	if refused {
		s.Drop(data)
	}
}

// unlockAndWake releases mu, and wakes who serves the outer end.
func (s *Stream) unlockAndWake() {
	idle := s.idle
	s.idle = nil
	s.mu.Unlock()
	signal(s.wake)
	if idle != nil {
		idle()
	}
}

func (s *Stream) Drop(data []byte) {
	s.mu.Lock()
	s.mailed--
	if !s.over {
		s.book(int64(-len(data)), int64(-cap(data)))
	}
	s.mu.Unlock()
	wsock.Release(data)
}

func (s *Stream) EndRead() {
	s.stopReading()
	s.queue.Cut()
}

func (s *Stream) EndWrite() {
	s.mu.Lock()
	s.endWrite = true
	s.unlockAndWake()
}

func (s *Stream) CloseWrite() {
	s.mu.Lock()
	s.closeWrite = true
	s.unlockAndWake()
}

func (s *Stream) Leave() {
	s.mu.Lock()
	conn, opened := s.conn, s.opened
	s.mu.Unlock()
	if conn == nil {
		s.leave(messages.CloseTunnelEnded)
		return
	}
	s.stopReading()
	if !opened { // if it still is, the client hears nothing of it
		s.queue.Cut()
		return
	}
	s.queue.End(func() {}) // who ends the stream waits for what is in it
}

// leave notes that the client has left a stream that has a Pipe, and says no more. It
// reports whether there is one: who reads it has what came before.
func (s *Stream) leave(reason messages.CloseReason) bool {
	s.mu.Lock()
	if s.conn != nil || s.over {
		s.mu.Unlock()
		return false
	}
	if !s.endWrite && !s.closeWrite && !s.left {
		s.left, s.aborted = true, reason
	}
	s.unlockAndWake()
	s.stopReading()
	s.queue.Cut()
	return true
}

func (s *Stream) Abort(reason messages.CloseReason) {
	s.taken()
	if (reason == messages.CloseClientReset || reason == messages.CloseRefused) && s.leave(reason) {
		return // what the client has sent before may be all that was to come
	}
	if !s.finish(reason, true) {
		if conn := s.outer(); conn != nil && reason == messages.CloseShutdown { // nobody waits for a lingering one
			s.noLinger.Store(true)
			_ = conn.SetReadDeadline(wsock.LongAgo)
		}
		return
	}
	s.release()
}

// outer returns the socket, or nil while there is a Pipe.
func (s *Stream) outer() *net.TCPConn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn
}

// release lets go of the outer end of a stream that is over.
func (s *Stream) release() {
	s.mu.Lock()
	conn, owned, ended := s.conn, s.owned, s.special.Ended
	s.mu.Unlock()
	if conn == nil && ended != nil {
		ended()
	}
	switch {
	case conn != nil:
		conn.Close() // the out pump, if there is one, does the rest
	case owned:
		s.queue.End(func() { s.tell(&messages.StreamClosed{}) })
	default: // Open will find that it is over
		s.queue.End(func() {})
	}
}

// finish ends the taking of bytes and lets go of those that wait. With a reason
// it tells the client, unless that never heard of the connection. It reports
// whether it was the first call. From then on the out pump may close the socket
// before the caller does: so what makes of that close a reset, which the peer
// doesn't take for an orderly end, is set here.
func (s *Stream) finish(reason messages.CloseReason, reset bool) bool {
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return false
	}
	defer s.unlockAndWake()
	s.mux.streams.remove(s.id)
	if s.conn != nil && reset {
		_ = s.conn.SetLinger(0)
	}
	s.over, s.aborted, s.chunks, s.waiting = true, cmp.Or(s.aborted, reason), nil, 0
	s.share.End()
	s.held.End()
	switch told := reason.IsTold(); { // before done: at its end the out pump closes the queue
	case !s.opened || !told:
	case s.conn == nil && reason != messages.CloseEOF:
		// A request that was given up: nobody counts any more what waits of it.
		s.queue.Abandon(s.mux.frameClose(s.id, reason, nil))
	default:
		s.queue.Send(s.mux.frameClose(s.id, reason, nil), true)
	}
	close(s.done)
	return true
}

func (s *Stream) Ended() messages.CloseReason {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.aborted
}

func (s *Stream) Waiting() (waiting, acked int64) {
	s.mu.Lock()
	waiting, conn := s.waiting, s.conn
	s.mu.Unlock()
	if conn == nil {
		return waiting, s.out.Load() // this process takes what is written
	}
	if raw, err := conn.SyscallConn(); err == nil {
		acked = int64(kernel.BytesAcked(raw))
	}
	return waiting, acked
}

// Credit allows more bytes to the client, which may so widen its window up to
// MaxWindow. What exceeds that is a client that counts wrongly, to its own harm.
func (s *Stream) Credit(n int) {
	n = min(n, messages.MaxWindow)
	for {
		select {
		case s.credit <- n:
			return
		case had := <-s.credit:
			n = min(n+had, messages.MaxWindow)
		}
	}
}

func signal(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
