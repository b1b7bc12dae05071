package mux

import (
	"context"
	"fmt"
	"sync"
	"time"

	"wsproxy/messages"
	"wsproxy/transport/wsock/replay"
)

const (
	// MaxStreams is how many connections may be open at once; the server's own limits
	// are 100 of HTTP and 100 raw ones, unless its operator wants more. Each may have
	// 256 KiB waiting for this process.
	MaxStreams = 1024
	// maxAnswers is how many answers may wait to be sent to a server that doesn't read
	// them, before nothing more that it sends counts as passed on: then it may not
	// send any more.
	maxAnswers = 1024
	// Units is how many messages a server may have under way to a tunnel's client: they
	// are passed on at once, so this is none of memory, and with small ones, of 1.4 KB, it
	// is 230 Mbit/s over 50 ms.
	Units = 1024
	// closeLinger is how long what was written to connections before Close may take
	// to be sent, which credit can hold up, and then the session to end.
	closeLinger = 5 * time.Second

	// readyPatience is how long tunnel_ready may take, another WebSocket included: an
	// honest server has nothing to wait for.
	readyPatience = 30 * time.Second

	// settle is how long the session is kept when the last connection over which the
	// server speaks HTTP has ended: a request whose answer the server has not looked at when
	// it hears of the tunnel's end is answered with 502.
	settle = 250 * time.Millisecond

	codeNormal   = 1000
	codeProtocol = 1002
)

// A Session carries the messages of a Mux. Its methods return at once, and any
// goroutine may call them.
type Session interface {
	// Wake says that Next has something again.
	Wake()
	// Passed says that so many messages are passed on.
	Passed(units int64)
	// Close ends the session behind everything that Next has.
	Close(code int, reason string)
	// Abort ends it at once.
	Abort(code int, reason string)
}

// A Mux is a tunnel's connections. Any goroutine may use it.
type Mux struct {
	// HTTP and Raw give out the connections over which the server speaks HTTP,
	// and those of outside peers.
	HTTP, Raw *Listener
	// Fresh returns a fresh token, before the session ends with the one that it has; nil
	// for none. It is called by a goroutine of its own, and set before Attach.
	Fresh func() (string, error)

	readied chan struct{} // closed when tunnel_ready has come, or the Mux has ended
	done    chan struct{} // closed when the session has ended

	mu      sync.Mutex
	session Session // nil before Attach
	tell    telling
	asleep  bool // Next had nothing
	ready   *messages.Ready
	url     addr // of the tunnel, and host and port of raw connections: set with ready
	rawAddr addr
	streams map[string]*Stream
	recent  recentIDs

	answers   [][]byte  // control messages about streams that there are not
	crediting []*Stream // those that have credit to give
	turns     turns
	widened   int   // bytes that windows have reserved
	withheld  int64 // messages that don't count as passed on, for the answers are too many

	renewing bool // Fresh is being asked

	leaving bool      // nothing new is taken, and the session ends with the last stream
	settled time.Time // when the session may be closed at the earliest
	closed  bool      // the session was told to close
	ended   bool      // the session has ended, or broke the protocol
	err     error     // why it ended; nil if in order
}

// telling is what the session is to be told, without mu.
type telling struct {
	wake   bool
	passed int64
	code   int // of Close; 0 = not yet
	reason string
}

// New returns a Mux that waits for its session. raw says whether raw
// connections are wanted; else they are refused.
func New(raw bool) *Mux {
	m := &Mux{streams: make(map[string]*Stream), readied: make(chan struct{}), done: make(chan struct{}), asleep: true}
	m.HTTP, m.Raw = newListener(m, false), newListener(m, !raw)
	return m
}

// Attach joins the Mux to the session of which it is the source and the sink,
// which may have called it before.
func (m *Mux) Attach(s Session) {
	m.mu.Lock()
	m.session = s
	m.unlock()
}

var errNotReady = fmt.Errorf("%w: tunnel_ready has not come within %v", ErrProtocol, readyPatience)

// Ready waits for tunnel_ready, the server's first message, and not for ever.
func (m *Mux) Ready(ctx context.Context) (messages.Ready, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, readyPatience, errNotReady)
	defer cancel()
	select {
	case <-m.readied:
	case <-ctx.Done():
		return messages.Ready{}, context.Cause(ctx)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ready == nil {
		return messages.Ready{}, m.endError()
	}
	return *m.ready, nil
}

// Done returns what is closed when the session has ended.
func (m *Mux) Done() <-chan struct{} { return m.done }

// Err returns why the session ended; nil before that, and if it ended in order.
func (m *Mux) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// endError is what connections of a session that has ended say. Under mu.
func (m *Mux) endError() error { return &Error{Reason: reasonTunnel, Err: m.err} }

// unlock releases mu and tells the session what there is to be told. Nothing
// of that happens under mu: a session may call back.
func (m *Mux) unlock() {
	s, tell := m.session, m.tell
	if s != nil {
		m.tell = telling{}
	}
	m.mu.Unlock()
	if s == nil {
		return // Attach tells it
	}
	if tell.passed > 0 {
		s.Passed(tell.passed)
	}
	if tell.wake {
		s.Wake()
	}
	if tell.code != 0 {
		s.Close(tell.code, tell.reason)
	}
}

