package actors

import (
	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
	"wsproxy/messages/inspect"
)

// tunnelStates are the states that are told to who looks at sessions.
var tunnelStates = [...]string{"", "", "opening", "opening", "ready", "closing", "leaving"}

// describe answers by its handler, which knows the rest.
func (a *tunnel) describe(ctx actor.Context, m *inspect.Describe) {
	s := inspect.Session{}
	if !a.started.IsZero() {
		s = inspect.Session{ID: a.open.subdomain, Kind: inspect.Tunnel, User: a.open.User, Source: a.open.Source, State: tunnelStates[a.state], Since: a.started,
			Tunnel: &inspect.Part{Subdomain: a.open.subdomain, Port: a.port, Held: a.open.Mux.Held()}}
		if a.open.order > 0 { // else its name was ignored
			s.Tunnel.Name = a.open.Name
		}
		s.ToClient, s.FromClient = a.open.Mux.Moved()
		if s.DetachedSince, s.Resumed = a.lasting.Away(); a.lasting.IsAway() {
			s.State = inspect.Detached
		}
	}
	if a.handler == nil {
		m.Answer <- s
		return
	}
	ctx.Send(a.handler, &inspect.Fill{Session: s, Answer: m.Answer})
}

// ordered ends a tunnel that is too old, or that the operator wants to end.
func (a *tunnel) ordered(ctx actor.Context, m *inspect.End) {
	if m.Concerns(a.started) && (m.Before.IsZero() || a.state < tunnelClosing) {
		a.shutdown(ctx, m.Reason, false)
	}
}

// end tells the tunnels of a subdomain that the operator wants them to end, and returns how
// many there are.
func (a *tunnels) end(ctx actor.Context, subdomain string) (found int) {
	for id, h := range a.held {
		if h.subdomain == subdomain {
			ctx.Send(ctx.ActorSystem().NewLocalPID(id), &inspect.End{Reason: messages.ReasonOperator})
			found++
		}
	}
	return found
}
