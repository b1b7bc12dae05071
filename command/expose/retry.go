package expose

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// Bounds of the time between tries to open a tunnel.
const (
	firstDelay = time.Second
	maxDelay   = time.Minute
	// maxAfter bounds what a server may ask for.
	maxAfter = 10 * time.Minute
	// steadyTime is how long a tunnel has to live so that its end is no sign of
	// something that goes wrong each time.
	steadyTime = 20 * time.Second
	// sayAgain is how often it is said that the same goes on.
	sayAgain = 10 * time.Minute
)

// A retry counts tries, and says what is new about them.
type retry struct {
	say   func(string)
	name  string // in front of what it says, "" for nothing
	delay time.Duration

	tries  int // since the last tunnel
	since  time.Time
	said   string
	saidAt time.Time
}

// failed says why a try has failed, if that is new, and waits before the next one. It
// reports false when ctx has ended.
func (r *retry) failed(ctx context.Context, v verdict) bool {
	now := time.Now()
	if r.tries == 0 {
		r.since = now
	}
	r.tries++
	r.delay = min(max(2*r.delay, firstDelay), maxDelay)
	wait := max(r.delay, min(v.after, maxAfter))
	// Many clients that were cut at once don't come back at once.
	wait += time.Duration(rand.Int64N(int64(wait)/4 + 1))
	if v.says != r.said || now.Sub(r.saidAt) >= sayAgain {
		text := fmt.Sprintf("%s; trying again in %s, and so on until it works", v.says, wait.Round(time.Second))
		if v.says == r.said {
			text = fmt.Sprintf("still so after %s and %d tries: %s; trying on", now.Sub(r.since).Round(time.Second), r.tries, v.says)
		}
		r.tell(text)
		r.said, r.saidAt = v.says, now
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// opened says that there is a tunnel again, if there was none for a while. moved says
// that it has another address than the one before.
func (r *retry) opened(moved bool) {
	if r.tries > 0 {
		at := ""
		if moved {
			at = ", at another address"
		}
		r.tell(fmt.Sprintf("the tunnel is there again, after %s%s", time.Since(r.since).Round(time.Second), at))
	}
	r.tries, r.said = 0, ""
}

// lived notes for how long a tunnel has lived.
func (r *retry) lived(d time.Duration) {
	if d >= steadyTime {
		r.delay = 0
	}
}

func (r *retry) tell(text string) {
	if r.name != "" {
		text = r.name + ": " + text
	}
	r.say(text)
}
