package forward

import (
	"math"
	"net/http"
	"net/netip"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
	"wsproxy/messages/refused"
	"wsproxy/netpolicy"
	"wsproxy/transport/budget"
	"wsproxy/transport/pieces"
	"wsproxy/transport/tunnel"
	"wsproxy/transport/wsock"
)

// goneLook is how often a request that waits looks whether its tunnel still is
// there. A tunnel answers all that wait when it ends; only a request that was
// on its way to its mailbox just then gets no answer.
const goneLook = 250 * time.Millisecond

// cancelLooks is for how many looks a request that was cancelled waits for the
// word of its handler, which comes at once but from one that is overwhelmed;
// then the outside client is answered without it.
const cancelLooks = 40

// An exchange is one HTTP request to a tunnel. It belongs to the goroutine of
// its HTTP handler.
type exchange struct {
	gateway   *Gateway
	w         http.ResponseWriter
	r         *http.Request
	handler   *actor.PID
	id        string
	source    netip.Addr
	subdomain string // of the tunnel
	unfit     error  // why the answer could not be passed on, for the log
	answer    chan messages.Answer
	deadline  time.Time // for the head of an answer as bytes; zero = that of all requests

	revocation
	header budget.Reservation // what is kept of the request's header while it waits
}

// run sends the request, waits for its answer, and passes that on.
func (x *exchange) run() {
	answer, done := x.send()
	switch {
	case done:
	case answer.Response != nil:
		mux := answer.Mux.(*tunnel.Mux)
		x.begin(x.w, x.r)
		err := x.respond(answer.Response, mux.Answered(answer.Size), dialectOf(mux))
		cut := x.end()
		x.release(answer)
		if cut {
			x.gateway.record(x.r, x.refusal(messages.ReasonGaveWay))
			panic(http.ErrAbortHandler) // so that net/http closes the connection
		}
		if err == nil || err.Reason == messages.ReasonBadAnswer && x.again(mux, answer.Response) {
			return
		}
		x.refuse(err.Reason)
	case answer.Refusal == messages.ReasonAnswerTooBig && x.again(answer.Mux.(*tunnel.Mux), nil):
	default:
		x.refuse(answer.Refusal)
	}
}

func (x *exchange) refuse(reason messages.Reason) { x.gateway.refuse(x.w, x.r, x.refusal(reason)) }

func (x *exchange) refusal(reason messages.Reason) refused.Refusal {
	return refused.Refusal{Reason: reason, Source: x.source, Subdomain: x.subdomain, Cause: x.unfit}
}

// release gives the slots of an answered request back.
func (x *exchange) release(answer messages.Answer) {
	x.tell(&messages.Delivered{ID: x.id})
	x.gateway.settings.Root.Send(x.gateway.settings.Limits, &messages.Release{Holder: x.handler, Claims: answer.Claims})
}

// send sends the request and waits for its answer. done is set if the answer
// was passed on already.
//
// A request with a body has its slot when the body is there: until then it holds
// nothing that another one waits for. It waits for its turn with the body in hand.
func (x *exchange) send() (answer messages.Answer, done bool) {
	proceed, taken := make(chan messages.Mux, 1), (chan messages.Mux)(nil)
	open := &messages.OpenRequest{
		ID: x.id, Count: netpolicy.CountKey(x.source), Body: x.r.ContentLength != 0,
		Exchange: x, Proceed: proceed, Answer: x.answer,
	}
	if !open.Body && !IsUpgrade(x.r) && !WantsEvents(x.r) {
		taken = make(chan messages.Mux, 1)
		open.Frame, open.Taken = messages.EncodeRequest(x.message(nil)), taken
	}
	hasBody := open.Body
	x.tell(open)
	answer, through, answered := x.wait(proceed, taken)
	defer x.dropHeader()
	if answered {
		return answer, false
	}
	mux := through.(*tunnel.Mux)
	if !hasBody {
		return x.pass(mux, outgoing{frame: open.Frame})
	}
	out, refusal := x.prepare(mux)
	if refusal == "" {
		out.body, refusal = x.body(mux.Memory())
	}
	switch refusal {
	case "":
	case messages.ReasonTunnelGone:
		return x.last(refusal), false // which says more
	default:
		return x.cancel(refusal), false
	}
	x.tell(&messages.RequestRead{ID: x.id})
	if answer, _, answered = x.wait(proceed, nil); answered {
		mux.Memory().Add(-int64(cap(out.body)))
		return answer, false
	}
	return x.pass(mux, out)
}

// An outgoing is what is on its way to the tunnel's client: its frame, or what
// that is made of.
type outgoing struct {
	frame   []byte
	message *messages.Request // nil if the header is still that of the request
	body    []byte
}

