package resume

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
	"wsproxy/transport/budget"
	"wsproxy/transport/renewer"
	"wsproxy/transport/wsock"
	"wsproxy/transport/wsock/replay"
)

// Settings are what all sessions share. All fields are required.
type Settings struct {
	Host    *wsock.Host
	Timeout time.Duration  // that a session waits for another WebSocket
	Buffer  int64          // bytes that a session keeps, and lets the client send ahead, at most
	Shares  *budget.Shares // of what all hold beyond FirstBytes, each way
}

// FirstBytes is how many bytes a session keeps, and lets the client send ahead,
// whatever others do: fixed by the protocol.
const FirstBytes = 64 << 10

// Options are what one session is.
type Options struct {
	Unit   replay.Unit // what its positions count
	Opcode byte        // what its messages of section 9 are framed as: [wsock.OpText] or [wsock.OpBinary]
	User   string      // for the bytes that all of one user's sessions may hold
	Sink   Sink
	// Renewer judges the fresh tokens of a relay's client; nil for a session that doesn't
	// end with its token. A tunnel's come as its other messages do.
	Renewer *renewer.Renewer
}

// A Sink takes what the client sends, message by message, each once and in order:
// one call after another, by whatever goroutine.
type Sink interface {
	// Try takes a piece of a message, the last one if end is set, as far as it can
	// without waiting, and returns how many bytes that were. Of a tunnel's message
	// it takes all or nothing. data is the sink's until it returns.
	Try(data []byte, text, end bool) (n int)
	// Take takes a piece of a message. It may wait.
	Take(data []byte, text, end bool)
	// End is called when the client has said that nothing follows. It may wait.
	End()
	// Leaving is called by the reading pump when the client has closed the session,
	// before the owner hears of it. It may wait.
	Leaving()
}

// A Session is what a relay and a tunnel do alike with a client whose WebSocket may
// be lost. The HTTP handler makes it and attaches the first Conn; an actor, its
// owner, says what happens when. Methods whose comment names no caller are the
// owner's, and return at once.
type Session struct {
	settings *Settings        // set once
	sink     Sink             // set once
	renewer  *renewer.Renewer // set once
	owner    *actor.PID       // set by Own, before anything else runs
	first    socket           // its Conn by Attach
	held     *budget.Budget   // set once: what it holds beyond FirstBytes
	unit     replay.Unit      // set once
	opcode   byte             // set once

	mu      sync.Mutex
	changed sync.Cond // of mu: something that is waited for may have come true

	// All others are under mu: first what there is of WebSockets.
	begun  bool    // Announce was called
	known  bool    // the client has acknowledged something
	number uint32  // of the last WebSocket
	socket *socket // nil while there is none
	before *socket // the last one that may linger: it was taken over, or given up by its client
	token  string  // until the client was told
	rewind uint64  // from where a socket that takes the session up goes on

	// What is sent.
	out      replay.Sender
	reserved int64 // bytes of held for what is kept
	writing  bool  // some goroutine writes data, and goes on until there is none
	ended    bool  // nothing follows what is kept
	endSent  bool  // this socket was told so

	// What has come.
	passing   bool // some goroutine passes on, and goes on until nothing is left
	inEnded   bool // the client has said that nothing follows
	endPassed bool // the sink was told so
	timed     bool // a timer runs, for what is due in a while
	in        replay.Receiver
	looked    uint64  // what had come when the timer ran out last
	queue     []piece // what was not passed on
	queued    int64   // bytes of that, and of what is being passed on
	counted   int64   // bytes of held for that

	// The end.
	closing     context.Context       // ends when the session begins to close; nil until somebody asks
	cancel      context.CancelFunc    // of closing
	clientEnded bool                  // the client has closed the session, or answered its close frame
	cut         bool                  // the client is not waited for any more
	over        bool                  // closed was called
	reason      messages.Reason       // of Finish
	last        *socket               // whose close frame ends the session
	closed      func(messages.Reason) // of Finish
	later       *time.Timer           // of endLater; nil until then
}

// Init makes the zero Session one of a client whose WebSocket may be lost.
func (s *Session) Init(settings *Settings, options Options) {
	s.settings, s.sink, s.unit, s.opcode = settings, options.Sink, options.Unit, options.Opcode
	s.renewer = options.Renewer
	s.changed.L = &s.mu
	s.held = settings.Shares.Open(options.User, 2*max(settings.Buffer-FirstBytes, 0))
	s.out, s.in = *replay.NewSender(options.Unit), *replay.NewReceiver(options.Unit)
	s.in.MaxWindow = s.maxWindow()
	s.in.Widen = func(units int64) bool { return s.held.Try(units * s.unitBytes()) }
	s.first.init(s, 0)
}

// Attach gives the session its client: see [wsock.Session.Attach].
func (s *Session) Attach(conn *wsock.Conn) bool {
	s.first.conn = conn
	return s.first.ws.Attach(conn)
}

// Own names the actor that is told how the session fares. Called once, before
// any other of its methods.
func (s *Session) Own(owner *actor.PID) {
	s.owner = owner
	s.first.ws.Own(owner)
}

// Tell sends a message to the owner. Any goroutine may call it.
func (s *Session) Tell(message any) { s.settings.Host.Send(s.owner, message) }

