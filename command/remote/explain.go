package remote

import (
	"errors"
	"fmt"
	"net/http"

	wsproxy "wsproxy/client/go"
)

// Client returns the client's options.
func (s Server) Client() wsproxy.Server {
	return wsproxy.Server{URL: s.URL, Token: s.Token, TLS: s.TLS, NoResume: s.NoResume}
}

// Explain makes a sentence that its reader can act on of an error of the client's.
// hasToken says whether a token was sent.
func Explain(err error, hasToken bool) error {
	var refused *wsproxy.RefusedError
	if !errors.As(err, &refused) {
		return err
	}
	switch {
	case refused.Status == http.StatusUnauthorized && !hasToken:
		return fmt.Errorf("%w; set WSPROXY_TOKEN or WSPROXY_TOKEN_COMMAND, or give --token-file", err)
	case refused.Status == http.StatusUnauthorized:
		return fmt.Errorf("%w; the token may have expired", err)
	case refused.Status == http.StatusNotFound && refused.Sentence == "":
		return fmt.Errorf("%w; is there a wsproxy behind this URL?", err)
	}
	return err
}
