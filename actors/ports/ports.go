package ports

import (
	"log/slog"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/supervise"
	"wsproxy/messages"
)

// Spawn starts the actor that lends the raw ports first to last, both
// included. A failure loses one request, and no port. free, if it is not nil, is told
// how many are free whenever that may have changed; it must not block.
func Spawn(system *actor.ActorSystem, first, last uint16, free func(n int), log *slog.Logger) (*actor.PID, error) {
	if free == nil {
		free = func(int) {}
	}
	lent := newPool(first, last)
	props := supervise.Guarded(log, func() actor.Actor { return &ports{pool: lent, free: free} },
		actor.WithGuardian(supervise.Resume))
	return system.Root.SpawnNamed(props, "ports")
}

// ports lends raw ports. Like slots, they belong to PIDs and come back when
// their holder ends.
type ports struct {
	pool *pool       // outlives this incarnation
	free func(n int) // told how many are
}

func (a *ports) Receive(ctx actor.Context) {
	defer func() { a.free(len(a.pool.free)) }()
	switch m := ctx.Message().(type) {
	case *messages.TakePort:
		if m.Last {
			a.pool.end(m.Holder.Id)
			ctx.Send(m.Holder, &messages.PortTaken{})
			return
		}
		port, first := a.pool.take(m.Holder.Id, m.Busy)
		if first {
			ctx.Watch(m.Holder) // a holder that has ended already comes back at once
		}
		ctx.Send(m.Holder, &messages.PortTaken{Port: port})
	case *actor.Terminated:
		a.pool.end(m.Who.Id)
	}
}
