package wsproxy

import (
	"os"
	"sync"
	"time"
)

// A deadline of one direction, without a goroutine: a timer wakes those who wait.
// Under the lock of its cond.
type deadline struct {
	timer   *time.Timer
	expired bool
}

// set has the cond's waiters hear of a time.
func (d *deadline) set(t time.Time, wake *sync.Cond) {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.expired = false
	switch left := time.Until(t); {
	case t.IsZero():
	case left <= 0:
		d.expired = true
		wake.Broadcast()
	default:
		var timer *time.Timer
		timer = time.AfterFunc(left, func() {
			wake.L.Lock()
			defer wake.L.Unlock()
			if d.timer == timer { // else it was set anew meanwhile
				d.expired = true
				wake.Broadcast()
			}
		})
		d.timer = timer
	}
}

func (d *deadline) err() error {
	if d.expired {
		return os.ErrDeadlineExceeded
	}
	return nil
}
