package gossh

import (
	"time"

	"wsproxy/transport/wsock"
)

// A pace keeps a stream from being cut into more frames than the
// client queues: small ones that come fast wait a little, and are read as one.
// What is typed, or asked and answered, is never that fast for that long.
type pace struct {
	used float64   // frames of the allowance that are used up
	last time.Time // when that was so
}

const (
	paceBurst = 32                   // frames that may come at once
	paceStep  = 5 * time.Millisecond // for each further one
	paceSmall = wsock.BufferSize / 2 // bytes of payload from which on a frame is not small
)

// next returns how long to wait after a frame with n bytes of payload.
func (p *pace) next(n int) time.Duration {
	if n >= paceSmall {
		return 0
	}
	now := time.Now()
	p.used = max(p.used-float64(now.Sub(p.last))/float64(paceStep), 0) + 1
	p.last = now
	return max(time.Duration((p.used-paceBurst)*float64(paceStep)), 0)
}
