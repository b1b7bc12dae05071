package actors

import (
	"cmp"
	"log/slog"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/actors/ledger"
	"wsproxy/messages"
	"wsproxy/messages/refused"
)

// flushPatience is how long an outside peer may acknowledge nothing of what is
// left for it when the client has closed the connection, has ended its own
// direction, or waits to say more on one that the peer has half closed.
const flushPatience = 30 * time.Second

// flushCheck asks a conn whose client has said its last whether anything has
// moved since.
type flushCheck struct {
	moved int64
	watch int // that it belongs to: a new one has begun if it is not the conn's
}

// conn is one raw TCP connection, or one stream that carries what this process
// speaks: its credit and which directions have ended. The bytes that wait are its
// stream's. Of the second kind it claims nothing and writes no line: who speaks over
// it does. It has no half-closed states, either, until it is joined to the
// connection of an outside peer.
//
//	claiming -> open -> half closed (the peer has ended) --> closing -> ended
//	                 -> client ended (its eof was written) ->
//
// Either end may come first; both are the orderly end of the connection. So are
// the client's close, in any state, and the end of the tunnel. What resets it
// does so in any state: the peer, the client, an overrun, a stall. None of the
// states lasts for ever but by the will of both sides: open and client ended last
// while the outside peer is there, whose kernel is asked by TCP's keepalive, and
// takes what waits for it; half closed while the client has something to say;
// closing while the peer takes something.
type conn struct {
	needs  *Tunnels
	mux    messages.Mux
	stream messages.Stream
	tunnel string           // its subdomain
	claims []messages.Claim // what it takes of the limits; nil if it is no raw connection
	joined bool             // it is joined to an outside peer's connection
	log    *slog.Logger

	state   connState
	started time.Time
	reason  messages.CloseReason // why it ended; "" = the client closed it

	credit bool
	window ledger.Window // what the client may still send (flow=credit)
	looks  bool          // the window is looked at now and then
	idle   time.Time     // since when the client could have sent something and has not (half closed)
	late   bool          // it was closed for being idle, and the client does not know
	watch  int           // which watch of the peer's taking is under way
	asked  bool          // the handler was asked for a slot
	quiet  quiet         // for how long nothing has come either way
}

// abortConn tells a conn to reset its connection.
type abortConn struct{ reason messages.CloseReason }

// lateData tells a handler that data has come for a connection that was closed
// for being idle.
type lateData struct{ id string }

// endConn tells a conn, after the last of its data, that its tunnel has ended.
type endConn struct{}

type connState uint8

const (
	connClaiming connState = iota
	connOpen
	connHalfClosed  // the outside peer will send no more
	connClientEnded // the client will send no more
	connClosing     // the stream was told to end
	connEnded
)

func newConn(needs *Tunnels, mux messages.Mux, stream messages.Stream, tunnel string, claims []messages.Claim, credit bool, log *slog.Logger) *conn {
	return &conn{needs: needs, mux: mux, stream: stream, tunnel: tunnel, claims: claims, credit: credit, window: ledger.Window{Room: mux.Widen}, log: log}
}

func (a *conn) Receive(ctx actor.Context) {
	switch m := ctx.Message().(type) {
	case *actor.Started:
		a.stream.Own(ctx.Self())
		if a.claims == nil {
			a.state = connOpen
			a.stream.Open()
			return
		}
		a.claim(ctx)
	case *claimAgain:
		a.claim(ctx)
	case *messages.Granted:
		a.open(ctx)
	case *messages.Refused:
		a.refused(ctx, m)
	case *giveWay:
		if a.state == connHalfClosed {
			a.late = true
			a.endWrite(ctx)
		}
	case *messages.Data:
		a.data(ctx, m.Data)
	case *messages.Flushed:
		a.flushed(ctx, m.N)
	case *messages.PassedOn:
		if !a.credit || a.state >= connClientEnded || a.window.Received(m.N) {
			a.flushed(ctx, m.N)
		} else {
			a.abort(messages.CloseLimit)
		}
	case *messages.Credit:
		a.stream.Credit(m.Bytes)
	case *messages.Close:
		a.clientClosed(ctx, m.Reason)
	case *messages.OutsideEnded:
		a.outsideEnded(ctx, m.Reason)
	case *endConn:
		a.leave(ctx)
	case *abortConn: // also one that the client has closed: what is left holds the tunnel up
		if a.state != connEnded {
			a.abort(m.reason)
		}
	case *idleCheck:
		if a.state == connHalfClosed {
			a.watchHalfClosed(ctx, m.acked)
		}
	case *windowCheck:
		a.lookAtWindow(ctx)
	case *quietCheck:
		a.watchQuiet(ctx)
	case *flushCheck:
		if m.watch == a.watch {
			a.watchFlush(ctx, m.moved)
		}
	case *messages.StreamJoined:
		a.joined = true
		if a.state == connClosing {
			a.startWatch(ctx)
		}
	case *messages.StreamClosed:
		a.end(ctx)
	case *actor.Stopping:
		if a.state != connEnded {
			a.window.End()
			a.stream.Abort(messages.CloseReset)
			a.report()
		}
	case *actor.Stopped:
		a.stream = nil // as what a relay has open
	}
}

