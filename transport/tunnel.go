package transport

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/gorilla/websocket"

	"wsproxy/messages"
	"wsproxy/netpolicy"
)

// tunnel answers /tunnel: it registers a tunnel. The checks stand in the order
// in which their answers take precedence (protocol, section 2).
func (s *Server) tunnel(w http.ResponseWriter, r *http.Request) {
	if s.config.Tunnels == nil {
		s.refuse(w, r, refusal{http.StatusNotFound, messages.ReasonNoTunnels, "Tunnels are not enabled on this server: TUNNEL_DOMAIN is not set."})
		return
	}
	query, _ := url.ParseQuery(r.URL.RawQuery) // what is malformed is missing
	user, no := s.authenticate(r, query)
	if no != nil {
		s.refuse(w, r, *no)
		return
	}
	if !s.originAllowed(r) {
		s.refuse(w, r, refusal{http.StatusForbidden, messages.ReasonOrigin, "Pages of this origin may not use this server."})
		return
	}
	control, flow := query.Get("control"), query.Get("flow")
	spoken, known := dialects[control]
	if control == "" {
		spoken, known = dialects[s.config.Tunnels.Dialect]
	}
	if !known || flow != "" && flow != "credit" {
		s.refuse(w, r, refusal{http.StatusBadRequest, messages.ReasonBadControl,
			"control must be text, binary or gossh, and flow must be credit, if they are given."})
		return
	}

	source := s.source(r)
	l := newLink(s.links, spoken, flow == "credit")
	s.begin(w, r, func(answer chan messages.Admission) {
		s.config.Root.Send(s.config.Tunnels.Actor, &messages.OpenTunnel{
			Source: source, Count: netpolicy.CountKey(source), User: user,
			Credit: l.credit, Upgrade: websocket.IsWebSocketUpgrade(r), Mux: l, Answer: answer,
		})
	}, l.attach)
}

// subdomain returns the label of a host in front of the tunnels' domain, and
// whether the host belongs to tunnels at all. What is no label, or several,
// comes back as it is, and names no tunnel.
func (t *Tunnels) subdomain(host string) (label string, ours bool) {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	return strings.CutSuffix(host, "."+t.Domain)
}
