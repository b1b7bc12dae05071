package bandwidth

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// The two directions, as a Conn sees them.
const (
	FromClient = iota
	ToClient
	ways
)

const (
	// leastBurst is how many bytes may come at once after a rest, however low the bound
	// is: as much as one write has. Else it is what comes in a second.
	leastBurst = 64 << 10
	// step is how many bytes one is thought to pass whose turn it is, until it has said
	// how many those were: what one read brings.
	step = 32 << 10
)

// A bucket is one direction of a user: what may pass fills it, what has passed is taken
// out of it, and may be more than there was. One who has to wait is let through when
// there is something in it. Of several it is the one that has passed least, so that
// all that want more pass the same, and who wants little hardly waits.
type bucket struct {
	of        *user
	perSecond float64   // bytes; 0 = no bound any more
	balance   float64   // bytes that may pass at once; negative after too many
	at        time.Time // when that was so
	waiting   []*Share
	least     float64     // how much the last one had passed that was let through
	holder    *Share      // was let through, and has not said yet how much it passed
	hold      time.Time   // until when that is waited for
	timer     *time.Timer // nil until somebody waits
}

func (b *bucket) burst() float64 { return max(b.perSecond, leastBurst) }

// fill brings the balance up to date.
func (b *bucket) fill(now time.Time) {
	b.balance = min(b.balance+b.perSecond*now.Sub(b.at).Seconds(), b.burst())
	b.at = now
}

func (b *bucket) change(perSecond int64, now time.Time) {
	b.fill(now)
	b.perSecond = float64(perSecond)
	b.admit(now)
}

// untilFull returns how long it takes until a full burst may pass.
func (b *bucket) untilFull(now time.Time) time.Duration {
	b.fill(now)
	return b.until(b.burst())
}

// until returns how long it takes until there are so many bytes.
func (b *bucket) until(balance float64) time.Duration {
	if b.perSecond == 0 || b.balance >= balance {
		return 0
	}
	return time.Duration(math.Ceil((balance - b.balance) / b.perSecond * float64(time.Second)))
}

// admit lets through who may pass, and sees to it that it is called when the next one
// may.
func (b *bucket) admit(now time.Time) {
	for len(b.waiting) > 0 {
		b.fill(now)
		wait := b.until(1)
		if b.holder != nil && b.perSecond > 0 {
			wait = max(wait, b.hold.Sub(now))
		}
		if wait > 0 {
			b.look(wait)
			return
		}
		way := b.way()
		next := slices.MinFunc(b.waiting, func(one, other *Share) int { // of equals the first
			return cmp.Compare(one.ways[way].passed, other.ways[way].passed)
		})
		b.remove(next)
		b.least = max(b.least, next.ways[way].passed)
		b.holder = next
		if b.perSecond > 0 {
			b.hold = now.Add(time.Duration(step / b.perSecond * float64(time.Second)))
		}
		next.ways[way].ready <- struct{}{} // has room
	}
}

// look has admit be called in a while.
func (b *bucket) look(wait time.Duration) {
	if b.timer != nil {
		b.timer.Reset(wait)
		return
	}
	b.timer = time.AfterFunc(wait, func() {
		b.of.mu.Lock()
		defer b.of.mu.Unlock()
		b.admit(time.Now())
	})
}

func (b *bucket) way() int {
	if b == &b.of.buckets[FromClient] {
		return FromClient
	}
	return ToClient
}

func (b *bucket) remove(s *Share) bool {
	i := slices.Index(b.waiting, s)
	if i < 0 {
		return false
	}
	b.waiting = slices.Delete(b.waiting, i, i+1)
	return true
}

// A Share is what one WebSocket has of its user's bytes. Each direction is used by one
// goroutine at a time.
type Share struct {
	user *user
	ways [ways]shareWay
}

type shareWay struct {
	passed float64       // under user.mu: bytes, no less than those had who were let through before it began to wait
	ready  chan struct{} // has room for one: it may pass
}

// Await waits until the WebSocket may pass bytes in a direction, or until done is
// closed.
func (s *Share) Await(way int, done <-chan struct{}) {
	b, mine := &s.user.buckets[way], &s.ways[way]
	s.user.mu.Lock()
	now := time.Now()
	// What it has not used while it rested is no credit, but for a step: so who passes
	// little goes ahead of those who pass what they can.
	mine.passed = max(mine.passed, b.least-step)
	if b.fill(now); b.perSecond == 0 || b.balance > 0 && len(b.waiting) == 0 {
		b.least = max(b.least, mine.passed)
		s.user.mu.Unlock()
		return
	}
	b.waiting = append(b.waiting, s)
	b.admit(now)
	s.user.mu.Unlock()
	select {
	case <-mine.ready:
	case <-done:
		s.user.mu.Lock()
		if !b.remove(s) {
			<-mine.ready
		}
		if b.holder == s {
			b.holder = nil
		}
		b.admit(time.Now())
		s.user.mu.Unlock()
	}
}

// Passed says that n bytes have passed in a direction, allowed or not.
func (s *Share) Passed(way, n int) {
	s.user.mu.Lock()
	defer s.user.mu.Unlock()
	b := &s.user.buckets[way]
	now := time.Now()
	b.fill(now)
	b.balance -= float64(n)
	s.ways[way].passed += float64(n)
	if b.holder == s {
		b.holder = nil
	}
	b.admit(now)
}

// Close gives the share back, once. Nothing of it may wait any more but what is waited
// for with a done that is closed.
func (s *Share) Close() { s.user.left() }
