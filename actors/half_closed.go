package actors

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
)

// halfClosedPatience is how long a raw connection whose outside peer has ended
// its stream lives without data from the client: fixed by the protocol.
const halfClosedPatience = 30 * time.Second

// heldLook is how often is looked whether a tunnel that was not read is read
// again: that much of halfClosedPatience its client loses at most.
const heldLook = halfClosedPatience / 16

// idleCheck asks a half-closed conn whether it has been idle for long enough, or
// its peer has stalled.
type idleCheck struct{ acked int64 } // when bytes waited at the last look; else -1

// watchHalfClosed closes a half-closed connection that has been idle, and looks
// again when it could be. While bytes wait for the peer, or the tunnel is not
// read, the client may have more to say than it can: that is no idleness. A peer
// that takes nothing is reset, for then something is lost and the client must
// hear of it.
func (a *conn) watchHalfClosed(ctx actor.Context, before int64) {
	waiting, acked := a.stream.Waiting()
	rest := halfClosedPatience - time.Since(a.idle)
	switch {
	case waiting > 0 && acked == before:
		a.abort(messages.CloseSlow)
		return
	case waiting > 0:
		rest = flushPatience
	case a.mux.Full():
		a.idle, rest, acked = time.Now(), heldLook, -1
	case rest > 0:
		acked = -1
	default:
		a.late = true
		a.endWrite(ctx)
		return
	}
	self, root := ctx.Self(), ctx.ActorSystem().Root
	time.AfterFunc(rest, func() { root.Send(self, &idleCheck{acked}) })
}
