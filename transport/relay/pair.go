package relay

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
	"wsproxy/netpolicy"
	"wsproxy/transport/renewer"
	"wsproxy/transport/resume"
	"wsproxy/transport/wsock"
	"wsproxy/transport/wsock/replay"
)

// A Pair is a relay session's two connections, downstream to the client and
// upstream to the target, and the pumps between them. See [messages.Pair] for
// who owns what.
type Pair struct {
	life     life
	session  *wsock.Session   // of a session that ends with its WebSocket
	lasting  *resume.Session  // of one that outlives it; else nil
	sink     *lastingUp       // of lasting
	settings *Settings        // set once
	target   netpolicy.Target // set once
	access   *Access          // nil for plain TCP; Dial's, which lets go of it

	refusal  error            // why Resolve has refused the target; its pump's until it has told
	blocked  func(error)      // told why the target is blocked when it is dialled; Dial's, which lets go of it
	addrs    []netip.AddrPort // what Resolve found; then Dial's
	upstream upstream         // set by Dial's pump, before dialed is closed
	early    early            // what the client sends before that

	// stop ends resolving and dialling while a pump is at it; else nil. No part of the
	// session's context, which would keep a table of those that have ended.
	stop     atomic.Pointer[context.CancelFunc]
	dialed   chan struct{}  // closed when Dial's pump has ended; nil until it starts
	downing  sync.WaitGroup // of the down pump
	up, down atomic.Int64   // payload bytes copied

	ends      atomic.Int32 // of lasting: directions that have ended in order
	sides     atomic.Int32 // of lasting: sides that are closed
	finishing bool         // of lasting: Finish was called; the owner's
}

// A life is what is the same of a session, whether it outlives its WebSocket or not.
type life interface {
	Own(owner *actor.PID)
	Tell(message any)
	Log() *slog.Logger
	Cut()
	WasCut() bool
}

// An Observer is told how long what targets need took. Its methods are called by many
// goroutines.
type Observer interface {
	// LookedUp is told of look-ups, and whether the target was refused.
	LookedUp(took time.Duration, refused bool)
	// Dialed is told of dials, and why one has failed, or "".
	Dialed(took time.Duration, failure messages.Reason)
}

// Settings are what all pairs share. All fields but Resume and Observer are
// required.
type Settings struct {
	Host        *wsock.Host
	Policy      *netpolicy.Policy
	DialTimeout time.Duration // bounds resolving, and dialling
	Ping        time.Duration // between two pings to a service behind Cloudflare Access
	// Resume is for sessions that outlive their WebSocket; nil if there are none.
	Resume   *resume.Settings
	Observer Observer // nil for none
}

// NewPair returns a pair that leads to target, by plain TCP or, if access is
// not nil, to the service behind Cloudflare Access there. It starts nothing.
func NewPair(settings *Settings, target netpolicy.Target, access *Access) *Pair {
	all := new(struct { // one piece of memory: small ones would lie scattered among the garbage of handshakes
		pair    Pair
		session wsock.Session
	})
	p := &all.pair
	*p = Pair{settings: settings, target: target, access: access, session: &all.session}
	p.session.Init(settings.Host, func(reason messages.Reason) any { return &messages.PumpEnded{Reason: reason} })
	p.life = p.session
	return p
}

// NewLastingPair is NewPair for a client whose session outlives its WebSocket. user
// is whose part of what all such sessions may hold it has, fresh what judges its client's
// fresh tokens; nil if it doesn't end with its token.
func NewLastingPair(settings *Settings, target netpolicy.Target, access *Access, user string, fresh *renewer.Renewer) *Pair {
	all := new(struct { // as NewPair's
		pair    Pair
		session resume.Session
		sink    lastingUp
	})
	p := &all.pair
	*p = Pair{settings: settings, target: target, access: access, lasting: &all.session, sink: &all.sink}
	p.sink.pair = p
	p.lasting.Init(settings.Resume, resume.Options{
		Unit: replay.Bytes, Opcode: wsock.OpText, User: user, Sink: p.sink,
		Renewer: fresh,
	})
	p.life = p.lasting
	return p
}

// Attach gives the pair its client: see [wsock.Session.Attach].
func (p *Pair) Attach(client *wsock.Conn) bool {
	if p.lasting != nil {
		return p.lasting.Attach(client)
	}
	return p.session.Attach(client)
}

// Own names the actor that is told how the pair fares.
func (p *Pair) Own(owner *actor.PID) { p.life.Own(owner) }

// Moved returns the payload bytes copied so far.
func (p *Pair) Moved() (up, down int64) { return p.up.Load(), p.down.Load() }

func (p *Pair) movedUp(n int64) {
	p.up.Add(n)
	p.settings.Host.Flows.Relays.FromClient.Add(n)
}

func (p *Pair) movedDown(n int64) {
	p.down.Add(n)
	p.settings.Host.Flows.Relays.ToClient.Add(n)
}

