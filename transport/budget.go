package transport

import (
	"sync/atomic"
)

// A budget counts bytes that are held in memory against a bound, and against
// the bound of the budget above it. It counts; who takes bytes must have asked
// whether there is room. Any goroutine may use it.
type budget struct {
	above *budget // nil at the top
	limit int64   // bytes
	held  atomic.Int64
	freed func() // called when bytes come back; may be nil
}

func newBudget(above *budget, limit int64) *budget {
	return &budget{above: above, limit: limit}
}

// add takes n bytes, or gives back if n is negative.
func (b *budget) add(n int64) {
	if n == 0 {
		return
	}
	b.held.Add(n)
	if b.above != nil {
		b.above.add(n)
	}
	if n < 0 && b.freed != nil {
		b.freed()
	}
}

// full reports whether the budget or the one above it is used up.
func (b *budget) full() bool {
	return b.held.Load() >= b.limit || b.above != nil && b.above.full()
}

// try takes n bytes if that leaves the budget within its bound, and reports
// whether it did.
func (b *budget) try(n int64) bool {
	if b.held.Add(n) > b.limit {
		b.held.Add(-n)
		return false
	}
	return true
}

// A tally is the part of a budget that one owner holds. It comes back whole,
// exactly once, when the owner ends; what is added after that counts nowhere.
type tally struct {
	budget *budget
	held   atomic.Int64
	ended  atomic.Bool
}

func (t *tally) add(n int64) {
	if t.ended.Load() {
		return
	}
	t.held.Add(n)
	t.budget.add(n)
	if t.ended.Load() { // it ended meanwhile, maybe before n was there
		t.settle()
	}
}

func (t *tally) end() {
	t.ended.Store(true)
	t.settle()
}

func (t *tally) settle() { t.budget.add(-t.held.Swap(0)) }
