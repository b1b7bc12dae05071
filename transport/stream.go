package transport

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
)

// A stream is one raw TCP connection of a tunnel: its socket, the bytes that
// wait for the outside peer, and the lane in which bytes and messages about it
// go to the client. A conn actor says what happens; see [messages.Stream].
//
// Two pumps serve it: in reads the outside peer, out writes to it.
type stream struct {
	link  *link      // set once
	id    string     // set once
	conn  outer      // set once
	peer  string     // set once
	lane  *lane      // set once
	owner *actor.PID // set by Own, before the pumps start
	share tally      // what waits for the peer beyond messages.ConnShare

	accepted atomic.Bool  // an actor has taken or rejected it
	hurried  atomic.Bool  // the peer is given no more time to read
	in, out  atomic.Int64 // payload bytes from the peer, and written to it

	mu       sync.Mutex
	found    func() bool          // under mu: says that an actor has it; else it ends with the link
	chunks   [][]byte             // under mu: what the out pump has not taken
	waiting  int64                // under mu: bytes on their way to the peer, from Hold until written
	opened   bool                 // under mu: the pumps run
	endWrite bool                 // under mu: EndWrite was called
	aborted  messages.CloseReason // under mu: the reason of the first Abort
	over     bool                 // under mu: no bytes are taken any more

	held   chan struct{} // closed when the client can take bytes; nil if it can at once; set by Open
	pace   *gosshPace    // nil but for gossh; set by Open, then the in pump's
	wake   chan struct{} // has room for one: something for the out pump
	done   chan struct{} // closed when the stream is over
	deaf   chan struct{} // closed by deafen: what the peer sends goes nowhere
	deafen func()        // set once
	credit chan int      // credit granted and not yet seen by the in pump; has room for one
	inDone chan struct{} // closed when the in pump has ended; nil until it starts
}

// An outer is the socket at the outside end of a stream: a TCP connection, or
// one end of a pair whose other end is this process.
type outer interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

func newStream(l *link, conn outer, peer string) *stream {
	s := &stream{
		link: l, id: messages.NewID(messages.IDBytes), conn: conn, peer: peer,
		lane: l.lanes.newLane(), share: tally{budget: l.buffer},
		wake: make(chan struct{}, 1), done: make(chan struct{}), deaf: make(chan struct{}), credit: make(chan int, 1),
	}
	s.deafen = sync.OnceFunc(func() { close(s.deaf) })
	s.mu.Lock() // Reject may run at once
	defer s.mu.Unlock()
	s.found = context.AfterFunc(l.closing, s.Reject)
	return s
}

func (s *stream) ID() string             { return s.id }
func (s *stream) RemoteAddr() string     { return s.peer }
func (s *stream) Moved() (in, out int64) { return s.in.Load(), s.out.Load() }
func (s *stream) tell(message any)       { s.link.tools.root.Send(s.owner, message) }

func (s *stream) Own(conn *actor.PID) {
	s.owner = conn
	s.taken()
}

// taken lets another raw connection be accepted in this one's place.
func (s *stream) taken() {
	if s.accepted.CompareAndSwap(false, true) {
		<-s.link.accepts // has one: acceptAll put it there
		s.mu.Lock()
		found := s.found
		s.mu.Unlock()
		found()
	}
}

// Reject closes a connection that the client has never heard of.
func (s *stream) Reject() {
	s.taken()
	if s.finish("", true) {
		s.conn.Close()
	}
}

func (s *stream) Open() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over { // it was aborted before
		s.tell(&messages.StreamClosed{})
		return
	}
	s.opened = true
	s.inDone = make(chan struct{})
	s.lane.send(s.link.controlFrame(messages.EncodeOpen(s.id, s.peer)), false)
	if g := s.link.gossh; g != nil {
		s.held, s.pace = make(chan struct{}), &gosshPace{}
		s.lane.send(s.link.controlFrame(g.announce(s)), false)
	}
	startPump(s.link.tools.log, "raw in", s.pumpIn, func() { close(s.inDone) })
	startPump(s.link.tools.log, "raw out", s.pumpOut, func() {
		s.finish(messages.CloseReset, true) // unless it is over, which it is but for a panic
		s.conn.Close()
		if g := s.link.gossh; g != nil {
			g.forget(s)
		}
		s.lane.end(func() { s.tell(&messages.StreamClosed{}) })
	})
}

