package actors

import (
	"log/slog"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/supervise"
	"wsproxy/messages"
)

// A RelayMeter counts relay sessions. Its methods are called by many actors at
// once, and return at once.
type RelayMeter interface {
	RelayStarted()
	// RelayEnded is called once for each RelayStarted. up and down are payload
	// bytes to and from the target.
	RelayEnded(reason messages.Reason, up, down int64)
}

// Relays is what the relays actor needs.
type Relays struct {
	Limits *actor.PID // the limits actor
	Meter  RelayMeter
	Log    *slog.Logger
}

// SpawnRelays starts the actor that owns all relay sessions. It admits those
// that [messages.OpenRelay] asks for, until it is told to drain.
func SpawnRelays(system *actor.ActorSystem, needs Relays) (*actor.PID, error) {
	session := relayProps(&needs)
	props := supervise.Guarded(needs.Log, func() actor.Actor { return &relays{session: session} },
		actor.WithGuardian(supervise.Resume), actor.WithSupervisor(supervise.Stop))
	return system.Root.SpawnNamed(props, "relays")
}

// relays is the set of relay sessions. It is resumed when it fails, because a
// restart would end all its children: so it changes its state last.
type relays struct {
	session *actor.Props // of each relay
	sessions
}

func (a *relays) Receive(ctx actor.Context) {
	if m, ok := ctx.Message().(*messages.OpenRelay); ok {
		a.spawn(m.Answer, func() {
			ctx.Send(ctx.Spawn(a.session), &openRelay{m, a.draining})
		})
		return
	}
	a.keep(ctx)
}
