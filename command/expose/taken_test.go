package expose

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	wsproxy "wsproxy/client/go"
	"wsproxy/command/remote"
)

// A tunnel that is lost while another one of its name has the address is not opened
// anew: it would take the address from who was the latest to ask for it. One whose
// address is free is.
func TestTakenWhileAway(t *testing.T) {
	server := newFakeServer(t)
	r := start(t, server, Options{Targets: []string{"3000"}, Name: "web"})
	lost := fmt.Errorf("%w: there is no such session", wsproxy.ErrSessionLost)
	for _, taken := range []bool{false, true} {
		f := server.next()
		f.Tunnel.Taken = func(context.Context) bool { return taken }
		r.out.wait(t, "https://websub.test")
		f.end(lost)
	}
	if err := r.end(); status(err) != StatusReplaced || !strings.Contains(err.Error(), "taken the name") {
		t.Error(err)
	}
}

func TestTaken(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/proxy/tunnel/ask" || r.URL.Query().Get("domain") != "sub.tunnel.test" {
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer s.Close()
	for _, test := range []struct {
		url, tunnel string
		want        bool
	}{
		{"ws" + strings.TrimPrefix(s.URL, "http") + "/proxy", "https://sub.tunnel.test:8443", true},
		{s.URL + "/proxy/", "https://sub.tunnel.test", true},
		{s.URL + "/proxy", "https://other.tunnel.test", false},
		{s.URL, "https://sub.tunnel.test", false},
		{"ws://127.0.0.1:1", "https://sub.tunnel.test", false},
		{s.URL + "/proxy", "", false},
	} {
		if got := taken(remote.Server{URL: test.url}, test.tunnel)(t.Context()); got != test.want {
			t.Errorf("%s at %s: %v", test.tunnel, test.url, got)
		}
	}
}
