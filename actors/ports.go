package actors

import (
	"log/slog"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/supervise"
	"wsproxy/messages"
)

// SpawnPorts starts the actor that lends the raw ports first to last, both
// included. A failure loses one request, and no port.
func SpawnPorts(system *actor.ActorSystem, first, last uint16, log *slog.Logger) (*actor.PID, error) {
	pool := newPortPool(first, last)
	props := supervise.Guarded(log, func() actor.Actor { return &ports{pool: pool} },
		actor.WithGuardian(supervise.Resume))
	return system.Root.SpawnNamed(props, "ports")
}

// ports lends raw ports. Like slots, they belong to PIDs and come back when
// their holder ends.
type ports struct {
	pool *portPool // outlives this incarnation
}

func (a *ports) Receive(ctx actor.Context) {
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

// A portPool is the order in which ports are lent: the one that came back
// longest ago goes first, so that who still knows an old address of a tunnel
// meets nobody else there for as long as possible.
type portPool struct {
	free []uint16          // in the order in which they will be lent
	held map[string]uint16 // by holder
}

func newPortPool(first, last uint16) *portPool {
	p := &portPool{held: make(map[string]uint16)}
	for port := int(first); port <= int(last); port++ {
		p.free = append(p.free, uint16(port))
	}
	return p
}

// take lends the next port, or returns 0 if none is free. busy is the one that
// the holder has got and can't use; it goes to the end. A holder has one port.
func (p *portPool) take(holder string, busy uint16) (port uint16, first bool) {
	held, again := p.held[holder]
	if again && held != busy {
		return held, false
	}
	if again {
		delete(p.held, holder)
	}
	if len(p.free) > 0 {
		port = p.free[0]
		p.free = p.free[1:]
		p.held[holder] = port
	}
	if again {
		p.free = append(p.free, held)
	}
	return port, !again && port != 0
}

func (p *portPool) end(holder string) {
	if port, ok := p.held[holder]; ok {
		delete(p.held, holder)
		p.free = append(p.free, port)
	}
}
