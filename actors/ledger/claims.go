package ledger

import (
	"net/netip"

	"wsproxy/messages"
)

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
