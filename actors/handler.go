package actors

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/ledger"
	"wsproxy/actors/recent"
	"wsproxy/actors/stalls"
	"wsproxy/actors/supervise"
	"wsproxy/messages"
	"wsproxy/messages/inspect"
	"wsproxy/messages/refused"
)

// garbageLogged is how often at most a tunnel's log mentions what its client
// sends that makes no sense: fixed by the protocol.
const garbageLogged = time.Minute

// handler does a tunnel's work and holds what may be lost: the HTTP requests
// under way and the table of raw connections. When it fails, its tunnel's
// supervisor restarts it: whoever waits is answered, the raw connections are
// closed, and the tunnel goes on.
type handler struct {
	needs  *Tunnels
	mux    messages.Mux
	owner  ledger.Owner
	credit bool // flow=credit
	log    *slog.Logger

	requests map[string]*request // that wait for their answer, by id
	leaving  map[string]*request // whose answer is on its way to the outside client
	slots    *ledger.Slots       // of both
	conns    map[string]*rawConn // by connId
	came     uint64              // how many requests and raw connections have come
	yielding int                 // how many of them give way to others
	own      int                 // how many of them are no raw connections
	ended    recent.Ended        // of requests and connections
	unknown  *recent.IDs         // connIds that were answered with tcp_close already; outlives this incarnation
	stalls   stalls.Watch        // judges who holds the tunnel up
	garbage  int                 // messages that made no sense, since the last line about them
	logged   time.Time           // when that line was
	closed   messages.Reason     // set once the tunnel ends: nothing is begun any more
}

// A rawConn is what the handler knows of a raw connection.
type rawConn struct {
	pid    *actor.PID
	stream messages.Stream
	order  uint64       // of its coming, among all that hold the tunnel's memory
	own    bool         // it carries what this process speaks, and counts as no raw connection
	count  netip.Prefix // what the limits count for the outside peer; zero for a stream that ends in this process
	claims []messages.Claim
	idle   time.Time // since when the client has sent nothing, if the peer has ended; else zero
	yields bool      // it gives way to another, and does not count any more
}

func newHandler(needs *Tunnels, mux messages.Mux, owner ledger.Owner, credit bool, unknown *recent.IDs, log *slog.Logger) *handler {
	return &handler{
		needs: needs, mux: mux, owner: owner, credit: credit, log: log,
		requests: make(map[string]*request),
		leaving:  make(map[string]*request),
		slots:    ledger.NewSlots(needs.MaxHTTP, needs.MaxHTTPPerAddress),
		conns:    make(map[string]*rawConn),
		unknown:  unknown,
		stalls:   stalls.Watch{Timeout: needs.StallTimeout},
	}
}

func (a *handler) Receive(ctx actor.Context) {
	handled := false
	defer func() { a.settle(ctx, handled) }()
	if a.needs.Inject != nil {
		a.needs.Inject(ctx.Message())
	}
	a.handle(ctx)
	handled = true
}

// settle gives back what a message from the mux was charged. A message that
// was not handled to its end, because the handler failed, is lost: whoever it
// belongs to is told.
func (a *handler) settle(ctx actor.Context, handled bool) {
	switch m := ctx.Message().(type) {
	case *messages.FromClient:
		size := m.Size
		if _, answer := m.Message.(*messages.Response); answer { // is charged by itself
			if size = 0; !handled {
				a.mux.Dropped(m.Size)
			}
		}
		a.mux.Handled(size)
	case *messages.Data:
		a.mux.Handled(len(m.Data))
	case *messages.Garbage:
		a.mux.Handled(0)
	case *messages.OpenRequest:
		if !handled {
			select {
			case m.Answer <- messages.Answer{Refusal: messages.ReasonRestarted}:
			default: // it has its answer
			}
		}
	case *messages.Granted:
		// The slot of a request that is marked as granted comes back with it.
		if r := a.requests[m.Tag]; !handled && (r == nil || !r.granted) {
			ctx.Send(a.needs.Limits, &messages.Release{Holder: ctx.Self(), Claims: m.Claims})
		}
	case *messages.Accepted:
		if !handled {
			m.Stream.Abort(messages.CloseRestart)
		}
	}
}

