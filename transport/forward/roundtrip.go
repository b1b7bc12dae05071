package forward

import (
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/net/http/httpguts"

	"wsproxy/messages"
	"wsproxy/netpolicy"
	"wsproxy/transport/fields"
	"wsproxy/transport/http1"
	"wsproxy/transport/outside"
	"wsproxy/transport/service"
	"wsproxy/transport/tunnel"
)

// A roundTrip is a request on its way to a service as bytes, and the answer on its
// way back. It belongs to the goroutine of the request's HTTP handler.
type roundTrip struct {
	x        *exchange
	mux      *tunnel.Mux
	services *service.Pool
	host     string        // what Host says in the place of the outside client's; "" for that
	turn     *service.Turn // of requests whose connections are few; else nil
	body     []byte        // the request's, if it has come whole before
	upload   *upload       // nil if the request has no body
	conn     *service.Lease
	upgrade  string // the protocol that the client asks for, if it may; else ""
	sent     bool   // the request's head was sent

	chunk, rest []byte // what has come from the service, and what is left of that
	heard       bool   // something has come from the service
	passed      bool   // the head of the answer was passed on
	closes      bool   // the service closes the connection behind the answer
	switched    bool   // it speaks something else from now on
	patience    *outside.Patience
	stop        <-chan struct{} // closed when nobody wants more of the answer
	unwatch     func()          // ends the looking at the outside client; nil until that begins
	life        time.Duration   // for how long the connection may wait for another request; 0 = not at all

	headCame atomic.Bool                     // that of the answer
	late     *time.Timer                     // gives up a request whose answer's head does not come
	reason   atomic.Pointer[messages.Reason] // why it was given up
}

// carry sends the request as bytes, and answers it.
func (x *exchange) carry() {
	rt := &roundTrip{x: x, stop: x.r.Context().Done(), patience: outside.NewPatience(x.w, x.r, x.gateway.settings.HTTPTimeout)}
	if x.r.ContentLength != 0 {
		rt.upload = newUpload(x)
		defer rt.upload.release()
	}
	if refusal := rt.admit(); refusal != "" {
		x.refuse(refusal)
		return
	}
	rt.passOn()
}

// asBytes sends a request as bytes that has its slot, and whose body has come whole,
// and answers it. It waits for its turn to use one of the few connections.
func (x *exchange) asBytes(mux *tunnel.Mux, services *service.Pool, body []byte) {
	rt := &roundTrip{
		x: x, stop: x.r.Context().Done(), patience: outside.NewPatience(x.w, x.r, x.gateway.settings.HTTPTimeout),
		mux: mux, services: services, body: body,
		turn: services.Turn(netpolicy.CountKey(x.source)),
	}
	if refusal := rt.awaitTurn(); refusal != "" {
		rt.turn.GiveBack()
		x.tell(&messages.RequestEnded{ID: x.id})
		x.refuse(refusal)
		return
	}
	if len(body) > 0 {
		rt.upload = newHeldUpload(x, body)
	}
	rt.passOn()
}

// awaitTurn waits for the turn of the request.
func (rt *roundTrip) awaitTurn() (refusal messages.Reason) {
	late := time.NewTimer(rt.x.timeLeft())
	defer late.Stop()
	select {
	case <-rt.turn.Come():
		return ""
	case answer := <-rt.x.answer: // the tunnel has ended, or the request gave way
		return answer.Refusal
	case <-rt.x.r.Context().Done():
		return messages.ReasonAbandoned
	case <-late.C:
		return messages.ReasonAnswerLate
	}
}

// ending returns what says that neither the request nor what has become of it uses
// anything any more. It keeps nothing else of the round trip.
func (rt *roundTrip) ending() func() {
	x, turn := rt.x, rt.turn
	return func() {
		if turn != nil {
			turn.GiveBack()
		}
		x.tell(&messages.RequestEnded{ID: x.id})
	}
}

// passOn sends the request, and answers it.
func (rt *roundTrip) passOn() {
	x := rt.x
	err := rt.run()
	if errors.Is(err, errUpgraded) { // which keeps the slot
		return
	}
	reason := messages.Reason("")
	cut := x.end()
	if err != nil {
		reason = rt.refusal(err)
	}
	whole := rt.settle(err)
	rt.ending()()
	switch {
	case rt.passed && (err != nil || cut):
		rt.abort(reason)
	case err != nil:
		x.refuse(reason)
	case !whole && !rt.upload.held:
		outside.DiscardOnClose(x.r)
	}
}