// pass sends a request that has come whole. The body is charged to the tunnel's
// memory; the charge becomes that of the frame. So that it comes back exactly
// once the frame goes by no mailbox, which may end with what waits in it.
func (x *exchange) pass(mux *tunnel.Mux, out outgoing) (answer messages.Answer, done bool) {
	held := mux.Reserve(int64(cap(out.body)))
	defer func() {
		held.Keep(0)
		x.held.Store(0)
	}()
	dialect := dialectOf(mux)
	if dialect.AsBytes(x.r, out.body) {
		x.asBytes(mux, dialect.Services(), out.body)
		return answer, true
	}
	frame := out.frame
	if frame == nil {
		if out.message == nil {
			message := x.message(nil)
			out.message = &message
		}
		out.message.Body = out.body
		if !held.Try(int64(cap(out.body) + out.message.Size())) { // both are there for a moment
			return x.cancel(messages.ReasonMemory), false
		}
		pieces.Heavily(len(out.body), func() { frame = messages.EncodeRequest(*out.message) })
	} else if !held.Try(int64(cap(frame))) {
		return x.cancel(messages.ReasonMemory), false
	}
	if len(frame) > dialect.MaxRequest() {
		held.Keep(int64(cap(out.body)))
		x.asBytes(mux, dialect.Services(), out.body)
		return answer, true
	}
	held.Keep(int64(cap(frame)))
	x.held.Store(0)
	x.queued.Store(held.Held())
	mux.SendRequest(x.id, frame, &held, func() { x.queued.Store(0) })
	out, frame = outgoing{}, nil
	if dialect == (messagesOnly{}) {
		x.shed()
		x.dropHeader()
	}
	if answer, _, _ = x.wait(nil, nil); answer.Response == nil {
		mux.Forget(x.id) // the handler may have done so before it was there
	}
	return answer, false
}

// againPatience is how long the second attempt may take to be answered: the
// client has answered the first already.
const againPatience = 10 * time.Second

// again asks once more, as bytes, for what came back damaged, or as a message
// that was too long (then damaged is nil): if the client's dialect says so, and
// if asking twice does no harm. It reports whether the request was answered.
func (x *exchange) again(mux *tunnel.Mux, damaged *messages.Response) bool {
	if x.r.ContentLength != 0 || x.r.Method != http.MethodGet && x.r.Method != http.MethodOptions ||
		!dialectOf(mux).AskAgain(x.r, damaged) {
		return false
	}
	x.id, x.answer = messages.NewID(messages.IDBytes), make(chan messages.Answer, 1)
	proceed := make(chan messages.Mux, 1)
	x.tell(&messages.OpenRequest{ID: x.id, Count: netpolicy.CountKey(x.source), Exchange: x, Proceed: proceed, Answer: x.answer})
	_, through, answered := x.wait(proceed, nil)
	if answered {
		return false
	}
	x.deadline = time.Now().Add(againPatience)
	mux = through.(*tunnel.Mux)
	x.asBytes(mux, dialectOf(mux).Services(), nil)
	return true
}

// timeLeft returns how long the head of an answer as bytes may still take.
func (x *exchange) timeLeft() time.Duration {
	if x.deadline.IsZero() {
		return x.gateway.settings.HTTPTimeout
	}
	return time.Until(x.deadline)
}

// wait waits for the answer, or for what makes it pointless; or for the word
// to proceed through a Mux, if that comes first, and then it is not done. A request
// whose frame the handler has taken lets go of its header at the first look: most
// are answered before that.
func (x *exchange) wait(proceed, taken <-chan messages.Mux) (answer messages.Answer, through messages.Mux, done bool) {
	select { // whoever asked for it may have run the handler by itself
	case through = <-proceed:
		return answer, through, false
	default:
	}
	deadline := time.Now().Add(x.gateway.settings.HTTPTimeout)
	look := time.NewTimer(min(goneLook, x.gateway.settings.HTTPTimeout))
	defer look.Stop()
	for {
		select {
		case through = <-proceed:
			return answer, through, false
		case answer = <-x.answer:
			return answer, nil, true
		case <-x.r.Context().Done():
			return x.cancel(messages.ReasonAbandoned), nil, true
		case now := <-look.C:
			if !now.Before(deadline) {
				return x.cancel(messages.ReasonAnswerLate), nil, true
			}
			if !x.gateway.settings.Exists(x.handler) {
				return x.last(messages.ReasonTunnelGone), nil, true
			}
			select {
			case mux := <-taken:
				x.keepHeader(mux.(*tunnel.Mux))
			default:
			}
			look.Reset(min(goneLook, deadline.Sub(now)))
		}
	}
}

// cancel tells the tunnel that nobody waits any more. An answer that was on its
// way is dropped.
func (x *exchange) cancel(reason messages.Reason) messages.Answer {
	x.tell(&messages.CancelRequest{ID: x.id, Short: reason == messages.ReasonMemory})
	if !x.cancelled(cancelLooks) {
		wsock.StartPump(x.gateway.settings.Log, "cancelled", func() { x.cancelled(math.MaxInt) }, func() {})
	}
	return messages.Answer{Refusal: reason}
}

// cancelled waits for so many looks for the word that a request is cancelled,
// and gives back what an answer that crossed it holds. It reports whether that
// was all.
func (x *exchange) cancelled(looks int) bool {
	look := time.NewTicker(goneLook)
	defer look.Stop()
	for range looks {
		select {
		case answer := <-x.answer: // CancelRequest is always answered
			if answer.Response != nil {
				answer.Mux.Dropped(answer.Size)
				x.release(answer)
			}
			return true
		case <-look.C:
			if !x.gateway.settings.Exists(x.handler) { // and all its slots are free
				return true
			}
		}
	}
	return false
}

// last returns the answer that came before the tunnel went, if one did.
func (x *exchange) last(reason messages.Reason) messages.Answer {
	select {
	case answer := <-x.answer:
		return answer
	default:
		return messages.Answer{Refusal: reason}
	}
}

func (x *exchange) tell(message any) { x.gateway.settings.Root.Send(x.handler, message) }