func (a *handler) handle(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *messages.FromClient:
		a.fromClient(ctx, m)
	case *messages.Data:
		a.data(ctx, m)
	case *messages.Garbage:
		a.complain(m.What)
	case *messages.OpenRequest:
		a.openRequest(ctx, m)
	case *messages.RequestRead:
		if r := a.requests[m.ID]; r != nil && !r.asked {
			a.ask(ctx, r)
		}
	case *messages.RequestUpgraded:
		if r := a.requests[m.ID]; r != nil {
			r.stream = m.Stream
		}
	case *messages.RequestEnded:
		a.endRequest(ctx, m.ID, messages.Answer{Refusal: messages.ReasonAbandoned})
	case *messages.CancelRequest:
		if r := a.requests[m.ID]; r != nil && m.Short {
			a.clearFor(ctx, r.open.Count)
		}
		a.endRequest(ctx, m.ID, messages.Answer{Refusal: messages.ReasonAbandoned})
	case *messages.Delivered:
		a.delivered(m.ID)
	case *messages.Granted:
		a.granted(ctx, m)
	case *messages.Refused:
		a.refused(m)
	case *messages.Accepted:
		a.accepted(ctx, m)
	case *messages.ConnEnded:
		a.ended.Add(m.ConnID)
		a.connEnded(m.ConnID)
		a.reportEmpty(ctx)
	case *actor.Terminated:
		a.connStopped(m.Who)
		a.reportEmpty(ctx)
	case *halfClosed:
		if c := a.conns[m.id]; c != nil {
			c.idle = m.since
		}
	case *slotWanted:
		a.slotWanted(ctx, m)
	case *lateData:
		a.answerUnknown(m.id)
	case *stalls.Look:
		a.judgeStalls(ctx)
	case *messages.ReadingWaits:
		a.stalls.Begin(ctx)
	case *messages.GiveWay:
		a.freeMemory(ctx, m.Bytes)
	case *inspect.Fill:
		m.Session.Tunnel.Connections, m.Session.Tunnel.Requests = len(a.conns)-a.own, len(a.requests)+len(a.leaving)
		m.Answer <- m.Session
	case *messages.CloseHandler:
		if m.Reason.IsForced() && m.Reason != messages.ReasonOperator { // who closes one by hand may do it again, to reset them
			a.close(ctx, m.Reason)
		} else {
			a.leave(ctx, m.Reason)
		}
		ctx.Send(ctx.Parent(), &handlerClosed{})
		a.reportEmpty(ctx)
	case *actor.Restarting:
		defer ctx.Send(ctx.Parent(), &connsEnded{}) // whatever happens: a tunnel that ends may wait for it
		a.needs.Meter.HandlerRestarted()
		a.close(ctx, messages.ReasonRestarted)
	case *actor.Stopping:
		a.close(ctx, messages.ReasonTunnelGone)
	}
}

func (a *handler) fromClient(ctx actor.Context, from *messages.FromClient) {
	switch m := from.Message.(type) {
	case *messages.Response:
		a.respond(ctx, m.ID, messages.Answer{Response: m, Size: from.Size, Mux: a.mux})
	case *messages.Dropped:
		a.respond(ctx, m.ID, messages.Answer{Refusal: m.Reason, Mux: a.mux})
	case *messages.Close:
		a.toConn(ctx, m.ConnID, m)
	case *messages.Credit:
		a.toConn(ctx, m.ConnID, m)
	}
}

// toConn passes a control message on.
func (a *handler) toConn(ctx actor.Context, id string, message any) {
	if c := a.conns[id]; c != nil {
		ctx.Send(c.pid, message)
	} else {
		a.stray(id, "a control message about a connection that there is not")
	}
}

// stray counts a message about an id that is not open. One about what has just
// ended has crossed that on its way, which is nothing to speak of.
func (a *handler) stray(id, what string) {
	if a.closed == "" && !a.ended.Has(id) {
		a.complain(what)
	}
}

// data passes payload on to its connection.
func (a *handler) data(ctx actor.Context, m *messages.Data) {
	c := a.conns[m.ConnID]
	if c == nil {
		a.stray(m.ConnID, "data for a connection that there is not")
		a.answerUnknown(m.ConnID)
		return
	}
	if c.stream.Hold(m.Data) > stalls.Worth {
		a.stalls.Add(ctx, m.ConnID)
	}
	if !c.idle.IsZero() {
		c.idle = time.Now()
	}
	ctx.Send(c.pid, m)
}

// answerUnknown tells the client, once, that it sends into the void.
func (a *handler) answerUnknown(id string) {
	if len(id) <= messages.MaxConnID && a.unknown.Add(id) {
		a.mux.Control(messages.EncodeClose(id, messages.CloseUnknown))
	}
}

