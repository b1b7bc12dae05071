package supervise

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// What is scheduled is done, also while all others are held up, and after the
// end. synctest fails if a goroutine is left.
func TestWorkersDoAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWorkers()
		var done atomic.Int32
		held := make(chan struct{})
		for range 3 * idleWorkers {
			w.Schedule(func() { <-held; done.Add(1) })
		}
		w.Schedule(func() { done.Add(1) })
		synctest.Wait()
		if n := done.Load(); n != 1 {
			t.Errorf("beside those that are held up %d were done", n)
		}
		if n := len(w.idle); n != 1 {
			t.Errorf("%d wait", n)
		}
		close(held)
		synctest.Wait()
		if n := done.Load(); n != 3*idleWorkers+1 {
			t.Errorf("%d were done", n)
		}
		if n := len(w.idle); n != idleWorkers {
			t.Errorf("%d wait, not %d", n, idleWorkers)
		}
		w.Close()
		w.Schedule(func() { done.Add(1) })
		synctest.Wait()
		if n := done.Load(); n != 3*idleWorkers+2 {
			t.Errorf("%d were done after the end", n)
		}
	})
}

// The same goroutine serves again: that is what they are for.
func TestWorkersAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := NewWorkers()
		defer w.Close()
		for range 100 {
			w.Schedule(func() {})
			synctest.Wait()
			if n := len(w.idle); n != 1 {
				t.Fatalf("%d wait", n)
			}
		}
	})
}
