package actors

import (
	"net/netip"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/ledger"
	"wsproxy/messages"
)

// freeMemory ends what holds the tunnel's memory, newest first, so that so many
// bytes come back. Newest of all is the message that comes just now.
func (a *handler) freeMemory(ctx actor.Context, bytes int64) {
	bytes -= a.mux.GiveUp()
	all := a.requestsHold(ctx)
	for _, c := range a.conns {
		all = append(all, ledger.Holding{Order: c.order, Source: c.count, Held: c.stream.Held(),
			End: func() { ctx.Send(c.pid, &abortConn{messages.CloseSlow}) }})
	}
	for _, h := range ledger.ToFree(all, bytes) {
		h.End()
	}
}

// windowCheck asks a conn to look at its window.
type windowCheck struct{}

// lookAtWindow narrows a window of which no use is made, for as long as it is wider
// than at first.
func (a *conn) lookAtWindow(ctx actor.Context) {
	if a.looks = a.window.Look(time.Now()); a.looks {
		self, root := ctx.Self(), ctx.ActorSystem().Root
		time.AfterFunc(ledger.WindowLook, func() { root.Send(self, &windowCheck{}) })
	}
}

// clearCrowd ends the newest request of the source address whose requests hold
// most, if that is much and all requests together hold most of what the tunnel does.
// What they hold keeps its client from being read.
func (a *handler) clearCrowd(ctx actor.Context) {
	newest, held := ledger.Crowd(a.requestsHold(ctx))
	if newest != nil && newest.Held >= ledger.GivesMuch && 2*held > a.mux.Held() {
		newest.End()
	}
}

// clearFor ends the newest request of the address that holds most when there was no
// memory for one of another, if requests hold most of what they may: its next
// attempt finds room. Bodies may come slowly, and would keep all others out.
func (a *handler) clearFor(ctx actor.Context, source netip.Prefix) {
	if !a.mux.Crowded() {
		return
	}
	if newest, _ := ledger.Crowd(a.requestsHold(ctx)); newest != nil && newest.Source != source {
		newest.End()
	}
}

// requestsHold returns what requests hold of the tunnel's memory.
func (a *handler) requestsHold(ctx actor.Context) (all []ledger.Holding) {
	for _, requests := range []map[string]*request{a.requests, a.leaving} {
		for _, r := range requests {
			all = append(all, ledger.Holding{Order: r.order, Source: r.open.Count, Held: int64(r.charged) + r.open.Exchange.Held(),
				End: func() { a.revoke(ctx, r, messages.ReasonMemory) }})
		}
	}
	return all
}
