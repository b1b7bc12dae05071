package actors

import (
	"log/slog"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/ledger"
	"wsproxy/actors/recent"
	"wsproxy/actors/sessions"
	"wsproxy/actors/supervise"
	"wsproxy/messages"
	"wsproxy/messages/inspect"
	"wsproxy/messages/renewal"
)

// openTunnel is a tunnel's first message.
type openTunnel struct {
	*messages.OpenTunnel
	subdomain string
	order     uint64 // of its coming, if it is named; else 0
	draining  bool   // whether the server was draining when the request came
}

// handlerPatience is how long a handler may take to close its requests and raw
// connections before its mux closes without it: microseconds, unless it fails
// just then.
const handlerPatience = time.Second

// handlerClosed tells a tunnel that its handler holds the mux up no longer.
type handlerClosed struct{}

// connsEnded tells a tunnel that its handler has no raw connection left.
type connsEnded struct{}

// tunnel keeps what must outlive a fault in its handling: the WebSocket with
// its writer, the subdomain, the raw port, the slot. What may be lost is its
// handler's.
//
//	claiming -> admitted -> listening -> [naming] -> ready -> closing -> ended
//
// One that has ended stays, without mux, slot and port, until its last raw
// connection has ended.
type tunnel struct {
	needs *Tunnels
	open  *openTunnel // the first message; nil until then

	state    tunnelState
	draining bool
	started  time.Time // when its WebSocket was there
	claims   []messages.Claim
	handler  *actor.PID
	port     uint16        // the raw port, 0 = none
	tries    int           // ports that were asked for
	backoff  time.Duration // before the raw port is opened again
	reason   messages.Reason
	emptied  bool        // the handler has no raw connection left, and takes none
	linger   *time.Timer // runs while its mux closes; nil before
	counted  bool        // the mux closes for so long that it has asked for its slots again
	atOnce   bool        // the mux closes without waiting for its client
	lasting  sessions.Lasting
	expiry   sessions.Expiry
}

type tunnelState uint8

const (
	tunnelClaiming  tunnelState = iota // waiting for the limits' word
	tunnelAdmitted                     // waiting for the handler's upgrade
	tunnelListening                    // waiting for a raw port
	tunnelNaming                       // waiting for its name
	tunnelReady
	tunnelClosing // Finish was called
	tunnelEnded   // the mux is closed; raw connections may be left
)

func (a *tunnel) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *openTunnel:
		a.claim(ctx, m)
	case *messages.Granted:
		a.granted(ctx)
	case *messages.Refused:
		if a.counted {
			a.claims = nil
			a.open.Mux.Cut()
			return
		}
		a.refuse(ctx, m.Reason)
	case *sessions.StillCloses:
		if a.state == tunnelClosing && !a.counted {
			a.counted = true
			a.claims = ledger.SessionClaims(a.open.Count, a.open.User)
			ctx.Send(a.needs.Limits, &messages.Acquire{Holder: ctx.Self(), Claims: a.claims})
		}
	case *messages.Upgraded:
		a.start(ctx)
	case *messages.PortTaken:
		a.listen(ctx, m)
	case *messages.PortOpened:
		a.opened(ctx, m)
	case *messages.PortFailed:
		a.portFailed(ctx, m.Err)
	case *reopen:
		if a.state == tunnelReady {
			a.open.Mux.Listen(a.port)
		}
	case *nameGiven:
		if a.state == tunnelNaming {
			a.begin(ctx)
		}
	case *nameTaken:
		a.finish(ctx, messages.ReasonNameTaken)
	case *messages.Abandoned:
		a.finish(ctx, messages.ReasonAbandoned)
	case *messages.MuxEnded:
		a.finish(ctx, m.Reason)
	case *messages.WebSocketEnded:
		a.webSocketEnded(ctx, m)
	case *messages.TakeUp:
		a.takeUp(ctx, m)
	case *sessions.TooLate:
		if a.lasting.IsTooLate(m) {
			a.finish(ctx, messages.ReasonResumeTimeout)
		}
	case *sessions.TokenDue, *renewal.Renewed:
		a.token(ctx)
	case *messages.YieldSlot:
		a.claims = nil
		a.finish(ctx, messages.ReasonGaveWay)
	case *handlerClosed:
		a.closeMux(ctx)
	case *connsEnded:
		a.connsEnded(ctx)
	case *messages.MuxClosed:
		a.muxClosed(ctx)
	case *messages.Drain:
		a.draining = true
	case *messages.Shutdown:
		a.shutdown(ctx, messages.ReasonShutdown, m.AtOnce)
	case *inspect.Describe:
		a.describe(ctx, m)
	case *inspect.End:
		a.ordered(ctx, m)
	case *actor.Terminated:
		// The handler: it failed too often, or this tunnel is stopping.
		a.handler = nil
		a.finish(ctx, messages.ReasonInternal)
		a.closeMux(ctx)
		a.connsEnded(ctx)
	case *actor.Stopping:
		a.fail(ctx)
	case *actor.Stopped:
		a.open = nil // as a relay's
	}
}

