package actors

import (
	"cmp"
	"slices"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
)

// giveWayWorth is below how many bytes nothing is ended to make room, as long as
// there is something that holds more: it would help nobody.
const giveWayWorth = 64 << 10

// A holder holds some of the tunnel's memory, and can be made to give way.
type holder struct {
	order uint64 // of its coming
	held  int64  // bytes
	end   func()
}

// freeMemory ends what holds the tunnel's memory, newest first, until so many bytes
// will come back.
func (a *handler) freeMemory(ctx actor.Context, bytes int64) {
	var small, large []holder
	for _, h := range a.holders(ctx) {
		switch {
		case h.held >= giveWayWorth:
			large = append(large, h)
		case h.held > 0:
			small = append(small, h)
		}
	}
	newest := func(a, b holder) int { return cmp.Compare(b.order, a.order) }
	slices.SortFunc(small, newest)
	slices.SortFunc(large, newest)
	for _, h := range append(large, small...) {
		if bytes <= 0 {
			return
		}
		bytes -= h.held
		h.end()
	}
}

// holders returns what holds some of the tunnel's memory.
func (a *handler) holders(ctx actor.Context) []holder {
	var all []holder
	for _, requests := range []map[string]*request{a.requests, a.leaving} {
		for _, r := range requests {
			all = append(all, holder{r.order, r.open.Exchange.Held(), func() { a.revoke(ctx, r, messages.ReasonMemory) }})
		}
	}
	for _, c := range a.conns {
		all = append(all, holder{c.order, c.stream.Held(), func() { ctx.Send(c.pid, &abortConn{messages.CloseSlow}) }})
	}
	return all
}
