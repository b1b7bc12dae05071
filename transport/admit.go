package transport

import (
	"net/http"
	"sync"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"wsproxy/messages"
	"wsproxy/transport/wsock"
)

// admissionGrace is how long an admission may take beside the resolving of the
// target's name. It is a safety net: all that is left to do takes microseconds.
const admissionGrace = 10 * time.Second

// admit asks for a session and waits for the word of its actor, or returns why there
// is none. ask must see to it that answer gets one. If nobody waits for the session any more when it is
// admitted, it hears so.
func (s *Server) admit(r *http.Request, ask func(answer chan messages.Admission)) (*actor.PID, messages.Reason) {
	answer := make(chan messages.Admission, 1)
	ask(answer)
	late, reason := time.NewTimer(s.config.DialTimeout+admissionGrace), messages.ReasonInternal
	defer late.Stop()
	select {
	case a := <-answer:
		return a.Session, a.Refusal
	case <-r.Context().Done():
		reason = messages.ReasonAbandoned
	case <-late.C:
	}
	go func() {
		timeout := time.NewTimer(s.config.DialTimeout + admissionGrace)
		defer timeout.Stop()
		select {
		case a := <-answer:
			if a.Session != nil {
				s.config.Root.Send(a.Session, &messages.Abandoned{})
			}
		case <-timeout.C:
		}
	}()
	return nil, reason
}

// limit has a WebSocket pass no more than is left of what its user may.
func (s *Server) limit(client *wsock.Conn, who *applicant) {
	if s.config.Bandwidth == nil || !s.config.Bandwidth.Bounded() {
		return
	}
	if share := s.config.Bandwidth.Open(whose(who.user, who.source)); share != nil { // a nil *Share in an interface would not be nil
		client.Limit(share)
	}
}

// begin makes a session of a request: admitted first, then upgraded, then
// attached to what the session's actors hold. It answers the request in any
// case.
func (s *Server) begin(w http.ResponseWriter, r *http.Request, who *applicant, protocol string, ask func(answer chan messages.Admission), attach func(*wsock.Conn) bool) {
	began := time.Now()
	session, reason := s.admit(r, ask)
	if session == nil {
		no := refusalFor(reason)
		if reason == messages.ReasonAbandoned {
			no.reason = reason
		}
		s.refuse(w, r, who, no)
		return
	}
	abandon := sync.OnceFunc(func() { s.config.Root.Send(session, &messages.Abandoned{}) })
	client := s.upgrade(w, r, who, protocol, abandon)
	if client == nil {
		abandon()
		return
	}
	if s.config.Observer != nil {
		s.config.Observer.ShookHands(r.URL.Path[1:], time.Since(began))
	}
	if !attach(client) {
		reason := s.whyUnattached()
		s.record(r, who, reason)
		s.host.Refuse(client, reason)
		return
	}
	s.config.Root.Send(session, &messages.Upgraded{})
}
