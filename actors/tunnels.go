package actors

import (
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/sessions"
	"wsproxy/actors/supervise"
	"wsproxy/messages"
	"wsproxy/messages/inspect"
	"wsproxy/messages/refused"
)

// A TunnelMeter counts tunnels. Its methods are called by many actors at once,
// and return at once.
type TunnelMeter interface {
	TunnelStarted()
	// TunnelEnded is called once for each TunnelStarted, with how long it has lasted.
	TunnelEnded(reason messages.Reason, lasted time.Duration)
	RawStarted()
	// RawEnded is called once for each RawStarted, with how long it has lasted.
	RawEnded(reason messages.CloseReason, lasted time.Duration)
	// HandlerRestarted is called when a tunnel's handler failed and began anew.
	HandlerRestarted()
}

// Rebound has tunnels that begin from then on be bound as the fields of [Tunnels] say
// that have these names. A message to the tunnels actor.
type Rebound struct {
	MaxHTTP, MaxConns, MaxHTTPPerAddress, MaxConnsPerAddress int
	RawIdle                                                  time.Duration
}

// Tunnels is what the tunnels actor needs.
type Tunnels struct {
	Limits *actor.PID    // the limits actor
	Ports  *actor.PID    // the ports actor
	Memory messages.Pool // what all tunnels share
	// PublicURL is what clients are told; "*" stands for the subdomain.
	PublicURL string
	// RawHost is what clients are told of the host of raw ports, Credentials
	// whether cookies and Authorization reach them.
	RawHost     string
	Credentials bool
	// PortTries is how many ports a tunnel tries before it goes without one.
	PortTries int
	// MaxHTTP bounds the HTTP requests under way in one tunnel, MaxConns its
	// raw connections; 0 = no limit.
	MaxHTTP, MaxConns int
	// MaxHTTPPerAddress is the part of MaxHTTP of one source address,
	// MaxConnsPerAddress bounds its raw connections of one tunnel; 0 = no limit.
	MaxHTTPPerAddress, MaxConnsPerAddress int
	// RawIdle is after how long without a byte either way a raw connection is
	// reset; 0 = never.
	RawIdle time.Duration
	// StallTimeout is how long a raw peer that acknowledges nothing may hold
	// up a tunnel without flow=credit.
	StallTimeout time.Duration
	// Lasting is on what tunnels outlive their WebSocket.
	Lasting sessions.Terms
	// MaxAge is at which a tunnel ends; 0 = at none.
	MaxAge time.Duration
	Meter  TunnelMeter
	Log    *slog.Logger
	// Workers run handlers and conns. They may be nil.
	Workers *supervise.Workers
	// Refused is told of raw connections that are refused. It may be nil.
	Refused refused.Recorder
	// Inject, if not nil, is called with each message that a handler gets,
	// before it is handled: a seam to make handlers fail in tests.
	Inject func(message any)
}

// HandlerPID returns where the requests for a subdomain go if its tunnel has
// http=bytes, or if it has not. The subdomain must have passed
// messages.IsSubdomain. There need be no such tunnel; that there is none of this
// kind is said by nil, too.
func HandlerPID(system *actor.ActorSystem, subdomain string, bytes bool) *actor.PID {
	id := tunnelsName + "/" + subdomain
	if process, found := system.ProcessRegistry.GetLocal(id); found {
		if d, named := process.(*door); named {
			return d.behind(bytes)
		}
	}
	return system.NewLocalPID(id + "/" + handlerName(bytes))
}

// PID returns where a tunnel is found of whose token id is a part. There need be no
// such tunnel.
func PID(system *actor.ActorSystem, id string) *actor.PID {
	return system.NewLocalPID(tunnelsName + "/" + id)
}

const tunnelsName = "tunnels"

// handlerName returns the name of a tunnel's handler, by which the edge knows how
// its client takes HTTP before it has asked anyone.
func handlerName(bytes bool) string {
	if bytes {
		return "handler-bytes"
	}
	return "handler"
}

// A tunnel's handler is restarted when it fails; the tenth failure within ten
// seconds ends the tunnel (protocol, section 8).
const (
	handlerFailures = 10
	handlerWindow   = 10 * time.Second
)