// settle has the request and its connection come to rest, and reports whether all of
// the request was sent. A connection that may serve another request is kept.
func (rt *roundTrip) settle(err error) (whole bool) {
	whole = true
	if up := rt.upload; up != nil {
		if rt.conn != nil && (err != nil || !up.sent.Load()) {
			rt.conn.Close(messages.CloseReset)
		}
		whole = up.stop()
	}
	if rt.conn == nil {
		return whole
	}
	if rt.late != nil {
		rt.late.Stop()
	}
	if rt.unwatch != nil {
		rt.unwatch()
	}
	if rt.chunk != nil {
		rt.conn.Passed(rt.chunk)
	}
	if err != nil || !whole {
		rt.conn.End(rt.outcome(err, whole), 0, messages.CloseReset)
	} else {
		rt.conn.End(rt.outcome(err, whole), rt.life, messages.CloseEOF)
	}
	return whole
}

// outcome says how the use of the connection has ended, by how the round trip did, and
// whether all of the request's body was sent.
func (rt *roundTrip) outcome(err error, whole bool) service.Outcome {
	switch {
	case err == nil && rt.closes:
		return service.OutcomeLast
	case rt.switched || !rt.sent || !whole:
		return service.OutcomeBroken
	case err == nil:
		return service.OutcomeKept
	}
	return service.OutcomeLeft
}

// abort ends an answer that can't be passed on to its end, so that what the outside
// client has got does not look whole: by a reset if its end is that of the connection.
func (rt *roundTrip) abort(reason messages.Reason) {
	x := rt.x
	if reason != "" && reason != messages.ReasonAbandoned {
		x.gateway.record(x.r, x.refusal(reason))
	}
	if !x.r.ProtoAtLeast(1, 1) && x.w.Header().Get("Content-Length") == "" {
		outside.Cut(x.w, x.r)
	}
	panic(http.ErrAbortHandler) // so that net/http closes the connection
}

// admit waits for the request's slot. With a body it asks for one when the beginning
// of that is there, or at once if the client waits to be asked for it.
func (rt *roundTrip) admit() (refusal messages.Reason) {
	x := rt.x
	proceed := make(chan messages.Mux, 1)
	body := rt.upload != nil && rt.upload.asked == nil
	x.tell(&messages.OpenRequest{
		ID: x.id, Count: netpolicy.CountKey(x.source), Body: body, Exchange: x, Proceed: proceed, Answer: x.answer,
	})
	answer, through, answered := x.wait(proceed, nil)
	if answered {
		return answer.Refusal
	}
	rt.mux = through.(*tunnel.Mux)
	dialect := rt.mux.Dialect().(*Bytes)
	rt.services, rt.host = dialect.services, dialect.host
	if !body {
		return ""
	}
	switch refusal := rt.upload.begin(rt.mux); refusal {
	case "":
	case messages.ReasonTunnelGone:
		return x.last(refusal).Refusal // which says more
	default:
		return x.cancel(refusal).Refusal
	}
	x.tell(&messages.RequestRead{ID: x.id})
	if answer, _, answered = x.wait(proceed, nil); answered {
		return answer.Refusal
	}
	return ""
}

// run sends the request and passes the answer on. A request that met the end of a
// connection that had waited is sent once more, over a new one, if that does no harm.
func (rt *roundTrip) run() error {
	rt.upgrade = upgradeOf(rt.x.r)
	safe := isSafe(rt.x.r.Method)
	if rt.upload == nil && safe || rt.services.Tried() {
		rt.conn = rt.services.Take()
	}
	for {
		if rt.conn == nil {
			var err error
			if rt.conn, err = rt.services.Open(outside.Peer(rt.x.r, rt.x.source)); err != nil {
				return err
			}
		}
		conn := rt.conn
		apart := conn.Begin(!safe)
		rt.x.whenRevoked(func() { conn.Close(messages.CloseReset) })
		err := rt.send(apart)
		if err == nil {
			err = rt.receive()
		}
		if err == nil || !conn.Served() || rt.heard || rt.reason.Load() != nil ||
			!errors.Is(err, service.ErrUnsent) && !(safe && service.HasEnded(err)) {
			return err
		}
		rt.reset()
	}
}

