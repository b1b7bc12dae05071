package forward

import (
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
	"wsproxy/netpolicy"
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
	gateway *Gateway
	w       http.ResponseWriter
	r       *http.Request
	handler *actor.PID
	id      string
	source  netip.Addr
	answer  chan messages.Answer

	patience time.Duration // until the head of an answer as bytes; 0 = that of all requests
	accepted func()        // called when that has come
}

// run sends the request, waits for its answer, and passes that on.
func (x *exchange) run() {
	answer, done := x.send()
	switch {
	case done:
	case answer.Response != nil:
		mux := answer.Mux.(*tunnel.Mux)
		err := x.respond(answer.Response, mux.Answered(answer.Size), dialectOf(mux))
		x.release()
		if err == nil || err.reason == messages.ReasonBadAnswer && x.again(mux, answer.Response) {
			return
		}
		x.refuse(err.reason)
	case answer.Refusal == messages.ReasonAnswerTooBig && x.again(answer.Mux.(*tunnel.Mux), nil):
	default:
		x.refuse(answer.Refusal)
	}
}

func (x *exchange) refuse(reason messages.Reason) { x.gateway.refuse(x.w, x.r, reason) }

// release gives the slots of an answered request back.
func (x *exchange) release() {
	x.tell(&messages.Delivered{ID: x.id})
	x.gateway.settings.Root.Send(x.gateway.settings.Limits, &messages.Release{
		Holder: x.handler,
		Claims: []messages.Claim{{Kind: messages.ClaimHTTP, Source: netpolicy.CountKey(x.source)}},
	})
}

// send sends the request and waits for its answer. done is set if the answer
// was passed on already.
func (x *exchange) send() (answer messages.Answer, done bool) {
	proceed := make(chan messages.Mux, 1)
	open := &messages.OpenRequest{
		ID: x.id, Count: netpolicy.CountKey(x.source), Proceed: proceed, Answer: x.answer,
	}
	if x.r.ContentLength == 0 && !IsUpgrade(x.r) && !WantsEvents(x.r) {
		open.Frame = messages.EncodeRequest(x.message(nil))
	}
	x.tell(open)
	answer, through, answered := x.wait(proceed)
	if answered {
		return answer, false
	}
	mux := through.(*tunnel.Mux)
	var body []byte
	if x.r.ContentLength != 0 {
		var refusal messages.Reason
		switch body, refusal = x.body(mux.Memory()); refusal {
		case "":
		case messages.ReasonTunnelGone:
			return x.last(refusal), false // which says more
		default:
			return x.cancel(refusal), false
		}
	}
	return x.pass(mux, body)
}

// pass sends a request that has come whole. The body is charged to the tunnel's
// memory; the charge becomes that of the frame. So that it comes back exactly
// once the frame goes by no mailbox, which may end with what waits in it.
func (x *exchange) pass(mux *tunnel.Mux, body []byte) (answer messages.Answer, done bool) {
	held := mux.Reserve(int64(cap(body)))
	defer func() { held.Keep(0) }()
	dialect := dialectOf(mux)
	if dialect.AsBytes(x.r, body) {
		x.asBytes(dialect, body)
		return answer, true
	}
	message := x.message(body)
	if !held.Try(int64(cap(body) + message.Size())) { // both are there for a moment
		return x.cancel(messages.ReasonMemory), false
	}
	frame := messages.EncodeRequest(message)
	if len(frame) > dialect.MaxRequest() {
		held.Keep(int64(cap(body)))
		x.asBytes(dialect, body)
		return answer, true
	}
	held.Keep(int64(cap(frame)))
	mux.SendRequest(x.id, frame, &held)
	if answer, _, _ = x.wait(nil); answer.Response == nil {
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
	x.tell(&messages.OpenRequest{ID: x.id, Count: netpolicy.CountKey(x.source), Proceed: proceed, Answer: x.answer})
	_, through, answered := x.wait(proceed)
	if answered {
		return false
	}
	x.patience = againPatience
	x.asBytes(dialectOf(through.(*tunnel.Mux)), nil)
	return true
}

// wait waits for the answer, or for what makes it pointless; or for the word
// to proceed through a Mux, if that comes first, and then it is not done.
func (x *exchange) wait(proceed <-chan messages.Mux) (answer messages.Answer, through messages.Mux, done bool) {
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
			look.Reset(min(goneLook, deadline.Sub(now)))
		}
	}
}

// cancel tells the tunnel that nobody waits any more. An answer that was on its
// way is dropped.
func (x *exchange) cancel(reason messages.Reason) messages.Answer {
	x.tell(&messages.CancelRequest{ID: x.id})
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
				x.release()
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

// message returns what the tunnel's client gets of the request.
func (x *exchange) message(body []byte) messages.Request {
	headers := x.gateway.requestHeaders(x.r, x.source)
	for i := range headers {
		headers[i].Value = decodeText(headers[i].Value)
	}
	return messages.Request{ID: x.id, Method: x.r.Method, Path: requestTarget(x.r), Headers: headers, Body: body}
}

// decodeText returns a header value as text: as ISO 8859-1 if it is not UTF-8 as
// a whole, for that is what such a sender means (RFC 9110, section 5.5).
func decodeText(value string) string {
	if utf8.ValidString(value) {
		return value
	}
	text := make([]rune, len(value))
	for i := range len(value) {
		text[i] = rune(value[i])
	}
	return string(text)
}

// requestTarget returns path and query as they came. Each byte that is not part
// of valid UTF-8 is percent-encoded: in JSON it would be lost.
func requestTarget(r *http.Request) string {
	target := r.RequestURI
	if !strings.HasPrefix(target, "/") && target != "*" {
		target = r.URL.RequestURI() // absolute form: RFC 9112, section 3.2.2
	}
	if utf8.ValidString(target) {
		return target
	}
	var b strings.Builder
	for i := 0; i < len(target); {
		char, size := utf8.DecodeRuneInString(target[i:])
		if char == utf8.RuneError && size == 1 {
			fmt.Fprintf(&b, "%%%02X", target[i])
		} else {
			b.WriteString(target[i : i+size])
		}
		i += size
	}
	return b.String()
}
