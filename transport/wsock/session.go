package wsock

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
)

// A Host is what the sessions of a process share. Any goroutine may use it.
type Host struct {
	Flows Flows // what its sessions move
	// Brief has a goroutine call run, one that has called others before: its stack has
	// grown. It never waits. Set before there are sessions; nil = each has its own.
	Brief func(run func())

	root       *actor.RootContext
	keepalive  *Keepalive
	log        *slog.Logger
	attached   atomic.Int64 // sessions that have a WebSocket and are not closed
	restarting atomic.Int64 // sessions that a shutdown ends; 0 while the server lives
}

// NewHost returns a host whose sessions send through root and are judged by
// keepalive. All arguments are required.
func NewHost(root *actor.RootContext, keepalive *Keepalive, log *slog.Logger) *Host {
	return &Host{root: root, keepalive: keepalive, log: log}
}

// Log returns the log that all sessions share.
func (h *Host) Log() *slog.Logger { return h.log }

// Send sends a message to an actor.
func (h *Host) Send(to *actor.PID, message any) { h.root.Send(to, message) }

// AnnounceRestart counts the clients that are to come back: it says how long
// each is told to wait at most, see [messages.RestartText]. Called once, before
// the sessions are told to end.
func (h *Host) AnnounceRestart() { h.restarting.Store(h.attached.Load()) }

// A Session is the server's end of what a client has begun: a relay, or a
// tunnel. It has a WebSocket, which [Session.Attach] gives it: the session's
// state is its own, so that another WebSocket could take the place of one that
// was lost.
//
// The HTTP handler makes it and attaches the Conn. An actor, its owner, says
// what happens when, by the type that has the Session as a part. Methods whose
// comment names no caller are the owner's, and return at once.
type Session struct {
	host  *Host                     // set once
	ended func(messages.Reason) any // the message that says why a pump has ended; set once
	owner *actor.PID                // set by Own, before anything else runs
	conn  *Conn                     // set by Attach, before the owner hears of it

	state   atomic.Int32       // sessionOpen, sessionAttached, sessionClosing
	discard atomic.Bool        // the session is closing: what is read goes nowhere
	cut     atomic.Bool        // Cut was called
	dropped atomic.Bool        // Drop was called
	closing context.Context    // ends when the session begins to close
	cancel  context.CancelFunc // of closing

	at         *place         // of the reading pump, its own; nil until it starts
	reader     sync.WaitGroup // of the reading pump
	reads      bool           // it was started
	released   bool           // of the pump that Finish starts: the Conn is closed
	closeFrame bool           // the client sent a close frame; set before the owner hears of that, and before the reading pump has ended
	closeCode  int            // of the client's close frame, 0 without one; set as closeFrame is
	halfClosed atomic.Bool    // the client ended its TCP stream without a close frame; set before the owner hears of it
	garbled    bool           // the client's frames can't be told apart any more; set before the reading pump has ended
}

// A session is open until it gets the client's WebSocket or is finished,
// whichever is first: both race when an actor fails during the handshake.
const (
	sessionOpen int32 = iota
	sessionAttached
	sessionClosing
)

// Init makes the zero Session one of host's. ended makes the message by which
// the owner hears that a pump has ended, and why.
func (s *Session) Init(host *Host, ended func(messages.Reason) any) {
	s.host, s.ended = host, ended
	s.closing, s.cancel = context.WithCancel(context.Background())
}

// Attach gives the session its client, and reports whether the session still
// wants it. If not, the Conn remains the caller's. The HTTP handler calls it.
func (s *Session) Attach(conn *Conn) bool {
	s.conn = conn
	if conn.limiter != nil {
		conn.closing = s.closing.Done()
	}
	conn.gaveUp = func(reason messages.Reason) { s.Tell(s.ended(reason)) }
	if !s.state.CompareAndSwap(sessionOpen, sessionAttached) {
		return false
	}
	s.host.attached.Add(1)
	return true
}

// Own names the actor that is told how the session fares. Called once, before
// any other of its methods.
func (s *Session) Own(owner *actor.PID) { s.owner = owner }

// Conn returns the session's WebSocket, nil before Attach.
func (s *Session) Conn() *Conn { return s.conn }

// Host returns what was given to Init.
func (s *Session) Host() *Host { return s.host }

// Log returns the log of all sessions.
func (s *Session) Log() *slog.Logger { return s.host.log }

// Closing returns a context that ends when the session begins to close.
func (s *Session) Closing() context.Context { return s.closing }

// Discarding reports whether what is read goes nowhere any more.
func (s *Session) Discarding() bool { return s.discard.Load() }

// Tell sends a message to the owner. Any goroutine may call it.
func (s *Session) Tell(message any) { s.host.root.Send(s.owner, message) }

// Pump starts one of the session's pumps. The channel is closed at its end,
// after the owner was told the reason.
func (s *Session) Pump(name string, run func() messages.Reason) (done chan struct{}) {
	done = make(chan struct{})
	reason := messages.ReasonInternal
	StartPump(s.host.log, name, func() { reason = run() }, func() {
		s.Tell(s.ended(reason)) // before those that wait for done say anything
		close(done)
	})
	return done
}

// Read starts the pump that reads the client.
func (s *Session) Read(name string, r Receiver) {
	s.reads = true
	s.reader.Add(1)
	s.startReading(name, &r)
}

func (s *Session) startReading(name string, r *Receiver) {
	reason, again := messages.ReasonInternal, false
	StartPump(s.host.log, name, func() { reason, again = s.receiveAll(r) }, func() {
		if again {
			s.at.in.Again(func() { s.startReading(name, r) })
			return
		}
		s.Tell(s.ended(reason)) // before those that wait for it say anything
		s.reader.Done()
	})
}

// CloseFrame returns the code of the client's close frame, 0 if that has none, and
// whether there was one. Called when the reading pump has ended, or by what it
// calls to tell the owner so.
func (s *Session) CloseFrame() (code int, sent bool) { return s.closeCode, s.closeFrame }

// AwaitReader waits until the reading pump has ended. It is not called before Read.
func (s *Session) AwaitReader() { s.reader.Wait() }