func (a *tunnel) claim(ctx actor.Context, m *openTunnel) {
	a.open, a.draining = m, m.draining
	a.open.Mux.Own(ctx.Self())
	a.claims = ledger.SessionClaims(m.Count, m.User)
	ctx.Send(a.needs.Limits, &messages.Acquire{Holder: ctx.Self(), Claims: a.claims, New: m.Upgrade && !a.draining})
}

func (a *tunnel) granted(ctx actor.Context) {
	switch {
	case a.state != tunnelClaiming:
	case a.draining: // a used-up limit is answered first (protocol, section 2)
		a.refuse(ctx, messages.ReasonDraining)
	case !a.open.Upgrade:
		a.refuse(ctx, messages.ReasonNotWebSocket)
	default:
		a.state = tunnelAdmitted
		a.answer(messages.Admission{Session: ctx.Self()})
	}
}

// refuse answers the edge that there will be no tunnel.
func (a *tunnel) refuse(ctx actor.Context, reason messages.Reason) {
	if a.state != tunnelClaiming {
		return
	}
	a.release(ctx)
	a.answer(messages.Admission{Refusal: reason})
	a.finish(ctx, reason)
}

// release gives the slot back before the client hears of the end, so that it
// finds it free when it connects again at once.
func (a *tunnel) release(ctx actor.Context) {
	if len(a.claims) > 0 {
		ctx.Send(a.needs.Limits, &messages.Release{Holder: ctx.Self(), Claims: a.claims})
		a.claims = nil
	}
}

// answer gives the edge its one answer. The channel has room for it.
func (a *tunnel) answer(admission messages.Admission) {
	a.open.Answer <- admission
	a.open.Answer = nil
}

func (a *tunnel) start(ctx actor.Context) {
	if a.state != tunnelAdmitted {
		return
	}
	a.started = time.Now()
	a.needs.Meter.TunnelStarted()
	a.log(ctx).Info("tunnel started", "credit", a.open.Credit)
	a.state = tunnelListening
	a.expiry.Set(ctx, a.open.Expires)
	if a.open.NoRaw {
		a.ready(ctx)
		return
	}
	a.takePort(ctx, 0)
}

// ready has its handler made, and begins once it has its name, if it wants one.
func (a *tunnel) ready(ctx actor.Context) {
	if a.port == 0 && !a.open.NoRaw {
		a.log(ctx).Warn("no raw port is free: the tunnel has HTTP only; see TUNNEL_PORT_MIN and TUNNEL_PORT_MAX")
	}
	needs, mux, credit, log := a.needs, a.open.Mux, a.open.Credit, a.log(ctx).With("port", a.port)
	whose := ledger.Owner{Tunnel: a.open.subdomain, User: a.open.User, Source: a.open.Count}
	unknown := recent.New(recent.Unknown)
	props := supervise.Guarded(needs.Log, func() actor.Actor {
		return newHandler(needs, mux, whose, credit, unknown, log)
	}, actor.WithSupervisor(supervise.Stop), needs.Workers.DirectOption())
	handler, err := ctx.SpawnNamed(props, handlerName(a.open.Bytes))
	if err != nil {
		a.finish(ctx, messages.ReasonInternal)
		return
	}
	a.handler = handler
	a.open.Mux.Prepare(handler, messages.EncodeReady(messages.Ready{
		TunnelURL:   strings.Replace(a.needs.PublicURL, "*", a.open.subdomain, 1),
		RawPort:     a.port,
		RawHost:     a.needs.RawHost,
		Credentials: a.needs.Credentials,
		Credit:      a.open.Credit,
		Bytes:       a.open.Bytes,
	}))
	if a.open.order > 0 {
		a.state = tunnelNaming
		ctx.Send(ctx.Parent(), &takeName{a.open.subdomain, a.open.order, ctx.Self(), handler})
		return
	}
	a.begin(ctx)
}

// begin tells the client its addresses.
func (a *tunnel) begin(ctx actor.Context) {
	a.state = tunnelReady
	if a.open.Resume {
		a.open.Mux.Announce(a.lasting.Open(ctx, &a.needs.Lasting))
	}
	a.open.Mux.Start()
	a.log(ctx).Info("tunnel ready", "port", a.port)
}

// webSocketEnded has a tunnel that has lost its WebSocket wait for another one.
func (a *tunnel) webSocketEnded(ctx actor.Context, m *messages.WebSocketEnded) {
	if a.state != tunnelReady { // it has not begun, or closes, and waits for nobody
		return
	}
	switch ends, lost := a.lasting.Ended(ctx, m); {
	case ends:
		a.finish(ctx, m.Reason)
	case lost:
		a.log(ctx).Info("tunnel detached", "reason", string(m.Reason))
	}
}

