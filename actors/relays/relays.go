package relays

import (
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/sessions"
	"wsproxy/actors/supervise"
	"wsproxy/messages"
	"wsproxy/messages/inspect"
)

// A Meter counts relay sessions. Its methods are called by many actors at
// once, and return at once.
type Meter interface {
	RelayStarted()
	// RelayEnded is called once for each RelayStarted, with how long it has lasted.
	RelayEnded(reason messages.Reason, lasted time.Duration)
}

// Needs is what the relays actor needs.
type Needs struct {
	Limits *actor.PID // the limits actor
	Meter  Meter
	// Lasting is on what sessions outlive their WebSocket.
	Lasting sessions.Terms
	MaxAge  time.Duration      // at which a relay ends; 0 = at none
	Workers *supervise.Workers // run the actors; nil = the library does
	Log     *slog.Logger
}

// Spawn starts the actor that owns all relay sessions. It admits those
// that [messages.OpenRelay] asks for, until it is told to drain.
func Spawn(system *actor.ActorSystem, needs Needs) (*actor.PID, error) {
	session := relayProps(&needs)
	props := supervise.Guarded(needs.Log, func() actor.Actor {
		return &relays{session: session, limits: needs.Limits, Set: sessions.Set{MaxAge: needs.MaxAge}}
	},
		actor.WithGuardian(supervise.Resume), actor.WithSupervisor(supervise.Stop), needs.Workers.Option())
	return system.Root.SpawnNamed(props, name)
}

// PID returns where a session is found of whose token id is a part. There need be
// no such session.
func PID(system *actor.ActorSystem, id string) *actor.PID {
	return system.NewLocalPID(name + "/" + id)
}

const name = "relays"

// sessionBytes is how many random bytes name a session: so no two have one name in all
// the logs that there will be, after a restart either.
const sessionBytes = 8

// relays is the set of relay sessions. It is resumed when it fails, because a
// restart would end all its children: so it changes its state last.
type relays struct {
	session *actor.Props // of each relay
	limits  *actor.PID
	sessions.Set
}

func (a *relays) Receive(ctx actor.Context) {
	if m, ok := ctx.Message().(*messages.OpenRelay); ok {
		a.Spawn(m.Answer, func() {
			pid, err := ctx.SpawnNamed(a.session, messages.NewID(sessionBytes))
			if err != nil {
				panic(err) // one in 2^64 has that name already
			}
			ctx.Send(pid, &openRelay{m, a.Draining})
		})
		return
	}
	if m, ok := ctx.Message().(*inspect.Close); ok {
		m.Answer <- end(ctx, m.ID)
		return
	}
	if m, ok := ctx.Message().(*actor.Terminated); ok { // a child: they hold claims that are Kept
		ctx.Send(a.limits, &messages.HolderEnded{Holder: m.Who})
	}
	a.Keep(ctx)
}

// end tells the relay of an id that the operator wants it to end, and returns how many
// there are: one or none.
func end(ctx actor.Context, id string) (found int) {
	for _, child := range ctx.Children() {
		if sessions.ID(child) == id {
			ctx.Send(child, &inspect.End{Reason: messages.ReasonOperator})
			found++
		}
	}
	return found
}