// Log returns the log of all sessions.
func (s *Session) Log() *slog.Logger { return s.settings.Host.Log() }

// Closing returns a context that ends when the session begins to close.
// Any goroutine may call it.
func (s *Session) Closing() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing == nil { // most relays never need it
		s.closing, s.cancel = context.WithCancel(context.Background())
		if s.reason != "" {
			s.cancel()
		}
	}
	return s.closing
}

// Conn returns the WebSocket of the moment, nil while there is none.
func (s *Session) Conn() *wsock.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.socket == nil {
		return nil
	}
	return s.socket.conn
}

// Announce tells the client by which token it can take the session up, and begins
// to read it.
func (s *Session) Announce(token string) {
	s.mu.Lock()
	s.token, s.begun = token, true
	s.begin(&s.first)
}

// TakeUp goes on with another WebSocket: see [messages.Resumable].
func (s *Session) TakeUp(conn *wsock.Conn, number uint32, position uint64) messages.Reason {
	s.mu.Lock()
	switch {
	case s.over, s.cut, s.clientEnded, s.reason != "" && !s.reason.IsAnswered():
		s.mu.Unlock()
		return messages.ReasonNoSession
	case position > s.out.Sent(), position < s.out.Acknowledged():
		s.mu.Unlock()
		return messages.ReasonNotContinued
	}
	old, older, reason := s.socket, s.before, s.reason
	k := &socket{conn: conn}
	k.init(s, number)
	k.ws.Own(s.owner)
	k.ws.Attach(conn)
	if s.rewind = position; reason != "" {
		s.last = k
	}
	if old != nil {
		s.before = old
	}
	s.begin(k)
	if old != nil {
		if older != nil { // or there could be any number that linger
			older.ws.Drop()
		}
		old.ws.Interrupt()
		old.finish(messages.ReasonTakenOver)
	} else if older != nil { // the writer may still be at it
		older.ws.Interrupt()
	}
	if reason != "" {
		k.finish(reason)
	}
	return ""
}

// begin makes k the WebSocket of the session. Called with mu, which it gives back.
func (s *Session) begin(k *socket) {
	// What asks the client for a sign of life is a message: a page sees no pings, and
	// middle boxes answer them themselves.
	k.conn.PingBy(pingFrames[s.opcode])
	if s.unit == replay.Bytes && s.settings.Buffer > wsock.SendBuffer {
		// What may be under way must be with the kernel. A fourth of it is its overhead:
		// over 50 ms, 4 MiB are 540 Mbit/s with as much, and 630 with a fourth more.
		k.conn.RaiseSendBuffer(s.settings.Buffer + s.settings.Buffer/4)
	}
	s.socket, s.number, s.endSent = k, k.number, false
	s.changed.Broadcast()
	writing := s.writing
	s.writing = true
	s.mu.Unlock()
	k.read()
	if !writing {
		wsock.StartPump(s.Log(), "resume out", s.write, func() {})
	}
}

// Finish begins the end of the session. The first call counts, later ones change
// nothing. What is kept is sent, and the close frame. closed is called when the
// session is over: when the client has answered, or for most reasons without that.
func (s *Session) Finish(reason messages.Reason, closed func(messages.Reason)) {
	s.mu.Lock()
	if s.reason != "" {
		s.mu.Unlock()
		return
	}
	s.reason, s.closed = reason, closed
	k := s.socket
	if !s.begun {
		k = &s.first // maybe it will never be attached
	}
	s.last = k
	s.changed.Broadcast() // this ends what waits
	cancel := s.cancel
	s.mu.Unlock()
	if cancel != nil {
		cancel()
	}
	switch {
	case k != nil:
		k.finish(reason)
	case !reason.IsAnswered():
		s.end(reason)
	default:
		s.endLater()
	}
}

// endLater ends a session that closes, whose client is waited for, if its owner has
// not seen to that by then: it may be no more. Who has come back meanwhile, and was lost
// again, has time of its own.
// Only the latest of them is waited for: a client may come and go as often as it likes.
func (s *Session) endLater() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	if s.later != nil {
		s.later.Stop()
	}
	number := s.number
	s.later = time.AfterFunc(s.settings.Timeout+messages.Linger, func() {
		s.mu.Lock()
		left := s.socket == nil && s.number == number
		s.mu.Unlock()
		if left {
			s.end(s.reason)
		}
	})
}

// Cut ends the waiting for the client of a session that closes: what it has not
// taken is lost.
func (s *Session) Cut() {
	s.mu.Lock()
	s.cut = true
	k, reason := s.socket, s.reason
	s.mu.Unlock()
	switch {
	case k != nil:
		k.ws.Cut()
	case reason != "":
		s.end(reason)
	}
}

// WasCut reports whether Cut was called. Any goroutine may call it.
func (s *Session) WasCut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cut
}

// end gives everything back. The session is over.
func (s *Session) end(reason messages.Reason) {
	s.mu.Lock()
	if s.over {
		s.mu.Unlock()
		return
	}
	s.over, s.socket = true, nil
	if s.later != nil {
		s.later.Stop()
	}
	s.out.Drop()
	s.in.Drop()
	s.held.Add(-s.reserved - s.counted)
	s.reserved, s.counted = 0, 0
	s.changed.Broadcast()
	s.mu.Unlock()
	s.closed(reason)
}
