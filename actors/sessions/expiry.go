package sessions

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// expiresSoon is how long before the end of a session its client is told that it needs a
// fresh token; if that is not half of the time that is left, then: fixed by the protocol.
const expiresSoon = time.Minute

// An Expiry ends a session when its token has expired. The zero Expiry is one of a
// session that goes on. It belongs to the actor that it is part of.
type Expiry struct {
	until time.Time
	set   uint32 // how often it was set: of the timer
	timer *time.Timer
}

// TokenDue tells an actor that its session's token has expired, or is about to.
type TokenDue struct{ set uint32 }

// Renew moves the end of a session that ends with its token to until, unless that is the
// zero Time.
func (e *Expiry) Renew(ctx actor.Context, until time.Time) {
	if !e.until.IsZero() {
		e.Set(ctx, until)
	}
}

// Set has the session end at until, unless that is the zero Time: then nothing changes.
func (e *Expiry) Set(ctx actor.Context, until time.Time) {
	if until.IsZero() {
		return
	}
	e.Stop()
	e.until = until
	e.set++
	left := time.Until(until)
	e.start(ctx, max(left-expiresSoon, left/2))
}

func (e *Expiry) start(ctx actor.Context, wait time.Duration) {
	self, root, due := ctx.Self(), ctx.ActorSystem().Root, &TokenDue{e.set}
	e.timer = time.AfterFunc(wait, func() { root.Send(self, due) })
}

// Due reports what is to be done: the session is over, or its client is to be told in how
// long it will be, in whole seconds, if that is not 0.
func (e *Expiry) Due(ctx actor.Context, m *TokenDue) (soon time.Duration, over bool) {
	if m.set != e.set || e.timer == nil {
		return 0, false
	}
	if soon = time.Until(e.until); soon <= 0 {
		return 0, true
	}
	e.start(ctx, soon)
	return soon.Round(time.Second), false
}

// Stop notes that the session is over.
func (e *Expiry) Stop() {
	if e.timer != nil {
		e.timer.Stop()
		e.timer = nil
	}
}
