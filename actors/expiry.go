package actors

import (
	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/sessions"
	"wsproxy/messages"
	"wsproxy/messages/renewal"
)

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
