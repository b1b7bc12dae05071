package transport

import (
	"math"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
	"wsproxy/netpolicy"
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
	server  *Server
	w       http.ResponseWriter
	r       *http.Request
	handler *actor.PID
	id      string
	source  netip.Addr
	answer  chan messages.Answer
	whole   bool // the body was read to its end

	patience time.Duration // until the head of an answer as bytes; 0 = that of all requests
	accepted func()        // called when that has come
}

// forward passes an HTTP request on to the tunnel of a subdomain.
func (s *Server) forward(w http.ResponseWriter, r *http.Request, subdomain string) {
	t := s.config.Tunnels
	var handler *actor.PID
	if messages.IsSubdomain(subdomain) {
		handler = t.Handler(subdomain)
	}
	if handler == nil || !t.Exists(handler) {
		s.refuseUnread(w, r, messages.ReasonNoTunnel)
		return
	}
	if r.Method == http.MethodConnect {
		leaveUnread(w, r)
		w.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
		w.Header().Set("Cache-Control", "no-store")
		limitAnswer(w)
		http.Error(w, "A tunnel carries requests, not CONNECT.", http.StatusMethodNotAllowed)
		return
	}
	if r.ContentLength > t.MaxBody {
		s.refuseUnread(w, r, messages.ReasonBodyTooBig)
		return
	}
	x := &exchange{
		server: s, w: w, r: r, handler: handler,
		id: messages.NewID(messages.IDBytes), source: s.source(r),
		answer: make(chan messages.Answer, 1), accepted: func() {},
	}
	answer, done := x.run()
	switch {
	case done:
	case answer.Response != nil:
		err := s.respond(w, r, answer.Response, answer.Mux.(*link).answered(answer.Size))
		x.release()
		if err != nil && !x.again(answer.Response) {
			s.refuseForward(w, messages.ReasonBadAnswer)
		}
	case x.whole:
		s.refuseForward(w, answer.Refusal)
	default:
		s.refuseUnread(w, r, answer.Refusal)
	}
}

// release gives the slots of an answered request back.
func (x *exchange) release() {
	x.send(&messages.Delivered{ID: x.id})
	x.server.config.Root.Send(x.server.config.Tunnels.Limits, &messages.Release{
		Holder: x.handler,
		Claims: []messages.Claim{{Kind: messages.ClaimHTTP, Source: netpolicy.CountKey(x.source)}},
	})
}

// run sends the request and waits for its answer. done is set if it has passed
// on the answer already.
func (x *exchange) run() (answer messages.Answer, done bool) {
	open := &messages.OpenRequest{
		ID: x.id, Count: netpolicy.CountKey(x.source), Answer: x.answer,
	}
	if x.r.ContentLength == 0 && !wantsBytes(x.r) {
		// What is too long for some clients goes another way with those.
		if frame := messages.EncodeRequest(x.message(nil)); len(frame) <= gosshMessage {
			open.Frame = frame
			x.send(open)
			answer, _, _ = x.wait(nil)
			return answer, false
		}
	}
	proceed := make(chan messages.Mux, 1)
	open.Proceed = proceed
	x.send(open)
	answer, through, answered := x.wait(proceed)
	if answered {
		return answer, false
	}
	var body []byte
	if x.r.ContentLength != 0 {
		var refusal messages.Reason
		switch body, refusal = x.body(through.(*link).memory); refusal {
		case "":
		case messages.ReasonTunnelGone:
			return x.last(refusal), false // which says more
		default:
			return x.cancel(refusal), false
		}
	}
	x.whole = true
	return x.pass(through.(*link), body)
}

// pass sends a request that has come whole. The body is charged to the tunnel's
// memory; the charge becomes that of the frame. So that it comes back exactly
// once the frame goes by no mailbox, which may end with what waits in it.
func (x *exchange) pass(l *link, body []byte) (answer messages.Answer, done bool) {
	held := charge{l.memory, int64(cap(body))}
	defer func() { held.keep(0) }()
	if l.gossh != nil && (wantsBytes(x.r) || !carriesGossh(body)) {
		x.bytes(l, body)
		return answer, true
	}
	message := x.message(body)
	if !held.try(int64(cap(body) + message.Size())) { // both are there for a moment
		return x.cancel(messages.ReasonMemory), false
	}
	frame := messages.EncodeRequest(message)
	if l.gossh != nil && len(frame) > gosshMessage {
		held.keep(int64(cap(body)))
		x.bytes(l, body)
		return answer, true
	}
	held.keep(int64(cap(frame)))
	l.request(x.id, frame, held.held)
	held.held = 0
	if answer, _, _ = x.wait(nil); answer.Response == nil {
		l.Forget(x.id) // the handler may have done so before it was there
	}
	return answer, false
}