// accepted takes a raw connection in, if there is room for it or another gives
// way. Its conn asks for what is shared with other tunnels.
func (a *handler) accepted(ctx actor.Context, m *messages.Accepted) {
	stream, own := m.Stream, m.Protocol != ""
	refusal := messages.Reason("")
	switch {
	case a.closed != "":
		refusal = gone(a.closed)
	case a.conns[stream.ID()] != nil:
		refusal = messages.ReasonInternal
	case !own && a.isFull() && !a.makeRoom(ctx, a.crowding(m.Count)):
		refusal = messages.ReasonRawFull
	}
	if refusal != "" {
		if stream.Reject(); !own {
			refused.TurnedAway(a.needs.Refused, stream.RemoteAddr(), a.owner.Tunnel, refusal)
		}
		return
	}
	var claims []messages.Claim
	if own {
		a.own++
	} else {
		claims = a.owner.RawClaims(m.Count)
	}
	props := supervise.Guarded(a.needs.Log, func() actor.Actor {
		return newConn(a.needs, a.mux, stream, a.owner.Tunnel, claims, a.credit, a.log)
	}, a.needs.Workers.DirectOption())
	a.came++
	a.conns[stream.ID()] = &rawConn{pid: ctx.Spawn(props), stream: stream, order: a.came, own: own, count: m.Count, claims: claims}
}

// connEnded forgets a connection. Of one that was aborted the client hears in
// the connection's own part of the send queue: an answer to what it still sends
// would overtake that, and the data before it.
func (a *handler) connEnded(id string) {
	c := a.conns[id]
	if c == nil {
		return
	}
	if c.stream.Ended().IsTold() {
		a.unknown.Add(id)
	}
	if c.yields {
		a.yielding--
	}
	if c.own {
		a.own--
	}
	delete(a.conns, id)
}

// connStopped forgets a connection whose conn failed to say that it ended.
func (a *handler) connStopped(who *actor.PID) {
	for id, c := range a.conns {
		if c.pid.Id == who.Id {
			c.stream.Abort(messages.CloseReset)
			a.connEnded(id)
		}
	}
}

// complain counts garbage, and logs it once a minute at most. The tunnel lives.
func (a *handler) complain(what string) {
	a.garbage++
	if now := time.Now(); now.Sub(a.logged) >= garbageLogged {
		a.log.Warn("the tunnel's client sends what makes no sense", "latest", what, "messages", a.garbage)
		a.garbage, a.logged = 0, now
	}
}

// judgeStalls closes the connection whose peer holds the tunnel up and has stalled.
func (a *handler) judgeStalls(ctx actor.Context) {
	stalled, crowded := a.stalls.Judge(ctx, a.mux.Full(), func(id string) (waiting, acked int64) {
		if c := a.conns[id]; c != nil {
			return c.stream.Waiting()
		}
		return 0, 0
	})
	if stalled != "" {
		ctx.Send(a.conns[stalled].pid, &abortConn{messages.CloseSlow})
	} else if crowded {
		a.clearCrowd(ctx)
	}
}

// leave answers whoever waits and lets all raw connections end by themselves:
// their peers get what they have for them. Each conn hears of it behind its
// data, so that nothing is overtaken.
func (a *handler) leave(ctx actor.Context, reason messages.Reason) {
	a.refuseAll(ctx, reason)
	for _, c := range a.conns {
		c.stream.Leave()
		ctx.Send(c.pid, &endConn{})
	}
}

// reportEmpty tells a tunnel that ends when no raw connection is left.
func (a *handler) reportEmpty(ctx actor.Context) {
	if a.closed != "" && len(a.conns) == 0 {
		ctx.Send(ctx.Parent(), &connsEnded{})
	}
}

// close answers whoever waits and resets all raw connections.
func (a *handler) close(ctx actor.Context, reason messages.Reason) {
	a.refuseAll(ctx, reason)
	a.stalls.End()
	why := messages.CloseTunnelEnded
	switch reason {
	case messages.ReasonShutdown:
		why = messages.CloseShutdown
	case messages.ReasonRestarted:
		why = messages.CloseRestart
	}
	for id, c := range a.conns {
		c.stream.Abort(why)
		a.unknown.Add(id) // see connEnded
	}
	clear(a.conns)
	a.own = 0
}

// refuseAll answers whoever waits, and lets nothing begin any more.
func (a *handler) refuseAll(ctx actor.Context, reason messages.Reason) {
	if a.closed == "" {
		a.closed = reason
	}
	for id := range a.requests {
		a.endRequest(ctx, id, messages.Answer{Refusal: gone(reason)})
	}
}

// gone returns what the outside hears when a tunnel ends for a reason.
func gone(reason messages.Reason) messages.Reason {
	switch reason {
	case messages.ReasonShutdown, messages.ReasonRestarted:
		return reason
	}
	return messages.ReasonTunnelGone
}