// SpawnTunnels starts the actor that owns all tunnels. It admits those that
// [messages.OpenTunnel] asks for, until it is told to drain.
func SpawnTunnels(system *actor.ActorSystem, needs Tunnels) (*actor.PID, error) {
	restart := actor.NewOneForOneStrategy(handlerFailures-1, handlerWindow,
		func(any) actor.Directive { return actor.RestartDirective })
	session := func(needs *Tunnels) *actor.Props {
		return supervise.Guarded(needs.Log, func() actor.Actor { return &tunnel{needs: needs} }, actor.WithSupervisor(restart))
	}
	props := supervise.Guarded(needs.Log, func() actor.Actor {
		return &tunnels{needs: needs, props: session, session: session(&needs), memory: needs.Memory, held: make(map[string]held),
			names: make(map[string]*name), Set: sessions.Set{MaxAge: needs.MaxAge}}
	},
		actor.WithGuardian(supervise.Resume), actor.WithSupervisor(supervise.Stop))
	return system.Root.SpawnNamed(props, tunnelsName)
}

// tunnels is the set of tunnels. It is resumed when it fails, because a restart
// would end all its children: so it changes its state last.
type tunnels struct {
	needs   Tunnels // of tunnels that begin
	props   func(*Tunnels) *actor.Props
	session *actor.Props // of each tunnel that begins
	memory  messages.Pool
	held    map[string]held  // of the tunnels, by the id of their actor
	looking bool             // a look at the memory is due
	came    uint64           // how many named tunnels have come
	names   map[string]*name // that tunnels have, by their subdomain
	sessions.Set
}

// held is what the tunnels actor knows of what a tunnel holds.
type held struct {
	mux       messages.Mux
	handler   string // the id of who gives some of the memory back
	subdomain string
}

func (a *tunnels) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *messages.OpenTunnel:
		a.Spawn(m.Answer, func() {
			open := &openTunnel{OpenTunnel: m, subdomain: m.Subdomain, draining: a.Draining}
			if open.subdomain == "" {
				open.subdomain = messages.NewID(messages.SubdomainBytes)
			} else {
				a.came++
				open.order = a.came
			}
			pid, err := ctx.SpawnNamed(a.session, open.actorName())
			if err != nil {
				panic(err) // one in 2^64 has that name already
			}
			ctx.Send(pid, open)
			a.held[pid.Id] = held{m.Mux, pid.Id + "/" + handlerName(m.Bytes), open.subdomain}
		})
		return
	case *Rebound:
		needs := a.needs // of its own: those that there are keep theirs
		needs.MaxHTTP, needs.MaxConns, needs.RawIdle = m.MaxHTTP, m.MaxConns, m.RawIdle
		needs.MaxHTTPPerAddress, needs.MaxConnsPerAddress = m.MaxHTTPPerAddress, m.MaxConnsPerAddress
		a.needs, a.session = needs, a.props(&needs)
		return
	case *takeName:
		a.takeName(ctx, m)
		return
	case *messages.MemoryShort:
		a.makeRoom(ctx)
		return
	case *inspect.Close:
		m.Answer <- a.end(ctx, m.ID)
		return
	case *lookAgain:
		a.looking = false
		a.makeRoom(ctx)
		return
	case *actor.Terminated:
		a.giveUpName(ctx, m.Who)
		delete(a.held, m.Who.Id)
	}
	a.Keep(ctx)
}

// roomLook is after how long is looked whether a tunnel that was to give way has
// given enough back. It takes what it does some milliseconds at most, unless the
// processor is wanted elsewhere.
const roomLook = 50 * time.Millisecond

// lookAgain asks the tunnels actor to look at the memory once more.
type lookAgain struct{}

// makeRoom has the tunnel that holds most give way when more memory is held than
// there is, and looks again.
func (a *tunnels) makeRoom(ctx actor.Context) {
	excess := a.memory.Excess()
	if excess == 0 || a.looking {
		return
	}
	a.looking = true
	self, root := ctx.Self(), ctx.ActorSystem().Root
	time.AfterFunc(roomLook, func() { root.Send(self, &lookAgain{}) })
	most, heaviest := int64(0), ""
	for _, h := range a.held {
		if bytes := h.mux.Held(); bytes > most {
			most, heaviest = bytes, h.handler
		}
	}
	if heaviest != "" {
		ctx.Send(ctx.ActorSystem().NewLocalPID(heaviest), &messages.GiveWay{Bytes: excess})
	}
}
