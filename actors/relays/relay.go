package relays

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/ledger"
	"wsproxy/actors/sessions"
	"wsproxy/actors/supervise"
	"wsproxy/messages"
	"wsproxy/messages/inspect"
	"wsproxy/messages/renewal"
)

// relayProps returns what all relays are spawned from. Each is then told what
// to open by an openRelay.
func relayProps(needs *Needs) *actor.Props {
	// This mailbox is slower with many messages, of which a relay gets few, but takes up 200 bytes less.
	return supervise.Guarded(needs.Log, func() actor.Actor { return &relay{needs: needs} }, needs.Workers.Option(),
		actor.WithMailbox(actor.UnboundedLockfree()))
}

// openRelay is a relay's first message.
type openRelay struct {
	*messages.OpenRelay
	draining bool // whether the server was draining when the request came
}

// relay is one session's state machine. It decides and counts; the bytes go
// past it, from socket to socket.
//
//	resolving -> claiming -> admitted -> dialing -> relaying -> closing
//
// From dialing on, a session that may outlive its WebSocket may be without one, and
// gets another one: its state is none of that.
//
// A session that is not admitted, or whose client goes away first, ends early.
// A relay that fails is stopped, never restarted: half a TCP stream can't be
// taken up again.
type relay struct {
	needs    *Needs
	open     *messages.OpenRelay // the first message; nil until then
	draining bool                // told by the first message, or by Drain

	state   relayState
	started time.Time      // of the session, when its WebSocket was there
	address netip.AddrPort // that was dialled; the zero AddrPort before that
	local   netip.AddrPort // from where
	held    []messages.Claim
	linger  *time.Timer // runs while it closes; nil before
	counted bool        // it closes for so long that it has asked for its slots again
	shut    bool        // told by Shutdown: nobody is waited for
	lasting sessions.Lasting
	expiry  sessions.Expiry
}

type relayState uint8

const (
	relayLooking   relayState = iota // waiting for the right to ask a name server
	relayResolving                   // waiting for the target's addresses
	relayClaiming                    // waiting for the limits' word
	relayAdmitted                    // waiting for the handler's upgrade
	relayDialing
	relayRelaying
	relayClosing // Finish was called
	relayEnded   // nothing is left to do; about to stop
)

// relayStates are the states that are told to who looks at sessions.
var relayStates = map[relayState]string{relayDialing: "dialing", relayRelaying: "relaying", relayClosing: "closing", relayEnded: "closing"}

func (a *relay) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *openRelay:
		a.open, a.draining = m.OpenRelay, m.draining
		a.open.Pair.Own(ctx.Self())
		a.look(ctx)
	case *messages.Granted:
		a.granted(ctx)
	case *messages.Refused:
		if a.counted {
			a.held = nil
			a.open.Pair.Cut()
			return
		}
		a.refuse(ctx, m.Reason)
	case *sessions.StillCloses:
		if a.state == relayClosing && !a.counted {
			a.counted = true
			a.claim(ctx, ledger.SessionClaims(a.open.Count, a.open.User)...)
			if a.lasting.IsAway() { // it had no slots to give way with when it was lost
				ctx.Send(a.needs.Limits, &messages.Detached{Holder: ctx.Self(), Away: true})
			}
		}
	case *messages.TargetResolved:
		a.resolved(ctx, m)
	case *messages.Upgraded:
		a.start(ctx)
	case *messages.Abandoned:
		a.finish(ctx, messages.ReasonAbandoned)
	case *messages.TargetDialed:
		a.dialed(ctx, m)
	case *messages.PumpEnded:
		a.finish(ctx, m.Reason)
	case *messages.WebSocketEnded:
		a.webSocketEnded(ctx, m)
	case *messages.TakeUp:
		a.takeUp(ctx, m)
	case *sessions.TooLate:
		if a.lasting.IsTooLate(m) {
			a.giveUp(ctx, messages.ReasonResumeTimeout)
		}
	case *sessions.TokenDue:
		if _, over := a.expiry.Due(ctx, m); over {
			a.giveUp(ctx, messages.ReasonTokenExpired)
		}
	case *renewal.Renewed:
		a.expiry.Set(ctx, m.Until)
	case *messages.YieldSlot:
		a.held = nil
		a.giveUp(ctx, messages.ReasonGaveWay)
	case *messages.PairClosed:
		a.end(ctx, m.Reason)
		ctx.Stop(ctx.Self())
	case *messages.Drain:
		a.draining = true
	case *messages.Shutdown:
		a.shutdown(ctx, m)
	case *inspect.Describe:
		m.Answer <- a.describe(ctx)
	case *inspect.End:
		a.ordered(ctx, m)
	case *actor.Stopping:
		a.fail(ctx)
	case *actor.Stopped:
		a.open = nil // the library's set of children keeps some that have ended
	}
}

