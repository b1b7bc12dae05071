package tunnel

import "sync/atomic"

// A Budget counts bytes that are held in memory against a bound, and against
// the bound of the budget above it. It counts; who takes bytes must have asked
// whether there is room. Any goroutine may use it.
type Budget struct {
	above   *Budget // nil at the top
	limit   int64   // bytes
	reserve int64   // bytes up to which it doesn't wait for the budget above
	held    atomic.Int64
	freed   func() // called when bytes come back; may be nil
}

// NewBudget returns a budget of limit bytes below another one, nil for none.
func NewBudget(above *Budget, limit int64) *Budget {
	return &Budget{above: above, limit: limit}
}

// Held returns how many bytes are held.
func (b *Budget) Held() int64 { return b.held.Load() }

// Add takes n bytes, or gives back if n is negative.
func (b *Budget) Add(n int64) {
	if n == 0 {
		return
	}
	b.held.Add(n)
	if b.above != nil {
		b.above.Add(n)
	}
	if n < 0 && b.freed != nil {
		b.freed()
	}
}

// full reports whether the budget is used up, or the one above it. What others
// hold of that one is no matter to a budget that holds no more than its reserve.
func (b *Budget) full() bool {
	held := b.held.Load()
	return held >= b.limit || b.above != nil && held > b.reserve && b.above.full()
}

// Try takes n bytes if there is room for them, and reports whether it did.
func (b *Budget) Try(n int64) bool {
	if n <= 0 {
		b.Add(n)
		return true
	}
	held := b.held.Add(n)
	switch {
	case held > b.limit:
	case b.above == nil:
		return true
	case held <= b.reserve:
		b.above.Add(n)
		return true
	case b.above.Try(n):
		return true
	}
	b.held.Add(-n)
	return false
}

// An account is the part of a budget that one owner holds. It comes back whole,
// exactly once, when the owner ends; what is added after that counts nowhere.
type account struct {
	budget *Budget
	held   atomic.Int64
	ended  atomic.Bool
}

func (a *account) add(n int64) {
	if a.ended.Load() {
		return
	}
	a.held.Add(n)
	a.budget.Add(n)
	if a.ended.Load() { // it ended meanwhile, maybe before n was there
		a.settle()
	}
}

func (a *account) end() {
	a.ended.Store(true)
	a.settle()
}

// pass makes n bytes of the account the caller's, to be given back to the
// budget.
func (a *account) pass(n int64) {
	a.held.Add(-n)
	if a.ended.Load() { // they came back with the others, and are taken again
		a.settle()
	}
}

func (a *account) settle() { a.budget.Add(-a.held.Swap(0)) }

// A Reservation is what one goroutine holds of a budget.
type Reservation struct {
	budget *Budget
	held   int64
}

// Held returns the bytes of the reservation.
func (r *Reservation) Held() int64 { return r.held }

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
