package actors

import (
	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
)

// A request is an HTTP request to a tunnel that waits for its answer.
type request struct {
	open    *messages.OpenRequest
	claims  []messages.Claim
	granted bool // the limits have admitted it
}

// openRequest takes a request in, if this tunnel has room for it, and asks the
// limits whether its source address may have it.
func (a *handler) openRequest(ctx actor.Context, m *messages.OpenRequest) {
	switch {
	case a.closed != "":
		refusal := gone(a.closed)
		if refusal == messages.ReasonTunnelGone { // not for this one, which found none
			refusal = messages.ReasonNoTunnel
		}
		m.Answer <- messages.Answer{Refusal: refusal}
		return
	case a.isBusy(), a.requests[m.ID] != nil:
		m.Answer <- messages.Answer{Refusal: messages.ReasonTunnelBusy}
		return
	}
	r := &request{open: m, claims: []messages.Claim{{Kind: messages.ClaimHTTP, Source: m.Count}}}
	a.requests[m.ID] = r
	// The slot's holder is this handler, which may fail without it: the id
	// comes back with the answer. That may take some seconds, in which the
	// request waits for its turn.
	ctx.Send(a.needs.Limits, &messages.Acquire{Holder: ctx.Self(), Claims: r.claims, Tag: m.ID})
}

// isBusy reports whether the tunnel has as many requests as it may. Those that
// the limits have not judged, or let wait, don't count: else one source address
// that is over its limit would take the place of others.
func (a *handler) isBusy() bool {
	return a.needs.MaxHTTP > 0 && a.admitted+len(a.leaving) >= a.needs.MaxHTTP
}

func (a *handler) granted(ctx actor.Context, m *messages.Granted) {
	r := a.requests[m.Tag]
	if r == nil || r.granted { // it was given up, or an earlier incarnation asked
		ctx.Send(a.needs.Limits, &messages.Release{Holder: ctx.Self(), Claims: m.Claims})
		return
	}
	if a.isBusy() { // by those that were admitted meanwhile
		delete(a.requests, m.Tag)
		ctx.Send(a.needs.Limits, &messages.Release{Holder: ctx.Self(), Claims: m.Claims})
		r.open.Answer <- messages.Answer{Refusal: messages.ReasonTunnelBusy}
		return
	}
	r.granted = true
	a.admitted++
	if r.open.Frame == nil || m.Waited || !a.mux.TakesInline(len(r.open.Frame)) { // its time begins now
		r.open.Frame = nil
		r.open.Proceed <- a.mux // has room for it
		return
	}
	if !a.mux.Request(m.Tag, r.open.Frame) {
		a.endRequest(ctx, m.Tag, messages.Answer{Refusal: messages.ReasonMemory})
	}
	r.open.Frame = nil
}

func (a *handler) refused(m *messages.Refused) {
	if r := a.requests[m.Tag]; r != nil && !r.granted {
		delete(a.requests, m.Tag)
		r.open.Answer <- messages.Answer{Refusal: m.Reason}
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
	delete(a.requests, id)
	a.ended.Add(id)
	if r.granted {
		a.admitted--
	}
	if !r.granted {
		ctx.Send(a.needs.Limits, &messages.Withdraw{Holder: ctx.Self(), Tag: id})
	} else if answer.Response == nil {
		a.mux.Forget(id)
		ctx.Send(a.needs.Limits, &messages.Release{Holder: ctx.Self(), Claims: r.claims})
	}
	select {
	case r.open.Answer <- answer:
		if answer.Response != nil {
			a.leaving[id] = struct{}{}
		}
	default: // there is room for it, unless a failure has left an answer there
		a.dropped(answer)
	}
}

// dropped gives back what a response is charged that nobody gets.
func (a *handler) dropped(answer messages.Answer) {
	if answer.Response != nil {
		a.mux.Dropped(answer.Size)
	}
}