// bounded returns the context of a pump that resolves or dials. It ends with the pair, and
// with [Pair.unbound]. The owner calls it.
func (p *Pair) bounded() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), p.settings.DialTimeout)
	p.stop.Store(&cancel)
	return ctx
}

func (p *Pair) unbound() {
	if stop := p.stop.Swap(nil); stop != nil {
		(*stop)()
	}
}

// Resolve looks the target up and judges its addresses. Of an address there is nothing to
// look up, and so nothing to wait for in a pump.
func (p *Pair) Resolve() {
	if p.target.Literal() {
		p.addrs, p.refusal = p.settings.Policy.Resolve(context.Background(), p.target)
		p.life.Tell(&messages.TargetResolved{Refused: p.refusal != nil})
		return
	}
	refused, began, ctx := true, time.Now(), p.bounded()
	p.settings.Host.StartBrief("resolve", func() {
		defer p.unbound()
		addrs, err := p.settings.Policy.Resolve(ctx, p.target)
		if err != nil {
			p.refusal = err
			return
		}
		p.addrs, refused = addrs, false
	}, func() {
		if p.settings.Observer != nil {
			p.settings.Observer.LookedUp(time.Since(began), refused)
		}
		p.life.Tell(&messages.TargetResolved{Refused: refused})
	})
}

// Refusal returns why the target was refused, once that is known.
func (p *Pair) Refusal() error { return p.refusal }

// OnBlocked has told be called, by the pump that dials, with why the target turned out
// to be blocked when it was dialled, if it does. It is called before Dial.
func (p *Pair) OnBlocked(told func(cause error)) { p.blocked = told }

// Dial connects to an address that was judged. Meanwhile the client is read: a
// client that leaves is noticed, and what it sends waits for the target.
func (p *Pair) Dial() {
	p.dialed = make(chan struct{})
	boundaries := p.access != nil // Dial's pump lets go of it
	dialed, began, ctx := messages.TargetDialed{Failure: messages.ReasonInternal}, time.Now(), p.bounded()
	p.settings.Host.StartBrief("dial", func() {
		told := p.blocked
		p.blocked = nil
		var blocked *netpolicy.BlockedError
		switch err := p.dial(ctx, &dialed); {
		case err == nil:
			dialed.Failure = ""
		case errors.As(err, &blocked):
			dialed.Failure = messages.ReasonTargetBlocked
			if told != nil {
				told(err)
			}
		default:
			dialed.Failure = messages.ReasonTargetUnreachable
			p.life.Log().Debug("target not reached", "target", p.target.String(), "error", err)
		}
	}, func() {
		if p.settings.Observer != nil {
			p.settings.Observer.Dialed(time.Since(began), dialed.Failure)
		}
		p.life.Tell(&dialed)
		close(p.dialed)
	})
	if p.lasting == nil { // which reads since it was announced
		p.pumpUp(boundaries)
	}
}

// dial connects, and notes in ends between which addresses.
func (p *Pair) dial(ctx context.Context, ends *messages.TargetDialed) error {
	defer p.unbound()
	addrs, access := p.addrs, p.access
	p.addrs, p.access = nil, nil // nothing keeps the secret longer than it needs
	dial := func(ctx context.Context) (*net.TCPConn, error) {
		conn, err := p.settings.Policy.Dial(ctx, addrs)
		if err == nil {
			ends.Address, ends.Local = addrPort(conn.RemoteAddr()), addrPort(conn.LocalAddr())
		}
		return conn, err
	}
	if access != nil {
		to, err := dialAccess(ctx, dial, p.target, *access, p.settings.Ping)
		if err != nil {
			return err
		}
		return p.connected(ctx, to)
	}
	conn, err := dial(ctx)
	if err != nil {
		return err
	}
	to, err := newTCPUpstream(conn)
	if err != nil {
		conn.Close()
		return err
	}
	return p.connected(ctx, to)
}

// addrPort returns a TCP address as the log has it.
func addrPort(a net.Addr) netip.AddrPort {
	tcp, _ := a.(*net.TCPAddr)
	at := tcp.AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

// connected passes on what the client has sent already, and lets the rest go
// straight to the target. No target takes long for so little. One that has not
// taken it when the session closes, or when the time is up, is as if it had not
// been reached: half of it must not look like all.
func (p *Pair) connected(ctx context.Context, to upstream) error {
	settled := context.AfterFunc(ctx, func() { _ = to.SetWriteDeadline(wsock.LongAgo) })
	p.movedUp(p.early.open(to))
	if !settled() {
		to.abort()
		return context.Cause(ctx)
	}
	p.upstream = to
	return nil
}

// Pump starts copying from the target to the client. The other direction has
// begun with Dial.
func (p *Pair) Pump() {
	p.downing.Add(1)
	p.startPumpDown()
}
