package transport

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"wsproxy/auth"
	"wsproxy/messages"
	"wsproxy/messages/refused"
)

// Each cause of a 401 is told apart from all others.
func TestEveryCauseOfA401HasItsReason(t *testing.T) {
	seen := make(map[messages.Reason]auth.Reason)
	for _, cause := range auth.Reasons() {
		reason := tokenReason(fmt.Errorf("it failed: %w", &auth.Error{Reason: cause}))
		if other, twice := seen[reason]; twice || reason == messages.ReasonInternal {
			t.Errorf("%s is told as %s, as is %q", cause, reason, other)
		}
		seen[reason] = cause
		if known := refused.IsKnown(refused.Relay, reason); known == (cause == auth.ReasonCanceled) { // who has gone hears nothing
			t.Errorf("whether %s is in the table: %v", reason, known)
		}
	}
	for _, err := range []error{errors.New("another"), &auth.Error{Reason: "one that nobody knows"}} {
		if reason := tokenReason(err); reason != messages.ReasonInternal {
			t.Errorf("%v is told as %s", err, reason)
		}
	}
}

// Who is refused is told as far as it is known by then.
func TestRefusalsSayWho(t *testing.T) {
	d := newDesk(t, func(c *Config) { c.Auth = onlyToken("good") })
	for _, c := range []struct {
		target, origin string
		want           refused.Refusal
		to             string
	}{
		{"/relay?host=DB.example&port=22", "https://evil.example", refused.Refusal{Endpoint: "relay", Reason: "token_signature", Origin: "https://evil.example"}, "db.example:22"},
		{"/relay?host=db.example&port=22&token=good", "https://evil.example", refused.Refusal{Endpoint: "relay", Reason: "origin", User: "ann", Origin: "https://evil.example"}, "db.example:22"},
		{"/relay?host=a secret&port=22&token=good", "", refused.Refusal{Endpoint: "relay", Reason: "bad_target", User: "ann"}, ""},
		{"/relay?cf_domain=app.example&cf_id=i&cf_secret=s&token=no", "", refused.Refusal{Endpoint: "relay", Reason: "token_signature"}, "app.example:443"},
	} {
		r := httptest.NewRequest("GET", strings.ReplaceAll(c.target, " ", "+"), nil)
		r.RemoteAddr = "192.0.2.9:5"
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		d.serve(r)
		got := d.latest()
		if got.Endpoint != c.want.Endpoint || got.Reason != c.want.Reason || got.User != c.want.User || got.Origin != c.want.Origin ||
			got.Source.String() != "192.0.2.9" || got.Target() != c.to {
			t.Errorf("%s: told of %+v, which leads to %q", c.target, got, got.Target())
		}
	}
}
