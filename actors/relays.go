package actors

import (
	"log/slog"

	"github.com/asynkron/protoactor-go/actor"

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
	props := guardedProps(needs.Log, func() actor.Actor { return &relays{session: session} },
		actor.WithGuardian(resume), actor.WithSupervisor(stop))
	return system.Root.SpawnNamed(props, "relays")
}

// relays is the set of sessions. It is resumed when it fails, because a
// restart would end all its children: so it changes its state last.
type relays struct {
	session  *actor.Props      // of each relay
	live     int               // sessions, from their spawning to their end
	draining bool              // no session is admitted any more
	done     []chan<- struct{} // closed when draining and live is 0
}

func (a *relays) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *messages.OpenRelay:
		a.open(ctx, m)
	case *actor.Terminated:
		a.live--
		a.settle()
	case *messages.Drain:
		for _, session := range ctx.Children() {
			ctx.Send(session, m)
		}
		a.draining = true
		a.done = append(a.done, m.Done)
		a.settle()
	case *messages.Shutdown:
		for _, session := range ctx.Children() {
			ctx.Send(session, m)
		}
	}
}

func (a *relays) open(ctx actor.Context, m *messages.OpenRelay) {
	spawned := false
	defer func() {
		if !spawned { // whatever went wrong, the handler is not left waiting
			m.Answer <- messages.Admission{Refusal: messages.ReasonInternal}
		}
	}()
	ctx.Send(ctx.Spawn(a.session), &openRelay{m, a.draining})
	spawned = true
	a.live++
}

// settle answers whoever waits for the last session to end.
func (a *relays) settle() {
	if !a.draining || a.live > 0 {
		return
	}
	for _, done := range a.done {
		close(done)
	}
	a.done = nil
}
