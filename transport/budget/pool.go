package budget

import "sync/atomic"

// Parts of a Pool, fixed by the protocol (section 12): a tunnel holds at most a
// quarter of it, and all of one user's at most half, as of [Shares] (section 9).
const (
	tunnelPart = 4
	userPart   = 2
)

// entitledPart is the part of a Pool that only tunnels get which hold less than
// their fair part. Without it each word of theirs would cost a tunnel something
// that holds more, once those have used the pool up.
const entitledPart = 16

// A Pool is the memory that all tunnels share, in bytes. What waits for
// somebody counts there. Each tunnel has a [Budget] of it, below that of its
// user: both are bounded. A tunnel that holds less than its fair part, which is
// the pool by the number of tunnels that hold something, gets what it asks for even
// when others have used up the pool: then the pool is overdrawn, and says so. See
// [messages.Pool]. Any goroutine may use it.
type Pool struct {
	limit     int64
	held      atomic.Int64
	holders   atomic.Int64           // tunnels that hold something
	overdrawn atomic.Bool            // it was said, and not looked at yet
	say       atomic.Pointer[func()] // says that it is overdrawn

	users users
}

// NewPool returns a pool of limit bytes.
func NewPool(limit int64) *Pool {
	return &Pool{limit: limit}
}

// Held returns how many bytes are held.
func (p *Pool) Held() int64 { return p.held.Load() }

// OnOverdrawn has say called when more is held than there is, once until the
// next call of Excess. It must not block.
func (p *Pool) OnOverdrawn(say func()) { p.say.Store(&say) }

// Excess returns how many more bytes are held than there are, at least 0.
func (p *Pool) Excess() int64 {
	p.overdrawn.Store(false) // before the look: what comes after it is said again
	return max(p.held.Load()-p.limit, 0)
}

// Part returns a budget for what belongs to no tunnel, of at most a quarter of
// the pool.
func (p *Pool) Part() *Budget {
	return &Budget{pool: p, member: true, limit: p.limit / tunnelPart}
}

// Open returns the budget of a new tunnel.
func (p *Pool) Open(user string) *Budget {
	above := p.users.of(user, func() *Budget { return &Budget{pool: p, limit: p.limit / userPart} })
	b := above.Below(p.limit / tunnelPart)
	b.member = true
	return b
}

// fairPart is how many bytes a tunnel may hold whatever others do.
func (p *Pool) fairPart() int64 { return p.limit / max(p.holders.Load(), 1) }

// full reports whether it is used up for who holds more than a fair part.
func (p *Pool) full() bool { return p.held.Load() >= p.limit-p.limit/entitledPart }

// take takes n bytes, if there is room for them or the taker is entitled to
// them, and reports whether it did.
func (p *Pool) take(n int64, entitled bool) bool {
	held := p.held.Add(n)
	switch {
	case n <= 0:
	case held > p.limit && entitled:
		p.tell()
	case held > p.limit-p.limit/entitledPart && !entitled:
		p.held.Add(-n)
		return false
	}
	return true
}

// add takes n bytes that are there already, or gives back if n is negative.
func (p *Pool) add(n int64) {
	if held := p.held.Add(n); n > 0 && held > p.limit {
		p.tell()
	}
}

func (p *Pool) tell() {
	if say := p.say.Load(); say != nil && !p.overdrawn.Swap(true) {
		(*say)()
	}
}
