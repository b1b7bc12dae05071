package transport

import "net/http"

// health says whether new sessions had better come here, for a load balancer.
func (s *Server) health(w http.ResponseWriter) {
	if s.leaving.Load() {
		say(w, http.StatusServiceUnavailable, "draining")
		return
	}
	say(w, http.StatusOK, "ok")
}

// ask says whether the parameter domain is the host of a tunnel that there is now: what
// a front proxy asks before it gets a certificate on demand. It says no more than a
// request to that host would.
func (s *Server) ask(w http.ResponseWriter, r *http.Request) {
	if s.HasTunnel(r.URL.Query().Get("domain")) {
		say(w, http.StatusOK, "ok")
		return
	}
	say(w, http.StatusNotFound, "no such tunnel")
}

// HasTunnel reports whether a host is a tunnel's that there is now.
func (s *Server) HasTunnel(host string) bool {
	if s.config.Tunnels == nil {
		return false
	}
	subdomain, ours := s.config.Tunnels.subdomain(host)
	handler, _ := s.gateway.Find(subdomain)
	return ours && handler != nil
}

// say answers who probes: with a word that nobody keeps.
func say(w http.ResponseWriter, status int, word string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(word))
}
