package ledger

import (
	"container/list"
	"slices"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
)

const (
	// WaitFactor is how many times its bound a source may have waiting: fixed by
	// the protocol (section 7). A browser over HTTP/2 asks for 100 files at once.
	WaitFactor = 4
	// Patience is how long one waits for its turn: fixed by the protocol.
	Patience = 5 * time.Second
	// maxWaiting is how many wait over all sources. Each is an outside client's
	// request, which costs its connection and goroutine a hundred times what it
	// costs here (some 300 bytes): so many that it is never the tighter bound.
	maxWaiting = 4 * 4096
)

// wait reports whether claims are of those that wait for their turn: an HTTP
// request's, over all tunnels and in its tunnel. Who opens a session or looks a
// name up is told at once instead: it knows what to do about it.
func wait(claims []messages.Claim) bool {
	switch len(claims) {
	case 1:
		return claims[0].Kind == messages.ClaimHTTP
	case 2:
		return claims[0].Kind == messages.ClaimHTTP && claims[1].Kind == messages.ClaimHTTPTunnel &&
			claims[0].Source == claims[1].Source
	}
	return false
}

// A Waiting is claims that wait until a unit of each of their limits is free.
type Waiting struct {
	Holder *actor.PID
	To     *actor.PID // who is answered
	Claims []messages.Claim
	Tag    string
	Until  time.Time // when it is refused

	line             messages.Claim // the key of its line
	inOrder, inQueue *list.Element
}

// A queue holds the claims that wait. It belongs to a ledger, and sees to order
// and bounds; the ledger sees to what is granted.
//
// Those of one source wait in one line, because they compete for its bound over
// all tunnels. The /64s of an IPv6 /48 share theirs, because they compete for the
// bound of that. Without a bound over all tunnels there is a line for each tunnel.
type queue struct {
	order list.List // of *Waiting, all of them in order of arrival: the first is due first
	lines map[messages.Claim]*list.List
	count map[messages.Claim]int         // of those that wait: by each of their claims, and by what is around it
	of    map[string]map[string]*Waiting // by holder and tag
}

func newQueue() *queue {
	return &queue{
		lines: make(map[messages.Claim]*list.List),
		count: make(map[messages.Claim]int),
		of:    make(map[string]map[string]*Waiting),
	}
}

func (q *queue) add(w *Waiting, key messages.Claim) {
	holder := w.Holder.Id
	w.line = key
	if q.lines[key] == nil {
		q.lines[key] = list.New()
	}
	if q.of[holder] == nil {
		q.of[holder] = make(map[string]*Waiting)
	}
	w.inOrder, w.inQueue = q.order.PushBack(w), q.lines[key].PushBack(w)
	q.of[holder][w.Tag] = w
	for _, c := range w.Claims {
		q.count[c]++
		if around, ok := wide(c); ok {
			q.count[around]++
		}
	}
}

func (q *queue) remove(w *Waiting) {
	key, holder := w.line, w.Holder.Id
	q.order.Remove(w.inOrder)
	q.lines[key].Remove(w.inQueue)
	if q.lines[key].Len() == 0 {
		delete(q.lines, key)
	}
	delete(q.of[holder], w.Tag)
	if len(q.of[holder]) == 0 {
		delete(q.of, holder)
	}
	for _, c := range w.Claims {
		lessen(q.count, c)
		if around, ok := wide(c); ok {
			lessen(q.count, around)
		}
	}
}

// first returns the one that has waited longest, or nil.
func (q *queue) first() *Waiting {
	if front := q.order.Front(); front != nil {
		return front.Value.(*Waiting)
	}
	return nil
}

// MayWait reports whether claims that can't be granted may wait for their turn.
// Two that have one tag could not be told apart.
func (l *Ledger) MayWait(holder, tag string, claims []messages.Claim) bool {
	if !wait(claims) {
		return false
	}
	q := l.queue
	for _, c := range claims {
		for _, key := range []messages.Claim{c, widest(c)} {
			if bound := l.bound(key); bound > 0 && q.count[key] >= WaitFactor*bound {
				return false
			}
		}
	}
	return q.order.Len() < maxWaiting && q.of[holder][tag] == nil
}

// Wait has claims wait that may. Their Until must not be before that of any other
// that waits.
func (l *Ledger) Wait(w *Waiting) { l.queue.add(w, l.line(w.Claims[len(w.Claims)-1])) }

// line returns the key of the line in which those wait that a claim is one of.
func (l *Ledger) line(c messages.Claim) messages.Claim {
	if c.Kind == messages.ClaimHTTPTunnel && l.bounds[messages.ClaimHTTP] > 0 {
		c = messages.Claim{Kind: messages.ClaimHTTP, Source: c.Source}
	}
	return widest(c)
}

// Withdraw removes what a holder waits for by a tag, if it does.
func (l *Ledger) Withdraw(holder, tag string) {
	if w := l.queue.of[holder][tag]; w != nil {
		l.queue.remove(w)
	}
}

// First returns the one that has waited longest, or nil.
func (l *Ledger) First() *Waiting { return l.queue.first() }

// Expire removes the one that has waited longest, and returns the reason for
// which it is refused.
func (l *Ledger) Expire(w *Waiting) messages.Reason {
	l.queue.remove(w)
	if reason := l.Judge(w.Claims); reason != "" {
		return reason
	}
	return refusals[w.Claims[0].Kind]
}

// Waiting returns how many wait.
func (l *Ledger) Waiting() int { return l.queue.order.Len() }

// Knows reports whether a holder has or waits for anything, and so is watched.
func (l *Ledger) Knows(holder string) bool {
	return len(l.held[holder]) > 0 || len(l.queue.of[holder]) > 0
}

// Admit grants to those that wait what claims that came back have freed, in
// order of arrival, and returns whom it has granted something. Those are passed
// over whose own /64, or whose part of their tunnel, is used up.
func (l *Ledger) Admit(freed []messages.Claim) (admitted []*Waiting) {
	if l.queue.order.Len() == 0 {
		return nil
	}
	lines := make([]messages.Claim, len(freed))
	for i, c := range freed {
		lines[i] = l.line(c)
	}
	return l.admit(lines)
}

// admit grants what it can to those that wait in some lines.
func (l *Ledger) admit(lines []messages.Claim) (admitted []*Waiting) {
	for _, key := range lines {
		for {
			w := l.next(key)
			if w == nil {
				break
			}
			l.queue.remove(w)
			l.Grant(w.Holder.Id, w.Claims)
			admitted = append(admitted, w)
		}
	}
	return admitted
}

// next returns the first in a line to whom something can be granted, or nil. A
// claim that was found used up is not asked about again: there are no more such
// claims than the bound of the line, for each has a unit of it.
func (l *Ledger) next(key messages.Claim) *Waiting {
	line := l.queue.lines[key]
	if line == nil || l.exceeds(key, []messages.Claim{key}) {
		return nil
	}
	var full []messages.Claim
	for e := line.Front(); e != nil; e = e.Next() {
		w := e.Value.(*Waiting)
		if slices.ContainsFunc(w.Claims, func(c messages.Claim) bool {
			return slices.Contains(full, c) || slices.Contains(full, widest(c))
		}) {
			continue
		}
		c, exceeded := l.Exceeded(w.Claims)
		if !exceeded {
			return w
		}
		full = append(full, c)
	}
	return nil
}

// Forsake removes what a holder waits for.
func (l *Ledger) Forsake(holder string) {
	for _, w := range l.queue.of[holder] {
		l.queue.remove(w)
	}
}
