package actors

import (
	"cmp"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/ledger"
	"wsproxy/messages"
)

// A request is an HTTP request to a tunnel: it waits for its body, for its slot,
// for its answer, or for the outside client to take that.
type request struct {
	open    *messages.OpenRequest
	slot    ledger.Slot
	claims  []messages.Claim
	asked   bool            // the limits were
	granted bool            // the limits have admitted it
	charged int             // bytes of its frame, while that waits
	order   uint64          // of its coming, among all that hold the tunnel's memory
	stream  messages.Stream // what it has become; nil unless it was upgraded
}

// openRequest takes a request in. It has no slot while its body comes, and asks
// for one then: what bounds those that read is memory, time, and how many of them
// one source address may have.
func (a *handler) openRequest(ctx actor.Context, m *messages.OpenRequest) {
	a.came++
	r := &request{open: m, order: a.came, slot: ledger.Slot{ID: m.ID, Source: m.Count}}
	var refusal messages.Reason
	switch {
	case a.closed != "":
		if refusal = gone(a.closed); refusal == messages.ReasonTunnelGone { // not for this one, which found none
			refusal = messages.ReasonNoTunnel
		}
	case a.requests[m.ID] != nil, a.leaving[m.ID] != nil:
		refusal = messages.ReasonTunnelBusy
	case m.Body && !a.slots.Reads(&r.slot):
		refusal = messages.ReasonHTTPShare
	case !a.mux.TakeMemory(cap(m.Frame)):
		refusal = messages.ReasonMemory
	}
	if refusal != "" {
		if refusal == messages.ReasonMemory {
			a.clearFor(ctx, m.Count)
		}
		m.Answer <- messages.Answer{Refusal: refusal}
		return
	}
	r.charged = cap(m.Frame)
	a.requests[m.ID] = r
	a.slots.Arrive(&r.slot)
	if m.Body {
		m.Proceed <- a.mux // has room for it
		return
	}
	if m.Taken != nil {
		m.Taken <- a.mux // has room for it
	}
	a.ask(ctx, r)
}

// ask asks the limits for a request's slot. Its holder is this handler, which may
// fail without it: the id comes back with the answer. That may take some seconds,
// in which the request waits for its turn.
//
// If its address has all the slots that it may have, and all by upgraded connections,
// one of them gives way: such ones end when their users like. Other requests end by
// themselves: a page that asks for a hundred files keeps its WebSocket.
func (a *handler) ask(ctx actor.Context, r *request) {
	if a.slots.UsedUp(r.open.Count) {
		idlest, n := a.idlest(func(of *request) bool { return of.open.Count == r.open.Count })
		if idlest != nil && n >= a.slots.HeldBy(r.open.Count) {
			a.revoke(ctx, idlest, messages.ReasonGaveWay)
		}
	}
	r.asked, r.claims = true, a.owner.HTTPClaims(r.open.Count)
	ctx.Send(a.needs.Limits, &messages.Acquire{Holder: ctx.Self(), Claims: r.claims, Tag: r.open.ID})
}

func (a *handler) granted(ctx actor.Context, m *messages.Granted) {
	r := a.requests[m.Tag]
	if r == nil || r.granted { // it was given up, or an earlier incarnation asked
		ctx.Send(a.needs.Limits, &messages.Release{Holder: ctx.Self(), Claims: m.Claims})
		return
	}
	if a.slots.Full() && !a.giveWay(ctx, r) {
		a.forget(r)
		ctx.Send(a.needs.Limits, &messages.Release{Holder: ctx.Self(), Claims: m.Claims})
		r.open.Answer <- messages.Answer{Refusal: messages.ReasonTunnelBusy}
		return
	}
	a.slots.Take(&r.slot)
	r.granted = true
	a.uncharge(r)                                                                 // from here on by who has the frame
	if r.open.Frame == nil || m.Waited || !a.mux.TakesInline(len(r.open.Frame)) { // its time begins now
		r.open.Proceed <- a.mux // has room for it: the word to read was heard
		return
	}
	if !a.mux.Request(m.Tag, r.open.Frame) {
		a.endRequest(ctx, m.Tag, messages.Answer{Refusal: messages.ReasonMemory})
	}
	r.open.Frame = nil
}