func (a *tunnel) takeUp(ctx actor.Context, m *messages.TakeUp) {
	if a.state != tunnelReady { // it has not begun, or has ended
		m.Answer <- messages.ReasonNoSession
		return
	}
	if away, ok := a.lasting.TakeUp(ctx, m, a.open.User, a.open.Mux); ok {
		a.open.Source = m.Source // from now on; what the limits count stays
		a.expiry.Renew(ctx, m.Expires)
		a.log(ctx).Info("tunnel resumed", "away_ms", away.Milliseconds())
	}
}

// finish begins the end of a tunnel. The first reason counts. The handler goes
// first, so that its last messages come before the close frame.
func (a *tunnel) finish(ctx actor.Context, reason messages.Reason) {
	if a.state >= tunnelClosing {
		return
	}
	a.state, a.reason = tunnelClosing, reason
	if a.handler == nil {
		a.closeMux(ctx)
		return
	}
	ctx.Send(a.handler, &messages.CloseHandler{Reason: reason})
	self, root := ctx.Self(), ctx.ActorSystem().Root
	time.AfterFunc(handlerPatience, func() { root.Send(self, &handlerClosed{}) })
}

func (a *tunnel) closeMux(ctx actor.Context) {
	if a.state == tunnelClosing {
		a.release(ctx)
		a.open.Mux.Finish(a.reason)
		if a.linger == nil {
			a.linger = sessions.CountLinger(ctx)
		}
		if a.atOnce {
			a.open.Mux.Cut()
		}
	}
}

// shutdown ends a tunnel that neither side has ended. One that closes already has what is
// left of it reset.
func (a *tunnel) shutdown(ctx actor.Context, reason messages.Reason, atOnce bool) {
	if a.state == tunnelClaiming {
		a.refuse(ctx, messages.ReasonDraining)
		return
	}
	if a.state >= tunnelClosing && !a.emptied && a.handler != nil {
		ctx.Send(a.handler, &messages.CloseHandler{Reason: messages.ReasonShutdown})
	}
	a.finish(ctx, reason)
	if a.atOnce = atOnce; atOnce && a.linger != nil && a.state == tunnelClosing { // it was finished before
		a.open.Mux.Cut()
	}
}

// muxClosed ends a tunnel, but for its raw connections: what they still have
// for their peers is delivered.
func (a *tunnel) muxClosed(ctx actor.Context) {
	if a.counted {
		a.release(ctx)
	}
	leaving := a.state == tunnelClosing && a.handler != nil && !a.emptied
	a.end(ctx)
	if !leaving {
		ctx.Stop(ctx.Self())
		return
	}
	if a.port != 0 {
		ctx.Send(a.needs.Ports, &messages.TakePort{Holder: ctx.Self(), Busy: a.port, Last: true})
	}
}

func (a *tunnel) connsEnded(ctx actor.Context) {
	a.emptied = a.state >= tunnelClosing // a handler that was restarted says so, too
	if a.state == tunnelEnded {
		ctx.Stop(ctx.Self())
	}
}

// end writes the tunnel's last line. It is called again if the tunnel failed and
// its mux closes while its handler still stops: until then messages come.
func (a *tunnel) end(ctx actor.Context) {
	if a.state == tunnelEnded {
		return
	}
	a.state = tunnelEnded
	if a.linger != nil {
		a.linger.Stop()
	}
	a.lasting.Close(a.reason)
	a.expiry.Stop()
	if a.started.IsZero() {
		return
	}
	sent, received := a.open.Mux.Moved()
	a.needs.Meter.TunnelEnded(a.reason, time.Since(a.started))
	a.log(ctx).Info("tunnel ended", "port", a.port, "reason", string(a.reason), "bytes_to_client", sent, "bytes_from_client", received,
		"duration_ms", time.Since(a.started).Milliseconds())
}

// fail ends a tunnel whose actor is stopped before its time: the edge is answered if it still
// waits, and the mux sees to its sockets by itself. The library stops the handler after this.
func (a *tunnel) fail(ctx actor.Context) {
	if a.open == nil {
		return
	}
	if a.open.Answer != nil { // in whatever state: nobody is left waiting
		a.answer(messages.Admission{Refusal: messages.ReasonInternal})
	}
	if a.state == tunnelEnded {
		return
	}
	if a.state < tunnelClosing {
		a.reason = messages.ReasonInternal
	}
	defer a.end(ctx)            // whatever the mux does: what was counted in is counted out
	a.open.Mux.Finish(a.reason) // changes nothing but where Finish itself has failed
}

func (a *tunnel) log(ctx actor.Context) *slog.Logger {
	return a.needs.Log.With("tunnel", a.open.subdomain, "user", sessions.UserName(a.open.User), "source", a.open.Source.String())
}
