package remote

import (
	"crypto/tls"
	"errors"
	"fmt"
	"testing"

	wsproxy "wsproxy/client/go"
)

// What is said is for who uses the command, and neither for who writes a client nor
// said twice.
func TestExplain(t *testing.T) {
	lost := fmt.Errorf("%w: %w", wsproxy.ErrSessionLost, &wsproxy.CloseError{Code: 4404, Reason: "there is no such session"})
	for _, c := range []struct {
		err      error
		hasToken bool
		want     string
	}{
		{&wsproxy.RefusedError{Status: 401, Sentence: "no token was given: send it as the query parameter token"}, false, "the server asks for a token: set WSPROXY_TOKEN or WSPROXY_TOKEN_COMMAND, or give --token-file or --token-command"},
		{&wsproxy.RefusedError{Status: 401, Sentence: "the token has expired"}, true, "the server refuses the token: the token has expired"},
		{&wsproxy.RefusedError{Status: 401}, true, "the server refuses with status 401 (Unauthorized)"},
		{&wsproxy.RefusedError{Status: 404}, false, "the server refuses with status 404 (Not Found); is there a wsproxy behind this URL?"},
		{&wsproxy.RefusedError{Status: 429, Sentence: "Too many"}, false, "the server refuses with status 429: Too many"},
		{&wsproxy.CloseError{Code: 1001, Reason: "restart, retry within 1 s"}, false, "the server restarts"},
		{lost, true, "the server does not have the session any more: it has restarted, or the connection was away for too long"},
		{fmt.Errorf("can't be reached: %w", tls.RecordHeaderError{Msg: "no TLS"}), false, "can't be reached: tls: no TLS; a server without TLS has a URL with ws://"},
		{errors.New("other"), false, "other"},
	} {
		got := Explain(c.err, c.hasToken)
		if got.Error() != c.want || !errors.Is(got, c.err) {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
}
