package ledger

import (
	"net/netip"

	"wsproxy/messages"
)

// Bounds are the limits. 0 means no limit.
type Bounds struct {
	PerAddress int // sessions, and name look-ups under way, of one source address
	PerUser    int // sessions of one user
	HTTP       int // HTTP requests under way to tunnels, of one source address
	HTTPTunnel int // the same to one tunnel
	RawAddress int // raw connections of one tunnel, of one source address
	RawTunnel  int // raw connections of one tunnel
	RawUser    int // raw connections of one user's tunnels
	Raw        int // raw connections of all tunnels
}

// Units returns the bounds by the kinds of claims.
func (b Bounds) Units() [messages.ClaimKinds]int {
	return [messages.ClaimKinds]int{
		messages.ClaimAddress: b.PerAddress,
		messages.ClaimUser:    b.PerUser,
		messages.ClaimLookup:  b.PerAddress,
		messages.ClaimHTTP:    b.HTTP,
		messages.ClaimRaw:     b.Raw,

		messages.ClaimHTTPTunnel: b.HTTPTunnel,
		messages.ClaimRawAddress: b.RawAddress,
		messages.ClaimRawTunnel:  b.RawTunnel,
		messages.ClaimRawUser:    b.RawUser,
	}
}

// SessionClaims returns what a session or tunnel takes of the limits.
func SessionClaims(source netip.Prefix, user string) []messages.Claim {
	claims := []messages.Claim{{Kind: messages.ClaimAddress, Source: source}}
	if user != "" {
		claims = append(claims, messages.Claim{Kind: messages.ClaimUser, User: user})
	}
	return claims
}

// An Owner is whose a tunnel is, as far as limits go.
type Owner struct {
	Tunnel string       // its subdomain
	User   string       // empty for anyone
	Source netip.Prefix // what is counted for the address that the tunnel is registered from
}

// RawClaims returns what a raw connection takes of the limits, the narrowest
// first. peer is what is counted for its outside peer; zero if that is this
// process.
func (o Owner) RawClaims(peer netip.Prefix) (claims []messages.Claim) {
	if peer.IsValid() {
		claims = append(claims, messages.Claim{Kind: messages.ClaimRawAddress, Source: peer, Tunnel: o.Tunnel})
	}
	user := messages.Claim{Kind: messages.ClaimRawUser, User: o.User}
	if o.User == "" {
		user.Source = o.Source
	}
	return append(claims, messages.Claim{Kind: messages.ClaimRawTunnel, Tunnel: o.Tunnel}, user, messages.Claim{Kind: messages.ClaimRaw})
}

// HTTPClaims returns what an HTTP request from a source address takes of the
// limits.
func (o Owner) HTTPClaims(source netip.Prefix) []messages.Claim {
	return []messages.Claim{
		{Kind: messages.ClaimHTTP, Source: source},
		{Kind: messages.ClaimHTTPTunnel, Source: source, Tunnel: o.Tunnel},
	}
}

// UsedUp returns the source that has as many of the peers as a bound allows: the
// newcomer, or its /48, which has some times the bound. ok is false if none has, or
// if there is no bound.
func UsedUp(bound int, peers []netip.Prefix, newcomer netip.Prefix) (full netip.Prefix, ok bool) {
	if bound <= 0 || !newcomer.IsValid() {
		return full, false
	}
	count := make(tally)
	for _, p := range peers {
		count.add(p, 1)
	}
	if count[newcomer] >= bound {
		return newcomer, true
	}
	if network, ok := messages.Site(newcomer); ok && count[network] >= messages.SiteFactor*bound {
		return network, true
	}
	return full, false
}
