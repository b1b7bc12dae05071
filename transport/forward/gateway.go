package forward

import (
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
	"wsproxy/messages/refused"
	"wsproxy/netpolicy"
	"wsproxy/transport/fields"
	"wsproxy/transport/outside"
)

// Settings are what a gateway needs. All fields are required, but for
// ForwardCredentials.
type Settings struct {
	Root   *actor.RootContext
	Limits *actor.PID // the limits actor
	// Handler is where a subdomain's requests go if its tunnel has http=bytes,
	// or if it has not; there need be no such tunnel.
	Handler func(subdomain string, bytes bool) *actor.PID
	Exists  func(handler *actor.PID) bool // whether there is such a handler now
	Sources netpolicy.Sources
	// HTTPTimeout bounds each step of a request: see the protocol, section 7.
	HTTPTimeout        time.Duration
	MaxBody            int64 // bytes of a request's or response's body
	ForwardCredentials bool  // let cookies and Authorization through, and Set-Cookie back
	Refused            refused.Recorder
	Log                *slog.Logger
}

// A Gateway passes HTTP requests from outside on to tunnels. Any goroutine may use it.
type Gateway struct {
	settings Settings
	fields   fields.Rules
}

// NewGateway returns a gateway. It starts nothing.
func NewGateway(s Settings) *Gateway {
	return &Gateway{s, fields.Rules{Sources: s.Sources, ForwardCredentials: s.ForwardCredentials}}
}

// Forward passes a request on to the tunnel of a subdomain, which may be none, and answers it.
func (g *Gateway) Forward(w http.ResponseWriter, r *http.Request, subdomain string) {
	handler, bytes := g.Find(subdomain)
	switch {
	case handler == nil:
		g.refuse(w, r, refused.Refusal{Reason: messages.ReasonNoTunnel, Source: g.settings.Sources.OfRequest(r), Subdomain: subdomain})
		return
	case r.Method == http.MethodConnect:
		w.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
		outside.Answer(w, r, http.StatusMethodNotAllowed, "A tunnel carries requests, not CONNECT.")
		return
	case !bytes && r.ContentLength > g.settings.MaxBody:
		g.refuse(w, r, refused.Refusal{Reason: messages.ReasonBodyTooBig, Source: g.settings.Sources.OfRequest(r), Subdomain: subdomain})
		return
	}
	x := &exchange{
		gateway: g, w: w, r: r, handler: handler, subdomain: subdomain,
		id: messages.NewID(messages.IDBytes), source: g.settings.Sources.OfRequest(r),
		answer: make(chan messages.Answer, 1),
	}
	if bytes {
		x.carry()
	} else {
		x.run()
	}
}

// Find returns who handles requests for a subdomain, nil if nobody does, and whether they travel as bytes.
func (g *Gateway) Find(subdomain string) (handler *actor.PID, bytes bool) {
	if !messages.IsSubdomain(subdomain) {
		return nil, false
	}
	// Of a tunnel that takes its name over while this looks, the first look may
	// come too early, and the second one too late for the tunnel before it.
	for _, bytes := range []bool{false, true, false} {
		if handler := g.settings.Handler(subdomain, bytes); g.settings.Exists(handler) {
			return handler, bytes
		}
	}
	return nil, false
}

// errStatus is why an answer's status can't be passed on: 101 would turn a proxy in front into a raw pipe.
var errStatus = errors.New("its status is not within 200 to 599")

// refuse answers for a tunnel that doesn't. It closes the connection of an outside client that has gone.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, no refused.Refusal) {
	if no.Reason == messages.ReasonAbandoned {
		// net/http answers 200 for a handler that returns without a word.
		panic(http.ErrAbortHandler)
	}
	status, sentence := refusal(no.Reason)
	g.record(r, no)
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	outside.Answer(w, r, status, sentence)
}

// record has a refusal counted and logged, without path and query.
func (g *Gateway) record(r *http.Request, no refused.Refusal) {
	no.Endpoint, no.Origin = refused.HTTP, r.Header.Get("Origin")
	g.settings.Refused.Refused(no)
}

// refusal returns what an outside client is told of a reason.
func refusal(reason messages.Reason) (status int, sentence string) {
	switch reason {
	case messages.ReasonNoTunnel:
		return http.StatusNotFound, "There is no such tunnel."
	case messages.ReasonHTTPLimit:
		return http.StatusTooManyRequests, "Too many requests from your address are under way."
	case messages.ReasonHTTPShare:
		return http.StatusTooManyRequests, "Too many requests from your address to this tunnel are under way."
	case messages.ReasonGaveWay:
		return http.StatusServiceUnavailable, "Too many requests to this tunnel are under way, most of them from your address; try again."
	case messages.ReasonTunnelBusy:
		return http.StatusServiceUnavailable, "Too many requests to this tunnel are under way; try again."
	case messages.ReasonMemory:
		return http.StatusServiceUnavailable, "The server has no memory left for this request; try again."
	case messages.ReasonShutdown:
		return http.StatusServiceUnavailable, "The server is shutting down."
	case messages.ReasonBodyTooBig:
		return http.StatusRequestEntityTooLarge, "The request's body is larger than this server allows."
	case messages.ReasonBodyBad:
		return http.StatusBadRequest, "The request's body is malformed, or was cut short."
	case messages.ReasonBodyLate:
		return http.StatusRequestTimeout, "The request's body did not come in time."
	case messages.ReasonAnswerLate:
		return http.StatusGatewayTimeout, "The tunnel did not answer in time."
	case messages.ReasonTunnelGone:
		return http.StatusBadGateway, "The tunnel ended before it answered."
	case messages.ReasonRestarted:
		return http.StatusBadGateway, "The tunnel failed and began anew; try again."
	case messages.ReasonServiceRefused:
		return http.StatusBadGateway, "The tunnel's client refused the connection: there is no service behind it."
	case messages.ReasonServiceEnded:
		return http.StatusBadGateway, "The service behind the tunnel ended the connection before it answered."
	case messages.ReasonBadAnswer:
		return http.StatusBadGateway, "The tunnel's answer can't be passed on."
	case messages.ReasonAnswerTooBig:
		return http.StatusBadGateway, "The tunnel's answer is larger than this server allows."
	case messages.ReasonAnswerHeaders:
		return http.StatusBadGateway, "The tunnel's answer has more headers than this server passes on: 200 of them, of 64 KiB in all."
	}
	return http.StatusBadGateway, "The tunnel failed to answer."
}
