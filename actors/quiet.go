package actors

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
)

// A raw connection on which nothing comes keeps its slot for as long as both
// sides like, unless the operator sets TUNNEL_TCP_IDLE_TIMEOUT. Then it is reset:
// neither side may take its end for that of what the other one had to say.

// quietLooks is how often a connection is looked at within the idle time-out:
// that much later at most it is closed. Between the looks bytes cost nothing.
const quietLooks = 8

// quietCheck asks a conn whether anything has come since the last look.
type quietCheck struct{}

// A quiet is for how long nothing has come on a raw connection.
type quiet struct {
	moved int64     // bytes, both ways, at the last look
	since time.Time // the first look that found as many
}

// startQuiet begins to look whether bytes come. Connections whose outer end is
// this process are its own: who uses them has time-outs for what they wait for.
func (a *conn) startQuiet(ctx actor.Context) {
	if a.needs.RawIdle > 0 && a.claims[0].Kind == messages.ClaimRawAddress {
		a.quiet.since = time.Now()
		a.lookQuiet(ctx)
	}
}

func (a *conn) lookQuiet(ctx actor.Context) {
	self, root := ctx.Self(), ctx.ActorSystem().Root
	time.AfterFunc(a.needs.RawIdle/quietLooks, func() { root.Send(self, &quietCheck{}) })
}

// watchQuiet resets a connection on which nothing has come for the idle
// time-out. While the tunnel is not read for want of room its client can't send,
// which is no idleness. One that is closing has a patience of its own.
func (a *conn) watchQuiet(ctx actor.Context) {
	if a.state >= connClosing {
		return
	}
	in, out := a.stream.Moved()
	now := time.Now()
	if in+out != a.quiet.moved || a.mux.Full() {
		a.quiet = quiet{in + out, now}
	}
	if now.Sub(a.quiet.since) >= a.needs.RawIdle {
		a.abort(messages.CloseIdle)
		return
	}
	a.lookQuiet(ctx)
}
