package ledger

import "wsproxy/messages"

// A Ledger says who holds how much of which limit. It belongs to the limits
// actor, and outlives its incarnations.
type Ledger struct {
	bounds [messages.ClaimKinds]int // how many units each claim has; 0 = any number
	taken  map[messages.Claim]int   // units held, by all holders; of an IPv6 /64 those of its /48 too
	held   map[string][]messages.Claim
	queue  *queue // who waits until something comes back

	detached *detached // sessions that wait for a WebSocket
}

// New returns a ledger without entries. bounds are how many units each kind of
// claim has; 0 = any number.
func New(bounds [messages.ClaimKinds]int) *Ledger {
	return &Ledger{
		bounds: bounds,
		taken:  make(map[messages.Claim]int),
		held:   make(map[string][]messages.Claim),
		queue:  newQueue(),

		detached: newDetached(),
	}
}

// Rebound changes the bounds, and returns whom it has granted what was waited for. What
// is held beyond a lower bound stays held.
func (l *Ledger) Rebound(bounds [messages.ClaimKinds]int) (admitted []*Waiting) {
	l.bounds = bounds
	lines := make([]messages.Claim, 0, len(l.queue.lines))
	for key := range l.queue.lines {
		lines = append(lines, key)
	}
	return l.admit(lines)
}

// refusals are the reasons for refusing each kind of claim.
var refusals = [messages.ClaimKinds]messages.Reason{
	messages.ClaimAddress: messages.ReasonAddressLimit,
	messages.ClaimUser:    messages.ReasonUserLimit,
	messages.ClaimLookup:  messages.ReasonLookupLimit,
	messages.ClaimHTTP:    messages.ReasonHTTPLimit,
	messages.ClaimRaw:     messages.ReasonRawLimit,

	messages.ClaimHTTPTunnel: messages.ReasonHTTPShare,
	messages.ClaimRawAddress: messages.ReasonRawAddress,
	messages.ClaimRawTunnel:  messages.ReasonRawTunnel,
	messages.ClaimRawUser:    messages.ReasonRawUser,
}

// wide returns the claim of the network around an IPv6 source, which is counted
// as well. Other claims have none.
func wide(c messages.Claim) (w messages.Claim, ok bool) {
	c.Source, ok = messages.Site(c.Source)
	return c, ok
}

// widest returns the claim under which all are counted that c competes with.
func widest(c messages.Claim) messages.Claim {
	w, _ := wide(c)
	return w
}

// bound returns how many units a claim has; 0 = any number.
func (l *Ledger) bound(c messages.Claim) int {
	if messages.IsSite(c.Source) {
		return messages.SiteFactor * l.bounds[c.Kind]
	}
	return l.bounds[c.Kind]
}

// Refusal returns the reason for refusing a claim.
func Refusal(c messages.Claim) messages.Reason { return refusals[c.Kind] }

// Judge returns why the claims can't be granted, or "" if they can. It changes
// nothing.
func (l *Ledger) Judge(claims []messages.Claim) messages.Reason {
	if c, ok := l.Exceeded(claims); ok {
		return refusals[c.Kind]
	}
	return ""
}

// Exceeded returns the first of the claims that can't be granted, or what is
// counted around it, and whether there is one. It changes nothing.
func (l *Ledger) Exceeded(claims []messages.Claim) (exceeded messages.Claim, ok bool) {
	for i, c := range claims {
		if l.exceeds(c, claims[:i+1]) {
			return c, true
		}
		if w, ok := wide(c); ok && l.exceeds(w, claims[:i+1]) {
			return w, true
		}
	}
	return exceeded, false
}

// exceeds reports whether the bound of c is too small for what is taken and for
// those of the claims that count under it.
func (l *Ledger) exceeds(c messages.Claim, claims []messages.Claim) bool {
	bound := l.bound(c)
	if bound <= 0 {
		return false
	}
	units := l.taken[c]
	for _, other := range claims {
		if other == c || widest(other) == c {
			units++
		}
	}
	return units > bound
}

// Grant books the claims.
func (l *Ledger) Grant(holder string, claims []messages.Claim) {
	for _, c := range claims {
		l.taken[c]++
		if w, ok := wide(c); ok {
			l.taken[w]++
		}
	}
	l.held[holder] = append(l.held[holder], claims...)
}

// Release takes claims back from a holder, as far as it has them.
func (l *Ledger) Release(holder string, claims []messages.Claim) {
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
		l.Attach(holder)
	}
}

// End takes everything back from a holder, and returns what that was.
func (l *Ledger) End(holder string) []messages.Claim {
	held := l.held[holder]
	for _, c := range held {
		l.drop(c)
	}
	delete(l.held, holder)
	l.Attach(holder)
	return held
}

func (l *Ledger) drop(c messages.Claim) {
	lessen(l.taken, c)
	if w, ok := wide(c); ok {
		lessen(l.taken, w)
	}
}

// lessen takes one from a count. A count of none is not kept: the sources that
// ever came would stay in the table.
func lessen(counts map[messages.Claim]int, c messages.Claim) {
	if counts[c]--; counts[c] <= 0 {
		delete(counts, c)
	}
}

// Taken returns the units of a kind that are held, by all holders. It goes over
// all entries.
func (l *Ledger) Taken(kind messages.ClaimKind) (units int) {
	for _, held := range l.held {
		for _, c := range held {
			if c.Kind == kind {
				units++
			}
		}
	}
	return units
}

// Empty reports whether nothing is held or waited for, and nothing is left of
// what was.
func (l *Ledger) Empty() bool {
	q := l.queue
	return len(l.taken)+len(l.held)+q.order.Len()+len(q.lines)+len(q.count)+len(q.of)+
		len(l.detached.of)+len(l.detached.lines) == 0
}
