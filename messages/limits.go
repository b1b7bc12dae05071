package messages

import (
	"net/netip"

	"github.com/asynkron/protoactor-go/actor"
)

// A ClaimKind names one of the limits.
type ClaimKind uint8

// The limits that the limits actor keeps.
const (
	ClaimAddress    ClaimKind = iota // sessions of one source address (MAX_CONNS_PER_IP)
	ClaimUser                        // sessions of one user (MAX_CONNS_PER_USER)
	ClaimLookup                      // name look-ups under way of one source address (bounded by MAX_CONNS_PER_IP too)
	ClaimHTTP                        // HTTP requests under way to tunnels, of one source address (MAX_TUNNEL_HTTP_PER_IP)
	ClaimRaw                         // raw connections of all tunnels (MAX_TUNNEL_TCP_CONNS_GLOBAL)
	ClaimHTTPTunnel                  // HTTP requests under way to one tunnel, of one source address (half of MAX_TUNNEL_HTTP)
	ClaimRawAddress                  // raw connections of one tunnel, of one source address (MAX_TUNNEL_TCP_PER_IP)
	ClaimRawTunnel                   // raw connections of one tunnel (a quarter of MAX_TUNNEL_TCP_CONNS_GLOBAL)
	ClaimRawUser                     // raw connections of one user's tunnels (half of it); an anonymous user is a source address
	claimKinds
)

// ClaimKinds is how many kinds of claims there are.
const ClaimKinds = int(claimKinds)

// A Claim is one unit of one limit: for a source address, for a user, or for a
// tunnel.
type Claim struct {
	Kind   ClaimKind
	Source netip.Prefix // who is counted, for claims by address: an IPv4 address, or an IPv6 /64, whose /48 is counted too
	User   string       // who is counted, for claims by user
	Tunnel string       // where that is counted, for claims of one tunnel: its subdomain
}

// Acquire asks the limits actor for all of Claims or none. Holder, or whoever
// asks in its place by a request, is answered with [Granted] or [Refused]. What is granted belongs to it, and comes back
// with a [Release] or when it ends.
//
// A ClaimHTTP that can't be granted, alone or with a ClaimHTTPTunnel of the same
// source, waits for its turn: the answer comes when both are free, or after some
// seconds. Until then [Withdraw] takes it back.
type Acquire struct {
	Holder *actor.PID
	Claims []Claim
	Tag    string // comes back in the answer, for who asks more than once
	// New says that it is for a new session, which nothing else keeps from beginning:
	// a detached one of the same user, or address if anonymous, gives way to it.
	New bool
	// Kept says that Holder's parent tells when it has ended, by a [HolderEnded]: it is
	// not watched, which takes half a kilobyte and a message each way.
	Kept bool
}

// HolderEnded tells the limits actor that a holder has ended whose claims were Kept.
type HolderEnded struct{ Holder *actor.PID }

// Granted answers an [Acquire]: Holder has the claims.
type Granted struct {
	Claims []Claim
	Tag    string
	Waited bool // they were not free at once
}

// Refused answers an [Acquire]: none of the claims was granted. Reason says
// which limit is used up, or that the limits actor failed.
type Refused struct {
	Reason Reason
	Claim  Claim // that can't be granted; of an IPv6 /64 maybe that of its /48. The zero Claim if the limits actor failed
	Tag    string
}

// Release gives claims back. Claims that Holder does not have are ignored.
type Release struct {
	Holder *actor.PID
	Claims []Claim
}

// Withdraw takes back the [Acquire] of Holder with this tag, if it still waits:
// nobody wants the slot any more. It is not answered. If the grant has crossed
// it, that is answered with a [Release].
type Withdraw struct {
	Holder *actor.PID
	Tag    string
}

// Detached tells the limits actor that a session waits for a WebSocket, or has one
// again. While it waits its slots may go to a new session: see [YieldSlot]. Whose
// session it is, its claims say.
type Detached struct {
	Holder *actor.PID
	Away   bool
}

// YieldSlot tells a session that its slots have gone to a new one, because it was
// the one longest away when they were asked for. It has none any more, even if it
// has meanwhile got a WebSocket: it ends, with [ReasonGaveWay].
type YieldSlot struct{}