// reset lets go of a connection that had ended before the request.
func (rt *roundTrip) reset() {
	rt.conn.Close(messages.CloseReset)
	if rt.late != nil {
		rt.late.Stop()
	}
	if rt.upload != nil {
		rt.upload.stop()
		rt.upload = newHeldUpload(rt.x, rt.body)
	}
	rt.conn.End(service.OutcomeBroken, 0, messages.CloseReset)
	rt.conn, rt.sent = nil, false
}

// isSafe reports whether asking twice does no harm.
func isSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions || method == http.MethodTrace
}

// send sends the request's head, and begins to send its body. A short body that is
// there goes with the head, unless that must go apart.
func (rt *roundTrip) send(apart bool) (err error) {
	var room []byte
	if !apart {
		if room, err = rt.conn.Room(1); err != nil {
			return err
		}
	}
	head, err := rt.appendHead(room[:0:len(room)])
	if err != nil {
		if !apart {
			rt.conn.Send(0, 0)
		}
		return err
	}
	up := rt.upload
	whole := up == nil || up.ended && up.length > 0 && len(up.first) <= len(room)-len(head)
	if whole && up != nil {
		head = append(head, up.first...)
		up.release()
		up.sent.Store(true)
	}
	if len(head) <= len(room) {
		rt.conn.Send(0, len(head)) // it stands there
	} else {
		if !apart {
			rt.conn.Send(0, 0)
		}
		if _, err := rt.conn.Write(head); err != nil {
			return err
		}
	}
	rt.sent = true
	conn, patience := rt.conn, rt.x.timeLeft()
	rt.late = time.AfterFunc(patience, func() {
		if !rt.headCame.Load() {
			rt.giveUp(conn, messages.ReasonAnswerLate)
		}
	})
	if whole {
		return nil
	}
	rt.late.Stop() // its time begins when the request was sent whole
	_ = up.control.EnableFullDuplex()
	up.start(conn, func(refusal messages.Reason) {
		switch {
		case refusal == messages.ReasonAnswerLate && rt.headCame.Load(): // it answers, and takes no more of the body
		case refusal != "":
			rt.giveUp(conn, refusal)
		case up.sent.Load() && !rt.headCame.Load():
			rt.late.Reset(patience)
		}
	})
	return nil
}

// giveUp ends the round trip for a reason. Any goroutine may call it.
func (rt *roundTrip) giveUp(conn *service.Lease, reason messages.Reason) {
	rt.reason.CompareAndSwap(nil, &reason)
	conn.Close(messages.CloseReset)
}

// appendHead appends the request's head as the service gets it.
func (rt *roundTrip) appendHead(b []byte) (head []byte, err error) {
	x, r := rt.x, rt.x.r
	host := r.Host
	if rt.host != "" {
		host = rt.host
	}
	if b, err = http1.AppendRequestLine(b, r.Method, fields.Target(r), host); err != nil {
		return b, err
	}
	if b, err = x.gateway.fields.AppendRequest(b, r, x.source); err != nil {
		return b, err
	}
	if rt.upload == nil && (r.Header["Content-Length"] != nil || r.ContentLength != 0) {
		b = fields.AppendLength(b, 0)
	}
	if rt.upload != nil {
		if b, err = rt.upload.appendFields(b); err != nil {
			return b, err
		}
		if rt.upload.asked != nil {
			b = append(b, "Expect: 100-continue\r\n"...)
		}
	}
	trailers := httpguts.HeaderValuesContainsToken(r.Header["Te"], "trailers")
	switch {
	case rt.upgrade != "" && trailers:
		b = append(b, "Connection: Upgrade, TE\r\n"...)
	case rt.upgrade != "":
		b = append(b, "Connection: Upgrade\r\n"...)
	case trailers:
		b = append(b, "Connection: TE\r\n"...)
	}
	if trailers {
		b = append(b, "TE: trailers\r\n"...)
	}
	if rt.upgrade != "" {
		if b, err = http1.AppendField(b, "Upgrade", rt.upgrade); err != nil {
			return b, err
		}
	}
	return append(b, "\r\n"...), nil
}
