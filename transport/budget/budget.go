package budget

import "sync/atomic"

// A Budget counts bytes that are held in memory against a bound, and against
// the bounds of the budgets above it. It counts; who takes bytes must have asked
// whether there is room. Any goroutine may use it.
type Budget struct {
	above  *Budget // nil at the top
	pool   *Pool   // above the top; nil for none
	member bool    // it is one of those that share the pool
	limit  int64   // bytes
	held   atomic.Int64
	freed  func() // called when bytes come back; may be nil
}

// New returns a budget of limit bytes by itself.
func New(limit int64) *Budget { return &Budget{limit: limit} }

// Below returns a budget of limit bytes below b.
func (b *Budget) Below(limit int64) *Budget { return &Budget{above: b, pool: b.pool, limit: limit} }

// OnFreed has freed called whenever bytes come back. It must not block. Called
// before anything is taken.
func (b *Budget) OnFreed(freed func()) { b.freed = freed }

// Limit returns the bound, in bytes.
func (b *Budget) Limit() int64 { return b.limit }

// Held returns how many bytes are held.
func (b *Budget) Held() int64 { return b.held.Load() }

// Add takes n bytes, or gives back if n is negative.
func (b *Budget) Add(n int64) {
	if n == 0 {
		return
	}
	for l := b; l != nil; l = l.above {
		l.change(n)
	}
	if b.pool != nil {
		b.pool.add(n)
	}
	for l := b; l != nil && n < 0; l = l.above {
		if l.freed != nil {
			l.freed()
		}
	}
}

// change counts n bytes here alone, and returns how many are held.
func (b *Budget) change(n int64) (held int64) {
	held = b.held.Add(n)
	if b.member {
		switch held {
		case 0:
			b.pool.holders.Add(-1)
		case n:
			b.pool.holders.Add(1)
		}
	}
	return held
}

// Full reports whether the budget is used up, or one above it. What others hold
// of the pool is no matter to a member that holds less than its fair part.
func (b *Budget) Full() bool {
	entitled := false
	for l := b; l != nil; l = l.above {
		held := l.held.Load()
		if held >= l.limit {
			return true
		}
		entitled = entitled || l.member && (held == 0 || held < b.pool.fairPart())
	}
	return b.pool != nil && !entitled && b.pool.full()
}

// Try takes n bytes if there is room for them, and reports whether it did.
func (b *Budget) Try(n int64) bool {
	if n <= 0 {
		b.Add(n)
		return true
	}
	entitled := false
	for l := b; l != nil; l = l.above {
		held := l.change(n)
		entitled = entitled || l.member && held <= b.pool.fairPart()
		if held > l.limit {
			b.undo(n, l)
			return false
		}
	}
	if b.pool != nil && !b.pool.take(n, entitled) {
		b.undo(n, nil)
		return false
	}
	return true
}

// undo takes back a change by n bytes, up to the budget last, or to the top.
func (b *Budget) undo(n int64, last *Budget) {
	for l := b; l != nil; l = l.above {
		l.change(-n)
		if l == last {
			return
		}
	}
}

// An Account is the part of a budget that one owner holds. It comes back whole,
// exactly once, when the owner ends; what is added after that counts nowhere.
type Account struct {
	budget *Budget
	held   atomic.Int64
	ended  atomic.Bool
}

// Init says whose part it is. Called once, before all others.
func (a *Account) Init(budget *Budget) { a.budget = budget }

// Held returns how many bytes the owner holds.
func (a *Account) Held() int64 { return a.held.Load() }

// Add takes n bytes, or gives back if n is negative.
func (a *Account) Add(n int64) {
	if a.ended.Load() {
		return
	}
	a.held.Add(n)
	a.budget.Add(n)
	if a.ended.Load() { // it ended meanwhile, maybe before n was there
		a.settle()
	}
}

// End gives back what the owner holds.
func (a *Account) End() {
	a.ended.Store(true)
	a.settle()
}

// Pass makes n bytes of the account the caller's, to be given back to the
// budget.
func (a *Account) Pass(n int64) {
	a.held.Add(-n)
	if a.ended.Load() { // they came back with the others, and are taken again
		a.settle()
	}
}

func (a *Account) settle() { a.budget.Add(-a.held.Swap(0)) }

// Reserved returns a reservation for n bytes that are counted already.
func (b *Budget) Reserved(n int64) Reservation { return Reservation{b, n} }

// A Reservation is what one goroutine holds of a budget.
type Reservation struct {
	budget *Budget
	held   int64
}

// Held returns the bytes of the reservation.
func (r *Reservation) Held() int64 { return r.held }

// Pass makes the bytes of the reservation the caller's, and returns how many they
// are.
func (r *Reservation) Pass() (n int64) {
	n, r.held = r.held, 0
	return n
}

// Keep takes or gives back what makes the reservation n bytes.
func (r *Reservation) Keep(n int64) {
	r.budget.Add(n - r.held)
	r.held = n
}

// Try is Keep, if there is room for that. It reports whether there was.
func (r *Reservation) Try(n int64) bool {
	if !r.budget.Try(n - r.held) {
		return false
	}
	r.held = n
	return true
}
