package transport

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"wsproxy/auth"
	"wsproxy/messages"
	"wsproxy/messages/refused"
	"wsproxy/netpolicy"
	"wsproxy/transport/forward"
	"wsproxy/transport/gossh"
	"wsproxy/transport/tunnel"
	"wsproxy/transport/wsock"
)

// tunnel answers /tunnel: it registers a tunnel. The checks stand in the order
// in which their answers take precedence (protocol, section 2).
func (s *Server) tunnel(w http.ResponseWriter, r *http.Request) {
	who := &applicant{endpoint: refused.Tunnel, source: s.config.Sources.OfRequest(r)}
	if s.config.Tunnels == nil {
		s.refuse(w, r, who, refusal{http.StatusNotFound, messages.ReasonNoTunnels, "Tunnels are not enabled on this server: TUNNEL_DOMAIN is not set."})
		return
	}
	query, _ := url.ParseQuery(r.URL.RawQuery) // what is malformed is missing
	if no := s.authenticate(r, query, who); no != nil {
		s.refuse(w, r, who, *no)
		return
	}
	if !s.originAllowed(r) {
		s.refuse(w, r, who, refusal{http.StatusForbidden, messages.ReasonOrigin, "Pages of this origin may not use this server."})
		return
	}
	if token, given := auth.ResumeToken(r.Header); given {
		s.takeUp(w, r, who, takeUp{unit: messages.UnitMessages, find: s.config.Resume.Tunnel, token: token, query: query})
		return
	}
	asked, no := parseTunnel(query, s.config.Tunnels.Dialect)
	if no != nil {
		s.refuse(w, r, who, *no)
		return
	}
	user, source := who.user, who.source
	who.subdomain = s.config.Tunnels.subdomainOf(user, asked.name)

	lasting, protocol := false, auth.SelectSubprotocol(r.Header)
	if s.tunnels.Resume != nil && asked.bytes && auth.OffersResume(r.Header) { // and flow=credit, without which there is no http=bytes
		lasting, protocol = true, auth.SelectResume(r.Header)
	}
	mux := tunnel.New(s.tunnels, s.dialect(asked), tunnel.Options{Credit: asked.credit, User: whose(user, source), Lasting: lasting, Renewer: s.renewer(who)})
	s.begin(w, r, who, protocol, func(answer chan messages.Admission) {
		s.config.Root.Send(s.config.Tunnels.Actor, &messages.OpenTunnel{
			Source: source, Count: netpolicy.CountKey(source), User: user,
			Expires: s.endOf(who),
			Credit:  asked.credit, Bytes: asked.bytes, NoRaw: asked.noRaw, Resume: lasting,
			Subdomain: who.subdomain, Name: asked.name,
			Upgrade: isHandshake(r), Mux: mux, Answer: answer,
		})
	}, func(client *wsock.Conn) bool {
		s.limit(client, who)
		return mux.Attach(client)
	})
}

// whose names a user for what all of one user's tunnels may take. One without a
// name is a source address.
func whose(user string, source netip.Addr) string {
	if user == "" {
		return "address " + netpolicy.CountKey(source).String()
	}
	return "user " + user
}

// dialect returns what makes the dialect that a client has asked for.
func (s *Server) dialect(asked parameters) func(*tunnel.Mux) tunnel.Dialect {
	dialect := tunnel.Text
	switch asked.control {
	case "binary":
		dialect = tunnel.Binary
	case "gossh":
		return func(m *tunnel.Mux) tunnel.Dialect { return gossh.New(m, s.config.Tunnels.ForwardCredentials) }
	}
	if asked.bytes {
		return func(m *tunnel.Mux) tunnel.Dialect { return forward.NewBytes(m, dialect, asked.host) }
	}
	return func(*tunnel.Mux) tunnel.Dialect { return dialect }
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