func (s *stream) Hold(n int) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return 0
	}
	s.book(int64(n))
	return s.waiting
}

// book changes waiting, and with it what the budget holds of it. Under mu.
func (s *stream) book(n int64) {
	before := max(s.waiting-messages.ConnShare, 0)
	s.waiting += n
	s.share.add(max(s.waiting-messages.ConnShare, 0) - before)
}

func (s *stream) Write(data []byte) {
	s.mu.Lock()
	refused := s.over || s.endWrite
	if !refused {
		s.queue(data)
	}
	s.mu.Unlock()
	if refused {
		s.Drop(data)
		return
	}
	signal(s.wake)
}

// joinable is below how many bytes data is joined to what waits before it. By
// itself a byte would take up dozens of times what it is counted as.
const joinable = 1 << 10

// queue adds data to what waits for the out pump. A chunk that has grown is
// still below what the pool lends. Under mu.
func (s *stream) queue(data []byte) {
	last := len(s.chunks) - 1
	if last < 0 || len(data) >= joinable || len(s.chunks[last])+len(data) >= lendable {
		s.chunks = append(s.chunks, data)
		return
	}
	s.chunks[last] = append(s.chunks[last], data...)
}

func (s *stream) Drop(data []byte) {
	s.mu.Lock()
	if !s.over {
		s.book(int64(-len(data)))
	}
	s.mu.Unlock()
	let(data)
}

func (s *stream) EndRead() {
	s.deafen()
	s.lane.cut()
}

func (s *stream) EndWrite() {
	s.mu.Lock()
	s.endWrite = true
	s.mu.Unlock()
	signal(s.wake)
}

func (s *stream) Leave() {
	s.mu.Lock()
	opened, endWrite := s.opened, s.endWrite
	s.mu.Unlock()
	if _, remote := s.conn.(*net.TCPConn); !remote && !endWrite {
		s.Abort(messages.CloseShutdown) // this process must not take it for the end of an answer
		return
	}
	s.deafen()
	if !opened { // if it still is, the client hears nothing of it
		s.lane.cut()
		return
	}
	s.lane.send(s.link.controlFrame(messages.EncodeClose(s.id, messages.CloseShutdown)), true)
}

func (s *stream) Abort(reason messages.CloseReason) {
	s.taken()
	if !s.finish(reason, true) {
		if reason == messages.CloseShutdown { // nobody waits for a lingering one
			s.hurried.Store(true)
			_ = s.conn.SetReadDeadline(longAgo)
		}
		return
	}
	s.conn.Close()
}

// finish ends the taking of bytes and lets go of those that wait. With a reason
// it tells the client, unless that never heard of the connection. It reports
// whether it was the first call. From then on the out pump may close the socket
// before the caller does: so what makes of that close a reset, which the peer
// doesn't take for an orderly end, is set here. Not every kind of socket can
// tell one from the other.
func (s *stream) finish(reason messages.CloseReason, reset bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	if tcp, ok := s.conn.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0)
	}
	s.over, s.aborted, s.chunks, s.waiting = true, reason, nil, 0
	s.share.end()
	if s.opened && reason != "" { // before done: at its end the out pump closes the lane
		s.lane.send(s.link.controlFrame(messages.EncodeClose(s.id, reason)), true)
	}
	close(s.done)
	return true
}

func (s *stream) Ended() messages.CloseReason {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.aborted
}

func (s *stream) Waiting() (waiting, acked int64) {
	s.mu.Lock()
	waiting = s.waiting
	s.mu.Unlock()
	if _, remote := s.conn.(*net.TCPConn); !remote {
		return waiting, s.out.Load() // this process takes what is written
	}
	if raw, err := s.conn.SyscallConn(); err == nil {
		acked = int64(bytesAcked(raw))
	}
	return waiting, acked
}

// Credit allows more bytes to the client. More than a window is never on its
// way, so what exceeds one is a client that counts wrongly, to its own harm.
func (s *stream) Credit(n int) {
	n = min(n, messages.Window)
	for {
		select {
		case s.credit <- n:
			return
		case had := <-s.credit:
			n = min(n+had, messages.Window)
		}
	}
}

func signal(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}