// wait waits for the answer, or for what makes it pointless; or for the word
// to proceed through a link, if that comes first, and then it is not done.
func (x *exchange) wait(proceed <-chan messages.Mux) (answer messages.Answer, through messages.Mux, done bool) {
	deadline := time.Now().Add(x.server.config.Tunnels.HTTPTimeout)
	look := time.NewTimer(min(goneLook, x.server.config.Tunnels.HTTPTimeout))
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
			if !x.server.config.Tunnels.Exists(x.handler) {
				return x.last(messages.ReasonTunnelGone), nil, true
			}
			look.Reset(min(goneLook, deadline.Sub(now)))
		}
	}
}

// cancel tells the tunnel that nobody waits any more. An answer that was on its
// way is dropped.
func (x *exchange) cancel(reason messages.Reason) messages.Answer {
	x.send(&messages.CancelRequest{ID: x.id})
	if !x.cancelled(cancelLooks) {
		startPump(x.server.config.Log, "cancelled", func() { x.cancelled(math.MaxInt) }, func() {})
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
			if !x.server.config.Tunnels.Exists(x.handler) { // and all its slots are free
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

func (x *exchange) send(message any) { x.server.config.Root.Send(x.handler, message) }

// message returns what the tunnel's client gets of the request.
func (x *exchange) message(body []byte) messages.Request {
	return messages.Request{
		ID: x.id, Method: x.r.Method, Path: requestTarget(x.r),
		Headers: x.server.requestHeaders(x.r, x.source), Body: body,
	}
}

// requestTarget returns path and query as they came.
func requestTarget(r *http.Request) string {
	if strings.HasPrefix(r.RequestURI, "/") || r.RequestURI == "*" {
		return r.RequestURI
	}
	return r.URL.RequestURI() // absolute form: RFC 9112, section 3.2.2
}

// refuseUnread is refuseForward for a request whose body was not read to its
// end.
func (s *Server) refuseUnread(w http.ResponseWriter, r *http.Request, reason messages.Reason) {
	leaveUnread(w, r)
	s.refuseForward(w, reason)
}

// leaveUnread makes the answer to a request not wait for the rest of its body.
// The connection is of no more use; net/http reads on for a while before it
// closes it, so that the client is not reset while it still sends.
func leaveUnread(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close")
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(messages.Linger))
	}
}

// refuseForward answers for a tunnel that doesn't. To an outside client that has
// gone it says nothing: the connection is closed.
func (s *Server) refuseForward(w http.ResponseWriter, reason messages.Reason) {
	status, sentence := http.StatusBadGateway, "The tunnel failed to answer."
	switch reason {
	case messages.ReasonAbandoned:
		// net/http answers 200 for a handler that returns without a word.
		panic(http.ErrAbortHandler)
	case messages.ReasonNoTunnel:
		status, sentence = http.StatusNotFound, "There is no such tunnel."
	case messages.ReasonHTTPLimit:
		status, sentence = http.StatusTooManyRequests, "Too many requests from your address are under way."
	case messages.ReasonTunnelBusy:
		status, sentence = http.StatusServiceUnavailable, "Too many requests to this tunnel are under way; try again."
	case messages.ReasonMemory:
		status, sentence = http.StatusServiceUnavailable, "The server has no memory left for this request; try again."
	case messages.ReasonShutdown:
		status, sentence = http.StatusServiceUnavailable, "The server is shutting down."
	case messages.ReasonBodyTooBig:
		status, sentence = http.StatusRequestEntityTooLarge, "The request's body is larger than this server allows."
	case messages.ReasonBodyBad:
		status, sentence = http.StatusBadRequest, "The request's body is malformed, or was cut short."
	case messages.ReasonBodyLate:
		status, sentence = http.StatusRequestTimeout, "The request's body did not come in time."
	case messages.ReasonAnswerLate:
		status, sentence = http.StatusGatewayTimeout, "The tunnel did not answer in time."
	case messages.ReasonTunnelGone:
		sentence = "The tunnel ended before it answered."
	case messages.ReasonRestarted:
		sentence = "The tunnel failed and began anew; try again."
	case messages.ReasonBadAnswer:
		sentence = "The tunnel's answer can't be passed on."
	}
	s.config.Meter.Refused("forward", reason)
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	w.Header().Set("Cache-Control", "no-store")
	limitAnswer(w)
	http.Error(w, sentence, status)
}
