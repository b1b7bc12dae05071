package transport

import (
	"sync/atomic"
)

// A budget counts bytes that are held in memory against a bound, and against
// the bound of the budget above it. It counts; who takes bytes must have asked
// whether there is room. Any goroutine may use it.
type budget struct {
	above   *budget // nil at the top
	limit   int64   // bytes
	reserve int64   // bytes up to which it doesn't wait for the budget above
	held    atomic.Int64
	freed   func() // called when bytes come back; may be nil
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

// full reports whether the budget is used up, or the one above it. What others
// hold of that one is no matter to a budget that holds no more than its reserve.
func (b *budget) full() bool {
	held := b.held.Load()
	return held >= b.limit || b.above != nil && held > b.reserve && b.above.full()
}

// try takes n bytes if there is room for them, and reports whether it did.
func (b *budget) try(n int64) bool {
	if n <= 0 {
		b.add(n)
		return true
	}
	held := b.held.Add(n)
	switch {
	case held > b.limit:
	case b.above == nil:
		return true
	case held <= b.reserve:
		b.above.add(n)
		return true
	case b.above.try(n):
		return true
	}
	b.held.Add(-n)
	return false
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

// pass makes n bytes of the tally the caller's, to be given back to the budget.
func (t *tally) pass(n int64) {
	t.held.Add(-n)
	if t.ended.Load() { // they came back with the others, and are taken again
		t.settle()
	}
}

func (t *tally) settle() { t.budget.add(-t.held.Swap(0)) }

// A charge is what one goroutine holds of a budget.
type charge struct {
	budget *budget
	held   int64
}

// keep takes or gives back what makes the charge n bytes.
func (c *charge) keep(n int64) {
	c.budget.add(n - c.held)
	c.held = n
}

// try is keep, if there is room for that.
func (c *charge) try(n int64) bool {
	if !c.budget.try(n - c.held) {
		return false
	}
	c.held = n
	return true
}