func (a *conn) claim(ctx actor.Context) {
	if a.state == connClaiming {
		ctx.Send(a.needs.Limits, &messages.Acquire{Holder: ctx.Self(), Claims: a.claims})
	}
}

// refused asks the handler, once, whether another connection of the tunnel gives
// way; else the outside peer is turned away.
func (a *conn) refused(ctx actor.Context, m *messages.Refused) {
	if a.state != connClaiming {
		return
	}
	if m.Reason != messages.ReasonInternal && !a.asked {
		a.asked = true
		ctx.Send(ctx.Parent(), &slotWanted{a.stream.ID(), m})
		return
	}
	a.turnAway(ctx, m.Reason)
}

func (a *conn) turnAway(ctx actor.Context, reason messages.Reason) {
	a.state = connClosing
	a.stream.Reject()
	refused.TurnedAway(a.needs.Refused, a.stream.RemoteAddr(), a.tunnel, reason)
	a.end(ctx)
}

func (a *conn) open(ctx actor.Context) {
	if a.state != connClaiming {
		return
	}
	a.state, a.started = connOpen, time.Now()
	a.needs.Meter.RawStarted()
	a.log.Info("raw connection started", "conn", a.stream.ID(), "peer", a.stream.RemoteAddr())
	a.stream.Open()
	a.startQuiet(ctx)
}

// data writes what the client sent. With credit, more than was allowed ends
// the connection.
func (a *conn) data(ctx actor.Context, b []byte) {
	if a.state != connOpen && a.state != connHalfClosed {
		a.stream.Drop(b)
		if a.late {
			ctx.Send(ctx.Parent(), &lateData{a.stream.ID()})
		}
		return
	}
	a.idle = time.Now()
	if a.credit && !a.window.Received(len(b)) {
		a.abort(messages.CloseLimit)
		a.stream.Drop(b)
		return
	}
	a.stream.Write(b)
}

// flushed gives back credit for what the outside peer's kernel has taken.
func (a *conn) flushed(ctx actor.Context, n int) {
	a.idle = time.Now() // before, the client may have had no credit
	if !a.credit || a.state >= connClientEnded {
		return
	}
	if n = a.window.Passed(n, a.idle); n > 0 {
		a.mux.Control(messages.EncodeCredit(a.stream.ID(), n))
	}
	if !a.looks && a.window.Size() > messages.Window {
		a.lookAtWindow(ctx)
	}
}

// clientClosed is the client's tcp_close. Its reason means something with
// flow=credit only: clients of the public protocol have none.
func (a *conn) clientClosed(ctx actor.Context, reason string) {
	if a.state == connClaiming || a.state == connEnded { // it does not know of it
		return
	}
	if !a.credit {
		reason = ""
	}
	switch reason {
	case messages.ClientReset:
		a.clientReset(messages.CloseClientReset)
	case messages.ClientRefused:
		a.clientReset(messages.CloseRefused)
	case messages.ClientEOF:
		if a.claims != nil {
			a.clientEnded(ctx)
			return
		}
		fallthrough // the end of a service is that of both directions (protocol, section 10)
	default:
		if a.state < connClosing {
			a.stream.EndRead()
			a.endWrite(ctx)
		}
	}
}