// look begins with the target: a look-up needs its own, short-lived claim.
func (a *relay) look(ctx actor.Context) {
	if !a.open.Lookup {
		a.resolve()
		return
	}
	a.claim(ctx, messages.Claim{Kind: messages.ClaimLookup, Source: a.open.Count})
}

func (a *relay) resolve() {
	a.state = relayResolving
	a.open.Pair.Resolve()
}

func (a *relay) resolved(ctx actor.Context, m *messages.TargetResolved) {
	if a.state != relayResolving {
		return
	}
	a.release(ctx)
	if m.Refused {
		a.refuse(ctx, messages.ReasonTargetRefused)
		return
	}
	a.state = relayClaiming
	a.held = ledger.SessionClaims(a.open.Count, a.open.User)
	ctx.Send(a.needs.Limits, &messages.Acquire{Holder: ctx.Self(), Claims: a.held, New: a.open.Upgrade && !a.draining, Kept: true})
}

func (a *relay) claim(ctx actor.Context, claims ...messages.Claim) {
	a.held = claims
	ctx.Send(a.needs.Limits, &messages.Acquire{Holder: ctx.Self(), Claims: claims, Kept: true})
}

// release gives back what is held, before the end of the actor would.
func (a *relay) release(ctx actor.Context) {
	if len(a.held) > 0 {
		ctx.Send(a.needs.Limits, &messages.Release{Holder: ctx.Self(), Claims: a.held})
		a.held = nil
	}
}

func (a *relay) granted(ctx actor.Context) {
	switch {
	case a.state == relayLooking:
		a.resolve()
	case a.state != relayClaiming:
	case a.draining: // a used-up limit is answered first (protocol, section 2)
		a.release(ctx)
		a.refuse(ctx, messages.ReasonDraining)
	case !a.open.Upgrade:
		a.release(ctx)
		a.refuse(ctx, messages.ReasonNotWebSocket)
	default:
		a.state = relayAdmitted
		a.answer(messages.Admission{Session: ctx.Self()})
	}
}

// refuse answers the handler that there will be no session.
func (a *relay) refuse(ctx actor.Context, reason messages.Reason) {
	if a.state >= relayAdmitted {
		return
	}
	a.state = relayClosing
	a.answer(messages.Admission{Refusal: reason})
	a.open.Pair.Finish(reason)
}

// answer gives the handler its one answer. The channel has room for it.
func (a *relay) answer(admission messages.Admission) {
	a.open.Answer <- admission
	a.open.Answer = nil // not held for as long as the session lives
}

func (a *relay) start(ctx actor.Context) {
	if a.state != relayAdmitted {
		return
	}
	a.started = time.Now()
	a.needs.Meter.RelayStarted()
	a.log(ctx).Info("relay started")
	a.state = relayDialing
	a.expiry.Set(ctx, a.open.Expires)
	a.open.Pair.Dial()
	if a.open.Resume {
		a.open.Pair.Announce(a.lasting.Open(ctx, &a.needs.Lasting))
	}
}

func (a *relay) dialed(ctx actor.Context, m *messages.TargetDialed) {
	if a.state != relayDialing {
		return
	}
	a.address, a.local = m.Address, m.Local
	if m.Failure != "" {
		a.finish(ctx, m.Failure)
		return
	}
	a.state = relayRelaying
	a.open.Pair.Pump()
}

// webSocketEnded has a session that has lost its WebSocket wait for another one.
func (a *relay) webSocketEnded(ctx actor.Context, m *messages.WebSocketEnded) {
	switch ends, lost := a.lasting.Ended(ctx, m); {
	case ends && a.state == relayClosing && len(a.held) > 0:
		a.leave(ctx) // the client has answered the close frame
	case ends:
		a.finish(ctx, m.Reason)
	case lost:
		a.log(ctx).Info("relay detached", slog.String("reason", string(m.Reason)))
		if a.shut {
			a.open.Pair.Cut()
		}
	}
}

