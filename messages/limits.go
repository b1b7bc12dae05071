package messages

import (
	"net/netip"

	"github.com/asynkron/protoactor-go/actor"
)

// A ClaimKind names one of the limits.
type ClaimKind uint8

// The limits that the limits actor keeps.
const (
	ClaimAddress ClaimKind = iota // sessions of one source address (MAX_CONNS_PER_IP)
	ClaimUser                     // sessions of one user (MAX_CONNS_PER_USER)
	ClaimLookup                   // name look-ups under way of one source address (bounded by MAX_CONNS_PER_IP too)
	claimKinds
)

// ClaimKinds is how many kinds of claims there are.
const ClaimKinds = int(claimKinds)

// A Claim is one unit of one limit: for a source address, or for a user.
type Claim struct {
	Kind   ClaimKind
	Source netip.Prefix // who is counted, for claims by address: an IPv4 address, or an IPv6 /64
	User   string       // who is counted, for claims by user
}

// Acquire asks the limits actor for all of Claims or none. It is a request:
// the sender is answered with [Granted] or [Refused]. What is granted belongs
// to Holder, and comes back with a [Release] or when Holder ends.
type Acquire struct {
	Holder *actor.PID
	Claims []Claim
}

// Granted answers an [Acquire]: Holder has the claims.
type Granted struct{}

// Refused answers an [Acquire]: none of the claims was granted. Reason says
// which limit is used up, or that the limits actor failed.
type Refused struct {
	Reason Reason
}

// Release gives claims back. Claims that Holder does not have are ignored.
type Release struct {
	Holder *actor.PID
	Claims []Claim
}
