package fields

import (
	"net/http"
	"testing"

	"wsproxy/messages"
)

func TestWhatAuthenticatesAConnection(t *testing.T) {
	for _, c := range []struct {
		request, name, value string
		want                 bool
	}{
		{"", "Www-Authenticate", "NTLM", true},
		{"", "Proxy-Authenticate", "negotiate abc", true},
		{"", "Www-Authenticate", "Basic realm=NTLM", false},
		{"", "X-Authenticate", "NTLM", false},
		{"Negotiate abc", "", "", true},
		{"Bearer Negotiate", "", "", false},
	} {
		r := &http.Request{Header: http.Header{}}
		if c.request != "" {
			r.Header.Set("Authorization", c.request)
		}
		if got := Authenticates(r, []messages.Field{{Name: c.name, Value: c.value}}); got != c.want {
			t.Errorf("%+v: %t", c, got)
		}
	}
}
