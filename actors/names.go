package actors

import (
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
)

// A named tunnel always has the subdomain of its name, which the latest tunnel of
// that name takes over. The one before it may still be about for a while: its
// raw connections deliver what they have for their peers. So the actors of named
// tunnels have names that never come twice, and at the subdomain is a door,
// behind which is the handler of the tunnel that has the name now.

// actorName returns what the actor of a tunnel is called. That of a named one is
// no subdomain.
func (o *openTunnel) actorName() string {
	if o.order == 0 {
		return o.subdomain
	}
	return o.subdomain + "-" + strconv.FormatUint(o.order, 10)
}

// takeName asks the tunnels actor, in the name of a tunnel that is about to
// begin, for its subdomain. The answer is nameGiven or nameTaken.
type takeName struct {
	subdomain string
	order     uint64
	tunnel    *actor.PID
	handler   *actor.PID
}

// nameGiven tells a tunnel that the requests for its subdomain go to its handler.
type nameGiven struct{}

// nameTaken tells a tunnel that a later one has its name.
type nameTaken struct{}

// A name is what the tunnels actor knows of one that a tunnel has.
type name struct {
	door   *door
	at     *actor.PID // where the door is
	tunnel *actor.PID // that has the name
	order  uint64     // of its coming
}

// A door stands at a subdomain in the library's registry of actors. The tunnels actor
// alone sets what is behind it.
type door struct{ handler atomic.Pointer[actor.PID] }

// SendUserMessage is the library's. Who would take a session up finds none here: a
// token has the name of the tunnel's actor. All else is for nobody.
func (*door) SendUserMessage(_ *actor.PID, message any) {
	if m, ok := message.(*messages.TakeUp); ok {
		m.Answer <- messages.ReasonNoSession
	}
}

// SendSystemMessage is the library's, and does nothing.
func (*door) SendSystemMessage(*actor.PID, any) {}

// Stop is the library's, and does nothing.
func (*door) Stop(*actor.PID) {}

// behind returns the handler behind a door, or nil if it is of the other kind.
func (d *door) behind(bytes bool) *actor.PID {
	if pid := d.handler.Load(); strings.HasSuffix(pid.Id, "/"+handlerName(bytes)) {
		return pid
	}
	return nil
}

// takeName gives a tunnel its name, and ends the one that had it. A tunnel that
// came later keeps it: the other one's client may have given up long ago, while
// it waited for its upgrade.
func (a *tunnels) takeName(ctx actor.Context, m *takeName) {
	if _, lives := a.held[m.tunnel.Id]; !lives { // its end has overtaken the message
		return
	}
	n := a.names[m.subdomain]
	switch {
	case n == nil:
		n = &name{door: &door{}}
		n.door.handler.Store(m.handler)
		at, fresh := ctx.ActorSystem().ProcessRegistry.Add(n.door, tunnelsName+"/"+m.subdomain)
		if !fresh { // one in 2^64: a tunnel without a name has that subdomain
			ctx.Send(m.tunnel, &nameTaken{})
			return
		}
		n.at = at
		a.names[m.subdomain] = n
	case n.order > m.order:
		ctx.Send(m.tunnel, &nameTaken{})
		return
	default:
		n.door.handler.Store(m.handler)
		ctx.Send(n.tunnel, &nameTaken{})
	}
	n.tunnel, n.order = m.tunnel, m.order
	ctx.Send(m.tunnel, &nameGiven{})
}

// giveUpName forgets the name of a tunnel that has ended, if it still has it.
func (a *tunnels) giveUpName(ctx actor.Context, tunnel *actor.PID) {
	subdomain := a.held[tunnel.Id].subdomain
	if n := a.names[subdomain]; n != nil && n.tunnel.Id == tunnel.Id {
		ctx.ActorSystem().ProcessRegistry.Remove(n.at)
		delete(a.names, subdomain)
	}
}
