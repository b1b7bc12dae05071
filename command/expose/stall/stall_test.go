package stall

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A write that is stuck ends when the other side does, and one that isn't is left alone.
func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		end := make(chan struct{})
		g := &Guard{Broken: broken.Load, Abort: func() { close(end) }}
		for range 3 {
			_, _ = g.Write(func(b []byte) (int, error) { return len(b), nil }, nil)
			time.Sleep(3 * interval / 2)
		}
		began := time.Now()
		go func() {
			time.Sleep(5 * interval)
			broken.Store(true)
		}()
		_, _ = g.Write(func([]byte) (int, error) { <-end; return 0, nil }, nil)
		if took := time.Since(began); took < 5*interval || took > 7*interval {
			t.Errorf("it took %v", took)
		}
	})
}