func (a *relay) takeUp(ctx actor.Context, m *messages.TakeUp) {
	if a.open == nil || a.state == relayEnded { // it has said its last word
		m.Answer <- messages.ReasonNoSession
		return
	}
	away, ok := a.lasting.TakeUp(ctx, m, a.open.User, a.open.Pair)
	if !ok {
		return
	}
	a.open.Source = m.Source // from now on; what the limits count stays
	a.expiry.Renew(ctx, m.Expires)
	a.log(ctx).Info("relay resumed", slog.Int64("away_ms", away.Milliseconds()))
}

// giveUp ends a session whose client is not waited for any more. One that closes and
// has a WebSocket has not waited.
func (a *relay) giveUp(ctx actor.Context, reason messages.Reason) {
	if a.state == relayClosing && a.lasting.IsAway() {
		a.open.Pair.Cut()
	}
	a.finish(ctx, reason)
}

// finish begins the end of a session. The first reason counts.
func (a *relay) finish(ctx actor.Context, reason messages.Reason) {
	if a.state >= relayClosing {
		return
	}
	a.state = relayClosing
	if !a.open.Resume || !reason.IsAnswered() { // else the client may come yet, and fetch what there is for it
		a.leave(ctx)
	}
	a.open.Pair.Finish(reason)
}

// leave is called when the client is about to hear of the end. The slot is given back
// before that, so that it finds it free when it connects again at once; the sockets may
// linger for some seconds.
func (a *relay) leave(ctx actor.Context) {
	a.release(ctx)
	a.linger = sessions.CountLinger(ctx)
}

func (a *relay) shutdown(ctx actor.Context, m *messages.Shutdown) {
	if a.state < relayAdmitted {
		a.refuse(ctx, messages.ReasonDraining)
		return
	}
	a.shut = true
	a.giveUp(ctx, messages.ReasonShutdown)
	if m.AtOnce {
		a.open.Pair.Cut()
	}
}

// ordered ends a session that is too old, or that the operator wants to end.
func (a *relay) ordered(ctx actor.Context, m *inspect.End) {
	closes := a.state >= relayClosing
	if !m.Concerns(a.started) || closes && !m.Before.IsZero() {
		return
	}
	a.shut = true
	if closes {
		a.open.Pair.Cut()
	}
	a.finish(ctx, m.Reason)
}

func (a *relay) describe(ctx actor.Context) inspect.Session {
	if a.started.IsZero() {
		return inspect.Session{}
	}
	s := inspect.Session{ID: sessions.ID(ctx.Self()), Kind: inspect.Relay, User: a.open.User, Source: a.open.Source, Target: a.open.Target,
		State: relayStates[a.state], Since: a.started}
	s.FromClient, s.ToClient = a.open.Pair.Moved()
	if s.DetachedSince, s.Resumed = a.lasting.Away(); a.lasting.IsAway() {
		s.State = inspect.Detached
	}
	return s
}

// end writes the session's last line.
func (a *relay) end(ctx actor.Context, reason messages.Reason) {
	a.state = relayEnded
	if a.linger != nil {
		a.linger.Stop()
	}
	a.lasting.Close(reason)
	a.expiry.Stop()
	if a.started.IsZero() {
		return
	}
	up, down := a.open.Pair.Moved()
	a.needs.Meter.RelayEnded(reason, time.Since(a.started))
	log := a.log(ctx)
	if a.address.IsValid() {
		log = log.With(slog.String("address", a.address.String()), slog.String("local", a.local.String()))
	}
	log.Info("relay ended", slog.String("reason", string(reason)), slog.Int64("bytes_up", up), slog.Int64("bytes_down", down),
		slog.Int64("duration_ms", time.Since(a.started).Milliseconds()))
}

// fail ends a session whose actor is being stopped before its time, because it
// failed: the handler is answered if it still waits, and the pair sees to both
// sockets by itself.
func (a *relay) fail(ctx actor.Context) {
	if a.open == nil {
		return
	}
	if a.open.Answer != nil { // in whatever state: nobody is left waiting
		a.answer(messages.Admission{Refusal: messages.ReasonInternal})
	}
	if a.state == relayEnded {
		return
	}
	defer a.end(ctx, messages.ReasonInternal) // whatever the pair does: what was counted in is counted out
	a.open.Pair.Finish(messages.ReasonInternal)
	if a.lasting.IsAway() { // also if it closes: nobody can take it up any more
		a.open.Pair.Cut()
	}
}

func (a *relay) log(ctx actor.Context) sessions.Line {
	return sessions.NewLine(a.needs.Log, slog.String("session", sessions.ID(ctx.Self())), slog.String("user", sessions.UserName(a.open.User)),
		slog.String("source", a.open.Source.String()), slog.String("target", a.open.Target))
}