// clientReset resets the outside connection, also one that is closing: what is
// left for the peer is part of what the client has given up.
func (a *conn) clientReset(reason messages.CloseReason) {
	if a.state == connClosing {
		a.stream.Abort(reason)
		return
	}
	a.stream.EndRead()
	a.abort(reason)
}

// clientEnded ends the client's direction. The other one goes on until the peer
// ends it, unless it has.
func (a *conn) clientEnded(ctx actor.Context) {
	switch a.state {
	case connOpen:
		a.state = connClientEnded
		a.stream.CloseWrite()
		a.startWatch(ctx)
	case connHalfClosed:
		a.endWrite(ctx)
	}
}

// leave ends a connection whose tunnel has ended: as if the client had closed
// it, which it may have done.
func (a *conn) leave(ctx actor.Context) {
	switch a.state {
	case connClaiming:
		a.turnAway(ctx, messages.ReasonTunnelGone)
	case connOpen, connHalfClosed, connClientEnded:
		a.reason = messages.CloseTunnelEnded
		a.endWrite(ctx)
	}
}

// endWrite closes the connection when the outside peer has taken what is left
// for it.
func (a *conn) endWrite(ctx actor.Context) {
	a.state = connClosing
	a.stream.EndWrite()
	a.startWatch(ctx)
}

// startWatch begins to see to it that a peer that takes nothing any more does
// not keep its connection for ever, once the client has said its last.
func (a *conn) startWatch(ctx actor.Context) {
	if a.claims == nil && !a.joined {
		return // who speaks over it has its own patience
	}
	a.watch++
	a.watchFlush(ctx, -1)
}

// watchFlush resets a connection whose peer has taken nothing of what waits for
// it since the last look. While the client may still be sent something, a peer
// that is busy sending is not stalled: it may mean to read later. One that has
// taken all is waited for as long as it likes, as while the connection was open.
func (a *conn) watchFlush(ctx actor.Context, before int64) {
	waiting, moved := a.stream.Waiting()
	if a.state == connClientEnded {
		if waiting == 0 {
			return
		}
		in, _ := a.stream.Moved()
		moved += in
	}
	if moved == before {
		if a.state == connClientEnded {
			a.abort(messages.CloseSlow)
		} else {
			a.stream.Abort(messages.CloseSlow)
		}
		return
	}
	self, root, check := ctx.Self(), ctx.ActorSystem().Root, &flushCheck{moved, a.watch}
	time.AfterFunc(flushPatience, func() { root.Send(self, check) })
}

func (a *conn) abort(reason messages.CloseReason) {
	a.state, a.reason = connClosing, reason
	a.watch++ // nothing is left to watch
	a.stream.Abort(reason)
}

// outsideEnded notes that the peer has said all it had to say. The client has
// been sent all of it; what the client still sends is delivered.
func (a *conn) outsideEnded(ctx actor.Context, reason messages.CloseReason) {
	switch {
	case reason != messages.CloseEOF:
		a.reason = reason
		if a.state < connClosing {
			a.abort(reason)
		}
	case a.state == connOpen:
		a.state, a.reason, a.idle = connHalfClosed, reason, time.Now()
		ctx.Send(ctx.Parent(), &halfClosed{a.stream.ID(), a.idle})
		a.watchHalfClosed(ctx, -1)
	case a.state == connClientEnded:
		a.reason = reason
		a.endWrite(ctx)
	}
}

func (a *conn) end(ctx actor.Context) {
	a.report()
	a.window.End()
	a.state = connEnded
	ctx.Send(ctx.Parent(), &messages.ConnEnded{ConnID: a.stream.ID()})
	ctx.Stop(ctx.Self())
}

// report writes the connection's last line. Not only its conn ends a stream: so
// what that says comes first.
func (a *conn) report() {
	if a.started.IsZero() {
		return
	}
	in, out := a.stream.Moved()
	reason := cmp.Or(a.stream.Ended(), a.reason, messages.CloseClient)
	a.needs.Meter.RawEnded(reason, time.Since(a.started))
	a.log.Info("raw connection ended", "conn", a.stream.ID(), "peer", a.stream.RemoteAddr(), "reason", string(reason),
		"bytes_in", in, "bytes_out", out, "duration_ms", time.Since(a.started).Milliseconds())
	a.started = time.Time{}
}
