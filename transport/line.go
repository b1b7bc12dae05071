package transport

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
	"wsproxy/netpolicy"
)

// A line is a relay session's two sockets and the pumps between them. The
// HTTP handler makes it and attaches the client's socket; a relay actor says
// what happens when. See [messages.Pair] for who owns what.
type line struct {
	tools  *lineTools       // set once
	target netpolicy.Target // set once
	access *Access          // set once; nil for plain TCP
	owner  *actor.PID       // set by Own, before anything else runs
	ctx    context.Context  // ends resolving and dialling; nil after that
	cancel context.CancelFunc

	addrs  []netip.AddrPort // what Resolve found; then Dial's
	client *socket          // set by attach, before the actor hears of it
	far    far              // set by Dial's pump, before the actor hears of it

	state     atomic.Int32  // lineOpen, lineAttached, lineFinishing
	discard   atomic.Bool   // the line is closing: what is read goes nowhere
	dialed    chan struct{} // closed when Dial's pump has ended; nil until it starts
	upDone    chan struct{} // closed when the up pump has ended; nil until it starts
	downDone  chan struct{} // closed when the down pump has ended; nil until it starts
	up, down  atomic.Int64  // payload bytes copied
	echoClose int           // the code of the client's close frame; set before upDone is closed
	garbled   bool          // the client sent frames that can not be told apart; set before upDone is closed
}

// What all lines share.
type lineTools struct {
	root        *actor.RootContext
	policy      *netpolicy.Policy
	keepalive   *Keepalive
	dialTimeout time.Duration // bounds resolving, and dialling
	ping        time.Duration
	log         *slog.Logger
}

// A line is open until it gets the client's socket or is finished, whichever
// is first: both race when an actor fails during the handshake.
const (
	lineOpen int32 = iota
	lineAttached
	lineFinishing
)

func newLine(tools *lineTools, target netpolicy.Target, access *Access) *line {
	l := &line{tools: tools, target: target, access: access}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// attach gives the line its client, and reports whether the line still wants
// it. If not, the socket remains the caller's.
func (l *line) attach(client *socket) bool {
	l.client = client
	return l.state.CompareAndSwap(lineOpen, lineAttached)
}

func (l *line) Own(owner *actor.PID) { l.owner = owner }

func (l *line) Moved() (up, down int64) { return l.up.Load(), l.down.Load() }

func (l *line) tell(message any) { l.tools.root.Send(l.owner, message) }

func (l *line) Resolve() {
	refused := true
	startPump(l.tools.log, "resolve", func() {
		ctx, cancel := context.WithTimeout(l.ctx, l.tools.dialTimeout)
		defer cancel()
		addrs, err := l.tools.policy.Resolve(ctx, l.target)
		if err != nil {
			l.tools.log.Debug("target refused", "target", l.target.String(), "error", err)
			return
		}
		l.addrs, refused = addrs, false
	}, func() {
		l.tell(&messages.TargetResolved{Refused: refused})
	})
}

func (l *line) Dial() {
	l.dialed = make(chan struct{})
	failure := messages.ReasonInternal
	startPump(l.tools.log, "dial", func() {
		var blocked *netpolicy.BlockedError
		switch err := l.dial(); {
		case err == nil:
			failure = ""
		case errors.As(err, &blocked):
			failure = messages.ReasonTargetBlocked
			l.tools.log.Debug("target blocked", "target", l.target.String(), "error", err)
		default:
			failure = messages.ReasonTargetUnreachable
			l.tools.log.Debug("target not reached", "target", l.target.String(), "error", err)
		}
	}, func() {
		l.tell(&messages.TargetDialed{Failure: failure})
		close(l.dialed)
	})
}

func (l *line) dial() error {
	ctx, cancel := context.WithTimeout(l.ctx, l.tools.dialTimeout)
	defer cancel()
	addrs := l.addrs
	l.addrs = nil
	if l.access != nil {
		access := *l.access
		l.access = nil // nothing keeps the secret longer than it needs
		far, err := dialAccess(ctx, func(ctx context.Context) (*net.TCPConn, error) {
			return l.tools.policy.Dial(ctx, addrs)
		}, l.target, access, l.tools.ping)
		if err != nil {
			return err
		}
		l.far = far
		return nil
	}
	conn, err := l.tools.policy.Dial(ctx, addrs)
	if err != nil {
		return err
	}
	far, err := newTCPFar(conn)
	if err != nil {
		conn.Close()
		return err
	}
	l.far = far
	return nil
}

func (l *line) Pump() {
	l.cancel()
	l.ctx = nil // what only resolving and dialling needed is not kept for the session's life
	l.client.gaveUp = func(reason messages.Reason) { l.tell(&messages.PumpEnded{Reason: reason}) }
	l.upDone = l.pump("up", func() messages.Reason {
		l.tools.keepalive.add(l.client) // here, because it may wait for a beat
		return l.pumpUp()
	})
	l.downDone = l.pump("down", l.pumpDown)
}

// pump starts one of the two copying pumps. The channel is closed at its end.
func (l *line) pump(name string, run func() messages.Reason) chan struct{} {
	done := make(chan struct{})
	reason := messages.ReasonInternal
	startPump(l.tools.log, name, func() { reason = run() }, func() {
		l.tell(&messages.PumpEnded{Reason: reason}) // before those that wait for done say anything
		close(done)
	})
	return done
}
