package remote

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"

	wsproxy "wsproxy/client/go"
	"wsproxy/messages"
)

// Client returns the client's options.
func (s Server) Client() wsproxy.Server {
	return wsproxy.Server{URL: s.URL, Token: s.Token, TLS: s.TLS, NoResume: s.NoResume}
}

// Explain makes a sentence that its reader can act on of an error of the client's,
// which it wraps. hasToken says whether a token was sent.
func Explain(err error, hasToken bool) error {
	var refused *wsproxy.RefusedError
	if errors.As(err, &refused) {
		return explainRefusal(err, refused, hasToken)
	}
	var closed *wsproxy.CloseError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &closed) && closed.Code == messages.CloseNoSession:
		return &sentence{"the server does not have the session any more: it has restarted, or the connection was away for too long", err}
	case errors.As(err, &closed) && closed.Code == messages.CloseGoingAway:
		return &sentence{"the server restarts", err}
	case errors.As(err, &record):
		return fmt.Errorf("%w; a server without TLS has a URL with ws://", err)
	}
	return err
}

func explainRefusal(err error, refused *wsproxy.RefusedError, hasToken bool) error {
	switch {
	case refused.Status == http.StatusUnauthorized && !hasToken:
		return &sentence{"the server asks for a token: set WSPROXY_TOKEN or WSPROXY_TOKEN_COMMAND, or give --token-file or --token-command", err}
	case refused.Status == http.StatusUnauthorized && refused.Sentence != "":
		return &sentence{"the server refuses the token: " + refused.Sentence, err}
	case refused.Status == http.StatusNotFound && refused.Sentence == "" && err == error(refused): // one that is wrapped says so
		return fmt.Errorf("%w; is there a wsproxy behind this URL?", err)
	}
	return err
}

// A sentence says in other words what an error is.
type sentence struct {
	text string
	err  error
}

func (s *sentence) Error() string { return s.text }
func (s *sentence) Unwrap() error { return s.err }
