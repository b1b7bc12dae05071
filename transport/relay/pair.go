package relay

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
	"wsproxy/netpolicy"
	"wsproxy/transport/wsock"
)

// A Pair is a relay session's two connections, downstream to the client and
// upstream to the target, and the pumps between them. See [messages.Pair] for
// who owns what.
type Pair struct {
	session  wsock.Session
	settings *Settings        // set once
	target   netpolicy.Target // set once
	access   *Access          // nil for plain TCP; Dial's, which lets go of it

	addrs    []netip.AddrPort // what Resolve found; then Dial's
	upstream upstream         // set by Dial's pump, before dialed is closed
	early    early            // what the client sends before that

	dialed   chan struct{} // closed when Dial's pump has ended; nil until it starts
	downDone chan struct{} // closed when the down pump has ended; nil until it starts
	up, down atomic.Int64  // payload bytes copied
}

// Settings are what all pairs share. All fields are required.
type Settings struct {
	Host        *wsock.Host
	Policy      *netpolicy.Policy
	DialTimeout time.Duration // bounds resolving, and dialling
	Ping        time.Duration // between two pings to a service behind Cloudflare Access
}

// NewPair returns a pair that leads to target, by plain TCP or, if access is
// not nil, to the service behind Cloudflare Access there. It starts nothing.
func NewPair(settings *Settings, target netpolicy.Target, access *Access) *Pair {
	p := &Pair{settings: settings, target: target, access: access}
	p.session.Init(settings.Host, func(reason messages.Reason) any { return &messages.PumpEnded{Reason: reason} })
	return p
}

// Attach gives the pair its client: see [wsock.Session.Attach].
func (p *Pair) Attach(client *wsock.Conn) bool { return p.session.Attach(client) }

// Own names the actor that is told how the pair fares.
func (p *Pair) Own(owner *actor.PID) { p.session.Own(owner) }

// Moved returns the payload bytes copied so far.
func (p *Pair) Moved() (up, down int64) { return p.up.Load(), p.down.Load() }

// Resolve looks the target up and judges its addresses.
func (p *Pair) Resolve() {
	refused := true
	wsock.StartPump(p.session.Log(), "resolve", func() {
		ctx, cancel := context.WithTimeout(p.session.Closing(), p.settings.DialTimeout)
		defer cancel()
		addrs, err := p.settings.Policy.Resolve(ctx, p.target)
		if err != nil {
			p.session.Log().Debug("target refused", "target", p.target.String(), "error", err)
			return
		}
		p.addrs, refused = addrs, false
	}, func() {
		p.session.Tell(&messages.TargetResolved{Refused: refused})
	})
}

// Dial connects to an address that was judged. Meanwhile the client is read: a
// client that leaves is noticed, and what it sends waits for the target.
func (p *Pair) Dial() {
	p.dialed = make(chan struct{})
	boundaries := p.access != nil // Dial's pump lets go of it
	failure := messages.ReasonInternal
	wsock.StartPump(p.session.Log(), "dial", func() {
		var blocked *netpolicy.BlockedError
		switch err := p.dial(); {
		case err == nil:
			failure = ""
		case errors.As(err, &blocked):
			failure = messages.ReasonTargetBlocked
			p.session.Log().Debug("target blocked", "target", p.target.String(), "error", err)
		default:
			failure = messages.ReasonTargetUnreachable
			p.session.Log().Debug("target not reached", "target", p.target.String(), "error", err)
		}
	}, func() {
		p.session.Tell(&messages.TargetDialed{Failure: failure})
		close(p.dialed)
	})
	p.pumpUp(boundaries)
}

func (p *Pair) dial() error {
	ctx, cancel := context.WithTimeout(p.session.Closing(), p.settings.DialTimeout)
	defer cancel()
	addrs, access := p.addrs, p.access
	p.addrs, p.access = nil, nil // nothing keeps the secret longer than it needs
	dial := func(ctx context.Context) (*net.TCPConn, error) { return p.settings.Policy.Dial(ctx, addrs) }
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

// connected passes on what the client has sent already, and lets the rest go
// straight to the target. No target takes long for so little. One that has not
// taken it when the session closes, or when the time is up, is as if it had not
// been reached: half of it must not look like all.
func (p *Pair) connected(ctx context.Context, to upstream) error {
	settled := context.AfterFunc(ctx, func() { _ = to.SetWriteDeadline(wsock.LongAgo) })
	p.up.Add(p.early.open(to))
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
	p.downDone = p.session.Pump("down", p.pumpDown)
}
