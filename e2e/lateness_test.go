package e2e

import (
	"sync"
	"time"
)

// A lateness says how much time this machine has taken from the tests: how late,
// all in all, short timers of this process have fired. Several tests run at once
// on few processors, with servers that the race detector slows down, so that what
// takes a millisecond on a machine that is idle sometimes takes a second.
type lateness struct {
	mu    sync.Mutex
	looks []look // in order of time
}

// A look is what was late until a moment.
type look struct {
	at   time.Time
	late time.Duration
}

// lookEvery is short beside the bounds that tests have, and costs little.
const lookEvery = 10 * time.Millisecond

var machine lateness

// watch looks until the process ends.
func (l *lateness) watch() {
	var late time.Duration
	for {
		began := time.Now()
		<-time.After(lookEvery)
		now := time.Now()
		late += max(0, now.Sub(began)-lookEvery)
		l.mu.Lock()
		l.looks = append(l.looks, look{now, late})
		l.mu.Unlock()
	}
}

// since says how much was late since then. A look that is still under way counts.
func (l *lateness) since(then time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.looks) == 0 {
		return 0
	}
	last := l.looks[len(l.looks)-1]
	late := last.late + max(0, time.Since(last.at)-lookEvery)
	for i := len(l.looks) - 1; i >= 0; i-- {
		if l.looks[i].at.Before(then) {
			return late - l.looks[i].late
		}
	}
	return late
}

// elapsed is what has passed since then, less what the machine took. It is for
// upper bounds: the server and the test wait for a processor in turns, so each
// moment that is late here counts for one of its own.
func elapsed(then time.Time) time.Duration {
	return max(0, time.Since(then)-2*machine.since(then))
}
