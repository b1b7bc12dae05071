package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// sources is how many source addresses, from 127.0.0.2 on, connections are spread over:
// a server counts by address, and one address has some 28,000 ports.
const sources = 250

// OpenLimit is how many connections are opened at a time.
const OpenLimit = 64

// A Run is one run of a load. Its context ends when the run does, when anything in it
// fails, when its time is over or when the caller's context ends. Every connection of
// the run is closed then, so that nothing keeps waiting.
type Run struct {
	Server string // the server's address, host:port

	ctx      context.Context
	cancel   context.CancelCauseFunc
	stopTime context.CancelFunc
}

// NewRun begins a run against a server, which must be on loopback: no load goes
// elsewhere. The caller ends it.
func NewRun(ctx context.Context, server string, timeout time.Duration) (*Run, error) {
	host, _, err := net.SplitHostPort(server)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return nil, fmt.Errorf("%q is not the address of a server on loopback", server)
	}
	r := &Run{Server: server}
	ctx, r.stopTime = context.WithTimeoutCause(ctx, timeout, fmt.Errorf("it was not over after %v", timeout))
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	return r, nil
}

// errOver is why a run ends that has not failed.
var errOver = errors.New("the run is over")

// End ends the run.
func (r *Run) End() {
	r.cancel(errOver)
	r.stopTime()
}

// Fail ends the run because of err, unless it has ended already.
func (r *Run) Fail(err error) { r.cancel(err) }

// Err returns why the run has ended, nil while it goes on.
func (r *Run) Err() error { return context.Cause(r.ctx) }

// Done is closed when the run has ended.
func (r *Run) Done() <-chan struct{} { return r.ctx.Done() }

// Parallel calls f for 0 to n-1, at most limit at a time, and waits for all. The first
// error fails the run.
func (r *Run) Parallel(n, limit int, f func(i int) error) error {
	var wg sync.WaitGroup
	slots := make(chan struct{}, limit)
	for i := range n {
		slots <- struct{}{}
		if r.ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := f(i); err != nil {
				r.Fail(err)
			}
		})
	}
	wg.Wait()
	return r.Err()
}

// Sleep waits for d, or until the run ends.
func (r *Run) Sleep(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-r.ctx.Done():
		return r.Err()
	}
}

// Context ends with the run.
func (r *Run) Context() context.Context { return r.ctx }
