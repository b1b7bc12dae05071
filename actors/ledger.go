package actors

import (
	"wsproxy/messages"
)

// A ledger says who holds how much of which limit. It belongs to the limits
// actor, and outlives its incarnations.
type ledger struct {
	bounds [messages.ClaimKinds]int // how many units each claim has; 0 = any number
	taken  map[messages.Claim]int   // units held, by all holders
	held   map[string][]messages.Claim
}

func newLedger(bounds [messages.ClaimKinds]int) *ledger {
	return &ledger{bounds: bounds, taken: make(map[messages.Claim]int), held: make(map[string][]messages.Claim)}
}

// refusals are the reasons for refusing each kind of claim.
var refusals = [messages.ClaimKinds]messages.Reason{
	messages.ClaimAddress: messages.ReasonAddressLimit,
	messages.ClaimUser:    messages.ReasonUserLimit,
	messages.ClaimLookup:  messages.ReasonLookupLimit,
	messages.ClaimHTTP:    messages.ReasonHTTPLimit,
	messages.ClaimRaw:     messages.ReasonRawLimit,
}

// judge returns why the claims can't be granted, or "" if they can. It changes
// nothing.
func (l *ledger) judge(claims []messages.Claim) messages.Reason {
	for i, c := range claims {
		wanted := 1
		for _, earlier := range claims[:i] {
			if earlier == c {
				wanted++
			}
		}
		if bound := l.bounds[c.Kind]; bound > 0 && l.taken[c]+wanted > bound {
			return refusals[c.Kind]
		}
	}
	return ""
}

// grant books the claims, and reports whether the holder is new.
func (l *ledger) grant(holder string, claims []messages.Claim) (first bool) {
	before := l.held[holder]
	for _, c := range claims {
		l.taken[c]++
	}
	l.held[holder] = append(before, claims...)
	return len(before) == 0
}

// release takes claims back from a holder, as far as it has them.
func (l *ledger) release(holder string, claims []messages.Claim) {
	for _, c := range claims {
		held := l.held[holder]
		for i, h := range held {
			if h == c {
				l.held[holder] = append(held[:i], held[i+1:]...)
				l.drop(c)
				break
			}
		}
	}
	if len(l.held[holder]) == 0 {
		delete(l.held, holder)
	}
}

// end takes everything back from a holder.
func (l *ledger) end(holder string) {
	for _, c := range l.held[holder] {
		l.drop(c)
	}
	delete(l.held, holder)
}

func (l *ledger) drop(c messages.Claim) {
	if l.taken[c]--; l.taken[c] <= 0 {
		delete(l.taken, c)
	}
}
