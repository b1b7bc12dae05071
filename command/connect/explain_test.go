package connect

import (
	"errors"
	"strings"
	"testing"

	wsproxy "wsproxy/client/go"
)

// What concerns the target names it: of several hosts in one configuration nobody knows
// which it was.
func TestExplainNamesTheTarget(t *testing.T) {
	p := &plan{host: "db.internal", port: 5432}
	for want, err := range map[string]error{
		"db.internal:5432: the server refuses with status 403: the target is not allowed":          &wsproxy.RefusedError{Status: 403, Sentence: "the target is not allowed"},
		"the server cannot reach target db.internal:5432: does something listen there?":            &wsproxy.CloseError{Code: 1011, Reason: "cannot reach target"},
		"db.internal:5432: the server has closed with code 1011: target reset the connection":      &wsproxy.CloseError{Code: 1011, Reason: "target reset the connection"},
		"db.internal:5432: the server has closed with code 1008: target blocked":                   &wsproxy.CloseError{Code: 1008, Reason: "target blocked"},
		"the server refuses with status 429: Too many sessions":                                    &wsproxy.RefusedError{Status: 429, Sentence: "Too many sessions"},
		"the server asks for a token: set WSPROXY_TOKEN or WSPROXY_TOKEN_COMMAND, or give --token": &wsproxy.RefusedError{Status: 401},
	} {
		if got := p.explain(err); !strings.HasPrefix(got.Error(), want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if p.explain(nil) != nil || p.explain(errors.New("other")).Error() != "other" {
		t.Error("other errors stay as they are")
	}
}
