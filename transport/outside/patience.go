package outside

import (
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"wsproxy/transport/wsock/kernel"
)

// patienceLooks is how often within its time an outside client is looked at that takes
// nothing: that much longer it may have.
const patienceLooks = 4

// ErrGone says that the outside client has gone, or takes nothing.
var ErrGone = errors.New("the outside client takes nothing more")

// A Patience cuts the connection of an outside client that acknowledges nothing of an
// answer for too long. What its kernel has acknowledged is progress, however little:
// a write that has not returned says nothing. It belongs to the goroutine that writes.
type Patience struct {
	time    time.Duration
	w       http.ResponseWriter
	outside *Conn // nil if it is not known: then each write has its time
	timer   *time.Timer
	writing atomic.Bool

	acked atomic.Int64 // bytes, at the last look that found more of them
	since atomic.Int64 // when that was, in ns since 1970
}

// NewPatience returns the patience with the client of a request, of so long.
func NewPatience(w http.ResponseWriter, r *http.Request, time time.Duration) *Patience {
	return &Patience{time: time, w: w, outside: Of(r)}
}

// Begin says that something is written from now on.
func (p *Patience) Begin() {
	if p.outside == nil {
		_ = http.NewResponseController(p.w).SetWriteDeadline(time.Now().Add(p.time))
		return
	}
	p.acked.Store(-1)
	p.writing.Store(true)
	if p.timer == nil {
		p.timer = time.AfterFunc(p.time/patienceLooks, p.look)
	} else {
		p.timer.Reset(p.time / patienceLooks)
	}
}

// End says that it was written, or not. It returns ErrGone if it was not.
func (p *Patience) End(err error) error {
	if p.outside != nil {
		p.writing.Store(false)
		p.timer.Stop()
	}
	if err != nil {
		return ErrGone
	}
	return nil
}

func (p *Patience) look() {
	if !p.writing.Load() {
		return
	}
	raw, err := p.outside.SyscallConn()
	if err != nil {
		return
	}
	now := time.Now()
	if acked := int64(kernel.BytesAcked(raw)); acked != p.acked.Swap(acked) {
		p.since.Store(now.UnixNano())
	} else if now.UnixNano()-p.since.Load() >= int64(p.time)*(patienceLooks-1)/patienceLooks {
		p.outside.Cut()
		return
	}
	p.timer.Reset(p.time / patienceLooks)
}
