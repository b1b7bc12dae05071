package actors

import (
	"net/netip"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/ledger"
	"wsproxy/messages"
)

// Clients of the public protocol never answer tcp_close. So a connection that
// its outside peer has ended stays half closed until it has been idle for
// halfClosedPatience, and a tunnel whose peers come and go would be full of such.
// When there is no room for a new connection the one that has been idle longest
// gives way (protocol, section 5): it ends as if its time were over, and what
// waits for its peer is delivered.
//
// It has its place and its slot no longer as soon as it gives way, though its
// socket is open until the peer has taken what waits: the new connection can't
// wait for that.

// maxYielding is how many connections of a tunnel may be closing in that way,
// beside those that count: as many as there may be by default
// (MAX_TUNNEL_TCP_CONNS). Most are gone within a round trip, so that only peers
// that take nothing can reach it; and what waits for those is counted in the
// tunnel's byte budget, as it is for any connection. Beyond it none gives way,
// for else bytes would have to be dropped.
const maxYielding = 100

// halfClosed tells a handler that a conn's outside peer has ended its stream,
// and since when the client could say more.
type halfClosed struct {
	id    string
	since time.Time
}

// giveWay tells a half-closed conn to end.
type giveWay struct{}

// slotWanted asks a handler, in the name of a new conn that the limits have
// refused, to have another connection give way. The answer is claimAgain or
// refused itself.
type slotWanted struct {
	id      string
	refused *messages.Refused
}

// claimAgain tells a conn that a slot of its tunnel was given back.
type claimAgain struct{}

// isFull reports whether the tunnel has as many raw connections as it may.
func (a *handler) isFull() bool {
	return a.needs.MaxConns > 0 && len(a.conns)-a.own-a.yielding >= a.needs.MaxConns
}

// crowding returns the claim that a new connection competes for when the tunnel
// is full: a source address that has all its connections takes no place of
// another's.
func (a *handler) crowding(count netip.Prefix) (claim messages.Claim) {
	var peers []netip.Prefix
	for _, c := range a.conns {
		if !c.yields && !c.own {
			peers = append(peers, c.count)
		}
	}
	if full, ok := ledger.UsedUp(a.needs.MaxConnsPerAddress, peers, count); ok {
		return messages.Claim{Kind: messages.ClaimRawAddress, Source: full}
	}
	return claim
}

// frees reports whether a claim, or one of those that are counted by it, comes
// back when a connection of the tunnel gives way. Those of the tunnel, of its
// user and of all come back with any.
func (c *rawConn) frees(claim messages.Claim) bool {
	return claim.Kind != messages.ClaimRawAddress || c.count.IsValid() && claim.Source.Contains(c.count.Addr())
}

// makeRoom has the half-closed connection give way that has been idle longest of
// those that free a claim, and reports whether there was one. It may have begun to
// close by itself, which the handler can't know: then its place is free a moment
// early.
//
// The handler gives its slot back in its name: whoever asks the limits
// because of that finds it free. If the conn has ended meanwhile it has no slot,
// and the limits ignore that.
func (a *handler) makeRoom(ctx actor.Context, claim messages.Claim) bool {
	if a.yielding >= maxYielding {
		return false
	}
	var longest *rawConn
	for _, c := range a.conns {
		if !c.idle.IsZero() && !c.yields && !c.own && c.frees(claim) && (longest == nil || c.idle.Before(longest.idle)) {
			longest = c
		}
	}
	if longest == nil {
		return false
	}
	longest.yields = true
	a.yielding++
	ctx.Send(a.needs.Limits, &messages.Release{Holder: longest.pid, Claims: longest.claims})
	ctx.Send(longest.pid, &giveWay{})
	return true
}

// slotWanted makes room for a connection of this tunnel when its source address,
// the tunnel, its user or all tunnels together have too many. It asks again only
// once: another tunnel's may have been faster.
func (a *handler) slotWanted(ctx actor.Context, m *slotWanted) {
	c := a.conns[m.id]
	if c == nil {
		return
	}
	if a.makeRoom(ctx, m.refused.Claim) {
		ctx.Send(c.pid, &claimAgain{})
		return
	}
	ctx.Send(c.pid, m.refused)
}
