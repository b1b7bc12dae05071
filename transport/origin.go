package transport

import "net/http"

// allowOrigin lets pages of allowed origins read what the proxy answers. A
// browser does not show a page why a WebSocket was refused; with this, the page
// can ask for the same URL by fetch and read it.
func (s *Server) allowOrigin(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	origins := s.origins.Load()
	if origins.Any() {
		header.Set("Access-Control-Allow-Origin", "*")
		return
	}
	header.Add("Vary", "Origin")
	if origin := r.Header.Get("Origin"); origin != "" && origins.Allowed(origin) {
		header.Set("Access-Control-Allow-Origin", origin)
	}
}

// preflight answers the question that a browser asks before a request with an
// Authorization header, or with a Content-Type of JSON. Whether the origin is
// allowed is in allowOrigin's header.
func preflight(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	if header.Get("Access-Control-Allow-Origin") != "" && r.Header.Get("Access-Control-Request-Method") != "" {
		header.Set("Access-Control-Allow-Methods", "GET, HEAD")
		header.Set("Access-Control-Allow-Headers", "Authorization, Content-Type") // many libraries always send the second
		header.Set("Access-Control-Max-Age", "600")                               // 10 minutes, so that a change of ALLOWED_ORIGINS is soon felt
	}
	header.Set("Allow", "GET, HEAD, OPTIONS")
	w.WriteHeader(http.StatusNoContent)
}

// originAllowed reports whether a page of the request's origin may open
// sessions. Native clients send no Origin and pass.
func (s *Server) originAllowed(r *http.Request) bool {
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true
	}
	return len(origins) == 1 && s.origins.Load().Allowed(origins[0])
}
