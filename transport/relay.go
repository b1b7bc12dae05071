package transport

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpguts"

	"wsproxy/auth"
	"wsproxy/messages"
	"wsproxy/messages/refused"
	"wsproxy/netpolicy"
	"wsproxy/transport/relay"
	"wsproxy/transport/wsock"
)

// maxAccessValue is the largest CF-Access header value, in bytes, that is
// passed on: fixed by the protocol.
const maxAccessValue = 512

// relay answers /relay. The checks stand in the order in which their answers
// take precedence (protocol, section 2); from the fourth on, the session's
// actor makes them.
func (s *Server) relay(w http.ResponseWriter, r *http.Request) {
	query, _ := url.ParseQuery(r.URL.RawQuery) // what is malformed is missing, and refused as such
	who := &applicant{endpoint: refused.Relay, source: s.config.Sources.OfRequest(r), target: func() string { return targetOf(query) }}
	if no := s.authenticate(r, query, who); no != nil {
		s.refuse(w, r, who, *no)
		return
	}
	if !s.originAllowed(r) {
		s.refuse(w, r, who, refusal{http.StatusForbidden, messages.ReasonOrigin, "Pages of this origin may not use this server."})
		return
	}
	if token, given := auth.ResumeToken(r.Header); given {
		s.takeUp(w, r, who, takeUp{unit: messages.UnitBytes, find: s.config.Resume.Relay, token: token, query: query})
		return
	}
	target, access, err := parseRelay(query)
	if err != nil {
		s.refuse(w, r, who, refusal{http.StatusBadRequest, messages.ReasonBadTarget, err.Error()})
		return
	}

	user, source := who.user, who.source
	lasting := s.relays.Resume != nil && auth.OffersResume(r.Header)
	var pair *relay.Pair
	var protocol string
	if lasting {
		pair, protocol = relay.NewLastingPair(s.relays, target, access, whose(user, source), s.renewer(who)), auth.SelectResume(r.Header)
	} else {
		pair, protocol = relay.NewPair(s.relays, target, access), auth.SelectSubprotocol(r.Header)
	}
	who.cause = pair.Refusal
	pair.OnBlocked(s.whenBlocked(r, who, target))
	s.begin(w, r, who, protocol, func(answer chan messages.Admission) {
		s.config.Root.Send(s.config.Relays, &messages.OpenRelay{
			Source: source, Count: netpolicy.CountKey(source), User: user,
			Expires: s.endOf(who), Target: target.String(), Resume: lasting, Lookup: !target.Literal(),
			Upgrade: isHandshake(r), Pair: pair, Answer: answer,
		})
	}, func(client *wsock.Conn) bool {
		s.limit(client, who)
		return pair.Attach(client)
	})
}

// whenBlocked returns what a pair calls whose target turns out to be blocked when it is
// dialled. It keeps nothing of the request, whose header may be long.
func (s *Server) whenBlocked(r *http.Request, who *applicant, target netpolicy.Target) func(cause error) {
	no := refused.Refusal{
		Endpoint: who.endpoint, Reason: messages.ReasonTargetBlocked, Source: who.source, User: who.user,
		Target: target.String, Origin: strings.Clone(refused.Origin(r.Header.Get("Origin"))),
	}
	return func(cause error) {
		no.Cause = cause
		s.config.Refused.Refused(no)
	}
}

// targetOf returns where a relay is to lead, for the log; "" if that can't be read.
func targetOf(query url.Values) string {
	target, _, err := parseRelay(query)
	if err != nil {
		return ""
	}
	return target.String()
}

// parseRelay reads where a relay is to lead: to a host and port, or to a
// service behind Cloudflare Access, and then host and port are ignored: the
// known client always sends them. Its errors are sentences for the client. The
// session keeps what it returns, so that this is no part of the request, whose
// header may be long.
func parseRelay(query url.Values) (netpolicy.Target, *relay.Access, error) {
	domain, id, secret := query.Get("cf_domain"), query.Get("cf_id"), query.Get("cf_secret")
	if domain == "" && id == "" && secret == "" {
		target, err := netpolicy.ParseTarget(strings.Clone(query.Get("host")), query.Get("port"))
		return target, nil, err
	}
	name, err := netpolicy.ParseName(strings.Clone(domain))
	if err != nil {
		return netpolicy.Target{}, nil, err
	}
	for _, v := range []struct{ name, value string }{{"cf_id", id}, {"cf_secret", secret}} {
		if v.value == "" {
			return netpolicy.Target{}, nil, fmt.Errorf("%s is missing", v.name)
		}
		if len(v.value) > maxAccessValue || !httpguts.ValidHeaderFieldValue(v.value) {
			return netpolicy.Target{}, nil, fmt.Errorf("%s must be at most %d bytes of characters that are allowed in a header", v.name, maxAccessValue)
		}
	}
	return netpolicy.Target{Host: name, Port: relay.AccessPort, Absolute: strings.HasSuffix(domain, ".")}, &relay.Access{ID: strings.Clone(id), Secret: strings.Clone(secret)}, nil
}
