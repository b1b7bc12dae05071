package expose

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"wsproxy/command/remote"
)

// askTimeout bounds the question whether an address has a tunnel.
const askTimeout = 5 * time.Second

// taken returns what asks a server whether the address of a tunnel that was lost
// leads to another one now. A name that is taken while its tunnel has no WebSocket is
// no reason that the server could tell: it has forgotten the session by then. Without
// an answer the address is free.
func taken(server remote.Server, tunnel string) func(ctx context.Context) bool {
	return func(ctx context.Context) bool {
		at, err := url.Parse(server.URL)
		if err != nil {
			return false
		}
		public, err := url.Parse(tunnel)
		if err != nil || public.Hostname() == "" {
			return false
		}
		switch strings.ToLower(at.Scheme) {
		case "ws":
			at.Scheme = "http"
		case "wss":
			at.Scheme = "https"
		}
		at = at.JoinPath("/tunnel/ask")
		at.RawQuery = url.Values{"domain": {public.Hostname()}}.Encode()
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
		if err != nil {
			return false
		}
		transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: server.TLS, DisableKeepAlives: true}
		answer, err := transport.RoundTrip(request) // a redirect is no answer
		if err != nil {
			return false
		}
		_ = answer.Body.Close()
		return answer.StatusCode == http.StatusOK
	}
}
