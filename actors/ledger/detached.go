package ledger

import (
	"container/list"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
)

// detached are the sessions that wait for a WebSocket. They give way to new ones of
// the same user, so they are looked for by what a newcomer of theirs may lack, and
// each such line is in the order in which they have lost theirs. They belong to a
// ledger.
type detached struct {
	lines map[messages.Claim]*list.List // of *away: the first is longest away
	of    map[string]*away              // by holder
}

// away is one session's places.
type away struct {
	holder *actor.PID
	places []place
}

type place struct {
	key     messages.Claim
	element *list.Element
}

func newDetached() *detached {
	return &detached{lines: make(map[messages.Claim]*list.List), of: make(map[string]*away)}
}

// sessionOf returns whose session it is that takes these claims. ok is false if they
// are none of [SessionClaims].
func sessionOf(claims []messages.Claim) (source messages.Claim, user string, ok bool) {
	if len(claims) == 0 || claims[0].Kind != messages.ClaimAddress {
		return source, "", false
	}
	switch len(claims) {
	case 1:
		return claims[0], "", true
	case 2:
		return claims[0], claims[1].User, claims[1].Kind == messages.ClaimUser
	}
	return source, "", false
}

// yieldKey returns the key of the line of those that may give way to a session of
// this user, and that take a unit of what it lacks. The same address is all that
// anonymous ones have in common, also where its /48 is used up.
func yieldKey(lacking, source messages.Claim, user string) messages.Claim {
	if user == "" {
		return source
	}
	lacking.User = user
	return lacking
}

// Detach notes that a session has lost its WebSocket. One that has no slots, or is
// noted, stays as it is.
func (l *Ledger) Detach(holder *actor.PID) {
	source, user, ok := sessionOf(l.held[holder.Id])
	if !ok || l.detached.of[holder.Id] != nil {
		return
	}
	keys := []messages.Claim{yieldKey(source, source, user)}
	if user != "" {
		keys = append(keys, messages.Claim{Kind: messages.ClaimUser, User: user})
		if site, ok := wide(source); ok {
			keys = append(keys, yieldKey(site, source, user))
		}
	}
	a := &away{holder: holder}
	for _, key := range keys {
		line := l.detached.lines[key]
		if line == nil {
			line = list.New()
			l.detached.lines[key] = line
		}
		a.places = append(a.places, place{key, line.PushBack(a)})
	}
	l.detached.of[holder.Id] = a
}

// Attach notes that a session has a WebSocket, or no slots any more.
func (l *Ledger) Attach(holder string) {
	a := l.detached.of[holder]
	if a == nil {
		return
	}
	for _, p := range a.places {
		line := l.detached.lines[p.key]
		if line.Remove(p.element); line.Len() == 0 {
			delete(l.detached.lines, p.key)
		}
	}
	delete(l.detached.of, holder)
}

// Yielding returns the detached session whose slots a new one can have: the one
// longest away, of those of the same user without which the claims can be granted.
// exceeded is what Exceeded says of them. It is nil if there is none. It changes
// nothing.
//
// One is enough. Claims are judged the narrowest first, and who takes a unit of the
// narrowest that is used up, for the same user, takes one of all that are wider.
func (l *Ledger) Yielding(claims []messages.Claim, exceeded messages.Claim) *actor.PID {
	source, user, ok := sessionOf(claims)
	if !ok {
		return nil
	}
	line := l.detached.lines[yieldKey(exceeded, source, user)]
	if line == nil {
		return nil
	}
	return line.Front().Value.(*away).holder
}

// Detached returns how many sessions wait for a WebSocket.
func (l *Ledger) Detached() int { return len(l.detached.of) }
