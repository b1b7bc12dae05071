package relays

import (
	"log/slog"
	"strconv"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/sessions"
	"wsproxy/actors/supervise"
	"wsproxy/messages"
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
	Log     *slog.Logger
}

// Spawn starts the actor that owns all relay sessions. It admits those
// that [messages.OpenRelay] asks for, until it is told to drain.
func Spawn(system *actor.ActorSystem, needs Needs) (*actor.PID, error) {
	session := relayProps(&needs)
	props := supervise.Guarded(needs.Log, func() actor.Actor { return &relays{session: session} },
		actor.WithGuardian(supervise.Resume), actor.WithSupervisor(supervise.Stop))
	return system.Root.SpawnNamed(props, name)
}

// PID returns where a session is found of whose token id is a part. There need be
// no such session.
func PID(system *actor.ActorSystem, id string) *actor.PID {
	return system.NewLocalPID(name + "/" + id)
}

const name = "relays"

// relays is the set of relay sessions. It is resumed when it fails, because a
// restart would end all its children: so it changes its state last.
type relays struct {
	session *actor.Props // of each relay
	came    uint64       // how many relays have come
	sessions.Set
}

func (a *relays) Receive(ctx actor.Context) {
	if m, ok := ctx.Message().(*messages.OpenRelay); ok {
		a.Spawn(m.Answer, func() {
			a.came++
			pid, err := ctx.SpawnNamed(a.session, strconv.FormatUint(a.came, 10))
			if err != nil {
				panic(err) // no two have the same name
			}
			ctx.Send(pid, &openRelay{m, a.Draining})
		})
		return
	}
	a.Keep(ctx)
}
