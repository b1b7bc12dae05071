package actors

import (
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
)

// A listener that failed is opened again after a while, and after twice as
// long each time that fails too.
const (
	firstReopen = 100 * time.Millisecond
	lastReopen  = 5 * time.Second
)

// reopen asks a tunnel to open its raw port again.
type reopen struct{}

// takePort asks for a raw port, and says which one was busy, if one was.
func (a *tunnel) takePort(ctx actor.Context, busy uint16) {
	a.tries++
	ctx.Send(a.needs.Ports, &messages.TakePort{Holder: ctx.Self(), Busy: busy, Last: a.tries > a.needs.PortTries})
}

func (a *tunnel) listen(ctx actor.Context, m *messages.PortTaken) {
	if a.state != tunnelListening {
		return
	}
	if m.Port == 0 {
		a.ready(ctx)
		return
	}
	a.open.Mux.Listen(m.Port)
}

func (a *tunnel) opened(ctx actor.Context, m *messages.PortOpened) {
	switch {
	case a.state == tunnelListening && m.Err == nil:
		a.port = m.Port
		a.ready(ctx)
	case a.state == tunnelListening:
		a.log(ctx).Debug("a raw port is held by something else", "port", m.Port, "error", m.Err)
		a.takePort(ctx, m.Port)
	case a.state == tunnelReady && m.Err == nil:
		a.backoff = 0
		a.log(ctx).Info("the raw port is open again", "port", m.Port)
	case a.state == tunnelReady:
		a.reopenLater(ctx)
	}
}

func (a *tunnel) portFailed(ctx actor.Context, err error) {
	if a.state == tunnelReady {
		a.log(ctx).Warn("the raw port's listener failed and is opened again", "port", a.port, "error", err)
		a.reopenLater(ctx)
	}
}

func (a *tunnel) reopenLater(ctx actor.Context) {
	a.backoff = min(max(2*a.backoff, firstReopen), lastReopen)
	self, root := ctx.Self(), ctx.ActorSystem().Root
	time.AfterFunc(a.backoff, func() { root.Send(self, &reopen{}) })
}