// idlest returns the upgraded connection on which nothing has moved for longest, of
// the source address that has most slots among those with such, nil if there is none;
// and how many upgraded connections there are.
func (a *handler) idlest(counts func(*request) bool) (idlest *request, all int) {
	most := 0
	for _, r := range a.requests {
		if r.stream == nil || !counts(r) {
			continue
		}
		all++
		if n := a.slots.HeldBy(r.open.Count); n > most || n == most && r.stream.LastMoved().Before(idlest.stream.LastMoved()) {
			idlest, most = r, n
		}
	}
	return idlest, all
}

// giveWay has a request give its slot to a newcomer, and reports whether one did: an
// upgraded connection before all others. The claims of one whose answer is on its way are the edge's: they come back when
// it finds its connection cut.
func (a *handler) giveWay(ctx actor.Context, newcomer *request) bool {
	if idlest, _ := a.idlest(func(*request) bool { return true }); idlest != nil {
		a.revoke(ctx, idlest, messages.ReasonGaveWay)
		return true
	}
	slot := a.slots.Yielding(newcomer.open.Count)
	if slot == nil {
		return false
	}
	a.revoke(ctx, cmp.Or(a.requests[slot.ID], a.leaving[slot.ID]), messages.ReasonGaveWay)
	return true
}

// revoke ends a request: one that waits is answered with the reason, of one whose
// answer is on its way the connection is cut.
func (a *handler) revoke(ctx actor.Context, r *request, reason messages.Reason) {
	id := r.open.ID
	if a.requests[id] == r {
		a.endRequest(ctx, id, messages.Answer{Refusal: reason})
	}
	a.delivered(id)
	r.open.Exchange.Revoke()
}

func (a *handler) refused(m *messages.Refused) {
	if r := a.requests[m.Tag]; r != nil && !r.granted {
		a.forget(r)
		r.open.Answer <- messages.Answer{Refusal: m.Reason}
	}
}

// forget takes back what a request has of the tunnel.
func (a *handler) forget(r *request) {
	delete(a.requests, r.open.ID)
	a.uncharge(r)
	a.slots.Leave(&r.slot)
}

func (a *handler) uncharge(r *request) {
	if r.charged > 0 {
		a.mux.GiveMemory(r.charged)
		r.charged = 0
	}
}

// delivered ends a request whose answer the outside client has, or never gets.
func (a *handler) delivered(id string) {
	if r := a.leaving[id]; r != nil {
		delete(a.leaving, id)
		a.slots.Leave(&r.slot)
	}
}

// respond passes on what the client answers.
func (a *handler) respond(ctx actor.Context, id string, answer messages.Answer) {
	if a.requests[id] == nil {
		a.stray(id, "a response to a request that there is not")
	}
	a.endRequest(ctx, id, answer)
}

// endRequest gives a request its one answer. An answer to a request that has
// ended is dropped: it is late, or a second one. The slot of one that the
// client has answered is given back by the edge, when the outside client has
// the answer. One that the client was not sent yet, it never is.
func (a *handler) endRequest(ctx actor.Context, id string, answer messages.Answer) {
	r := a.requests[id]
	if r == nil {
		a.dropped(answer)
		return
	}
	a.ended.Add(id)
	if r.asked && !r.granted {
		ctx.Send(a.needs.Limits, &messages.Withdraw{Holder: ctx.Self(), Tag: id})
	}
	if answer.Response != nil { // keeps its slot
		delete(a.requests, id)
		a.uncharge(r)
		a.leaving[id] = r
		if r.granted {
			answer.Claims = r.claims
		}
	} else {
		a.forget(r)
		if r.granted {
			a.mux.Forget(id)
			ctx.Send(a.needs.Limits, &messages.Release{Holder: ctx.Self(), Claims: r.claims})
		}
	}
	select {
	case r.open.Answer <- answer:
	default: // there is room for it, unless a failure has left an answer there
		a.dropped(answer)
		a.delivered(id)
	}
}

// dropped gives back what a response is charged that nobody gets.
func (a *handler) dropped(answer messages.Answer) {
	if answer.Response != nil {
		a.mux.Dropped(answer.Size)
	}
}
