package actors

import (
	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/sessions"
	"wsproxy/messages"
	"wsproxy/messages/inspect"
	"wsproxy/messages/renewal"
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

// token ends a tunnel whose client's token has expired, or tells it that it will, or takes
// note of a fresh one.
func (a *tunnel) token(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *renewal.Renewed:
		a.expiry.Set(ctx, m.Until)
	case *sessions.TokenDue:
		if soon, over := a.expiry.Due(ctx, m); over {
			a.shutdown(ctx, messages.ReasonTokenExpired, false)
		} else if soon > 0 && a.state == tunnelReady {
			a.open.Mux.Control(renewal.EncodeExpires(soon))
		}
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
