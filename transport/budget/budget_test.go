package budget

import (
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// Whatever adds, gives back and ends at the same time, in whatever order: all
// comes back, exactly once.
func TestAccountComesBackExactlyOnce(t *testing.T) {
	for round := range 300 {
		total := New(1 << 40)
		tunnel := total.Below(1 << 40)
		accounts := []*Account{{budget: tunnel}, {budget: tunnel}, {budget: total}}
		var all sync.WaitGroup
		begin := make(chan struct{})
		for i, owner := range accounts {
			for j := range 3 {
				all.Go(func() {
					random := rand.New(rand.NewPCG(uint64(round), uint64(10*i+j)))
					<-begin
					for range random.IntN(50) {
						n := 1 + random.Int64N(1000)
						owner.Add(n)
						if random.IntN(2) == 0 {
							owner.Add(-n)
						}
					}
				})
			}
			all.Go(func() {
				<-begin
				for range round % 40 {
					owner.Add(0)
				}
				owner.End()
				owner.End()
			})
		}
		close(begin)
		all.Wait()
		for _, owner := range accounts {
			owner.Add(1 << 20) // after the end it counts nowhere
		}
		if a, b := total.held.Load(), tunnel.held.Load(); a != 0 || b != 0 {
			t.Fatalf("round %d: %d bytes of all tunnels and %d of one are held for ever", round, a, b)
		}
	}
}

// One adds just when another ends: nothing falls between the two.
func TestAccountThatEndsWhileItGrows(t *testing.T) {
	total := New(1 << 40)
	for round := range 10_000 {
		owner := &Account{budget: total}
		var ready atomic.Int32
		meet := func() {
			for ready.Add(1); ready.Load() < 2; {
				runtime.Gosched()
			}
		}
		var both sync.WaitGroup
		both.Go(func() {
			meet()
			for range 60 {
				owner.Add(7)
			}
		})
		meet()
		for range round % 60 { // a little later each time
			_ = owner.held.Load()
		}
		owner.End()
		both.Wait()
		if held := total.held.Load(); held != 0 {
			t.Fatalf("%d bytes are held for ever", held)
		}
	}
}

// While nobody ends, the sums hold at both levels.
func TestBudgetCountsAtBothLevels(t *testing.T) {
	total := New(100)
	one, other := total.Below(60), total.Below(60)
	var freed atomic.Int32
	one.freed = func() { freed.Add(1) }
	check := func(when string, full, otherFull bool, wantFreed int32) {
		t.Helper()
		if one.Full() != full || other.Full() != otherFull || freed.Load() != wantFreed {
			t.Errorf("%s: full %t, the other %t, freed %d times", when, one.Full(), other.Full(), freed.Load())
		}
	}
	one.Add(59)
	check("one below its bound", false, false, 0)
	one.Add(1)
	check("one at its bound", true, false, 0)
	other.Add(40)
	check("all at their bound", true, true, 0)
	one.Add(-1)
	check("all one below", false, false, 1)
	if total.Try(2) || total.held.Load() != 99 {
		t.Errorf("more than the bound was taken: %d", total.held.Load())
	}
	if !total.Try(1) || total.Try(1) {
		t.Error("the last byte was not taken, or twice")
	}
	one.Add(0)
	total.Add(-1)
	one.Add(-59)
	other.Add(-40)
	check("at the end", false, false, 2)
	if total.held.Load() != 0 {
		t.Errorf("%d bytes are left", total.held.Load())
	}
}

// Many who try at once never get more than there is, and all is there after.
func TestBudgetIsNeverOverdrawn(t *testing.T) {
	total := New(1000)
	var all sync.WaitGroup
	var have, most atomic.Int64
	for range 8 {
		all.Go(func() {
			for range 2000 {
				if !total.Try(300) {
					continue
				}
				now := have.Add(300)
				for was := most.Load(); now > was && !most.CompareAndSwap(was, now); was = most.Load() {
				}
				have.Add(-300)
				total.Add(-300)
			}
		})
	}
	all.Wait()
	if most.Load() > 1000 || total.held.Load() != 0 {
		t.Errorf("%d were lent at once, %d are left", most.Load(), total.held.Load())
	}
}

// What is passed on while the account ends is the other owner's: nothing comes
// back twice, and nothing is held by nobody.
func TestAccountThatEndsWhileItIsPassedOn(t *testing.T) {
	for round := range 10_000 {
		total := New(1 << 40)
		owner := &Account{budget: total}
		owner.Add(5)
		owner.Add(7)
		owner.Add(11)
		var ready atomic.Int32
		meet := func() {
			for ready.Add(1); ready.Load() < 3; {
				runtime.Gosched()
			}
		}
		var all sync.WaitGroup
		all.Go(func() { meet(); owner.Pass(5) })
		all.Go(func() { meet(); owner.Pass(7) })
		meet()
		for range round % 60 { // a little later each time
			_ = owner.held.Load()
		}
		owner.End()
		all.Wait()
		if held := total.held.Load(); held != 12 {
			t.Fatalf("%d bytes are held, 12 were passed on", held)
		}
	}
}