// wake has Next called if it had nothing. Under mu.
func (m *Mux) wake() {
	m.tell.wake = m.tell.wake || m.asleep
	m.asleep = false
}

// Next returns the message that is to be sent next: what concerns credit and
// streams that there are not, else of the stream whose turn it is.
func (m *Mux) Next(units int64) (replay.Message, bool) {
	m.mu.Lock()
	defer m.unlock()
	if units < 1 {
		return replay.Message{}, false
	}
	if b := m.nextControl(); b != nil {
		return replay.Message{Payload: b, JSON: true}, true
	}
	s := m.turns.next()
	if s == nil || m.ended {
		m.asleep = true
		return replay.Message{}, false
	}
	message := s.nextMessage()
	m.turns.sent(s, len(message.Payload))
	return message, true
}

// nextControl returns the next control message that goes before all data, or nil.
// Under mu.
func (m *Mux) nextControl() []byte {
	if len(m.answers) > 0 {
		b := m.answers[0]
		m.answers[0] = nil
		if m.answers = m.answers[1:]; len(m.answers) == 0 {
			m.answers = nil
		}
		if m.withheld > 0 && len(m.answers) < maxAnswers {
			m.tell.passed, m.withheld = m.tell.passed+m.withheld, 0
		}
		return b
	}
	for len(m.crediting) > 0 {
		s := m.crediting[0]
		m.crediting[0] = nil
		if m.crediting = m.crediting[1:]; len(m.crediting) == 0 {
			m.crediting = nil
		}
		if n := s.giving; n > 0 {
			s.giving = 0
			return messages.EncodeCredit(s.id, n)
		}
	}
	return nil
}

// Close ends the tunnel: nothing new is taken, connections that are open are
// reset. What was written to those that were closed before is still sent, for
// some seconds, and then the session is closed. Done says when all of that is over.
func (m *Mux) Close() {
	m.mu.Lock()
	defer m.unlock()
	m.leave()
	for _, s := range m.streams {
		if !s.closed {
			s.closeFor(endReset)
		}
	}
	if !m.ended {
		time.AfterFunc(closeLinger, m.giveUp)
	}
}

// giveUp resets what is left, so that the session closes, and has it end at last.
func (m *Mux) giveUp() {
	m.mu.Lock()
	defer m.unlock()
	for _, s := range m.streams {
		s.closeFor(endReset) // else what is cut here could look whole outside
	}
	if s := m.session; s != nil && !m.ended {
		m.abortLater(codeNormal, "")
	}
}

// abortLater has the session end at last, whatever the server does.
func (m *Mux) abortLater(code int, reason string) {
	time.AfterFunc(closeLinger, func() {
		m.mu.Lock()
		s := m.session
		m.unlock()
		select {
		case <-m.done:
		default:
			if s != nil {
				s.Abort(code, reason)
			}
		}
	})
}

// Shutdown takes nothing new, waits until the program has closed all
// connections and what was written to them is sent, and closes the session. It
// waits for the end of that. If ctx ends first, the connections that are left are
// reset, and it returns the cause of that.
func (m *Mux) Shutdown(ctx context.Context) error {
	m.mu.Lock()
	m.leave()
	m.unlock()
	stop := context.AfterFunc(ctx, m.giveUp)
	defer stop()
	select {
	case <-m.done:
		return m.Err()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// leave takes nothing new, and has the session end with the last stream. Under mu.
func (m *Mux) leave() {
	m.HTTP.close()
	m.Raw.close()
	m.leaving = true
	m.closeIfEmpty()
}

// closeIfEmpty closes the session if the Mux leaves and nothing is left of its
// streams. Under mu.
func (m *Mux) closeIfEmpty() {
	if !m.leaving || len(m.streams) > 0 || m.closed || m.ended {
		return
	}
	if wait := time.Until(m.settled); wait > 0 {
		time.AfterFunc(wait, func() {
			m.mu.Lock()
			defer m.unlock()
			m.closeIfEmpty()
		})
		return
	}
	m.closed = true
	m.tell.code = codeNormal
}

// fail ends a session that can't go on. A server that doesn't answer to that is not
// asked for the session until its time is over. Under mu.
func (m *Mux) fail(why string) {
	if m.ended {
		return
	}
	m.end(fmt.Errorf("%w: %s", ErrProtocol, why))
	m.closed = true
	m.tell.code, m.tell.reason = codeProtocol, why
	m.abortLater(codeProtocol, why)
}

// end ends everything but the session. Under mu.
func (m *Mux) end(err error) {
	m.ended, m.err = true, err
	broken := m.endError()
	for _, s := range m.streams {
		s.broke(broken)
	}
	m.answers, m.crediting = nil, nil
	m.HTTP.end()
	m.Raw.end()
	if m.ready == nil {
		close(m.readied)
	}
}

// Ended says that the session has ended, and why: nil if in order.
func (m *Mux) Ended(err error) {
	m.mu.Lock()
	defer m.unlock()
	if !m.ended {
		m.end(err)
	}
	close(m.done)
}

// PeerEnded is of relays: a tunnel's server has no end but that of the session.
func (m *Mux) PeerEnded() {}
