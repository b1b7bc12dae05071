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
	if s.config.Tunnels != nil {
		subdomain, ours := s.config.Tunnels.subdomain(r.URL.Query().Get("domain"))
		if handler, _ := s.gateway.Find(subdomain); ours && handler != nil {
			say(w, http.StatusOK, "ok")
			return
		}
	}
	say(w, http.StatusNotFound, "no such tunnel")
}

// say answers who probes: with a word that nobody keeps.
func say(w http.ResponseWriter, status int, word string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(word))
}
