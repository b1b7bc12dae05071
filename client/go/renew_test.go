package wsproxy

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"wsproxy/internal/testkit"
)

// A tunnel of a server that ends sessions with their token goes on: a fresh one is asked
// for, and shown, before it ends. One that has none ends when it is due.
func TestFreshTokensKeepATunnel(t *testing.T) {
	const leeway = 5 * time.Second
	jwks, sign := keysFor(t, 0) // what is left is the leeway
	address := newTunnelServer(t, "CLERK_JWKS_URL="+jwks, "END_WITH_TOKEN=true")
	var asked atomic.Int32
	r := openTunnel(t, address, ListenOptions{Server: Server{Token: func(ctx context.Context) (string, error) {
		asked.Add(1)
		return sign(ctx)
	}}})
	r.serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("here")) }))
	old, err := sign(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stale := openTunnel(t, address, ListenOptions{Server: Server{Token: func(context.Context) (string, error) { return old, nil }}})
	began := time.Now()
	testkit.Eventually(t, "two fresh tokens were asked for", func() bool { return asked.Load() >= 3 && time.Since(began) > leeway })
	if status, body := r.get("/"); status != 200 || body != "here" {
		t.Errorf("it answers %d %s", status, body)
	}
	if _, err := stale.http.Accept(); err == nil {
		t.Error("a tunnel without a fresh token goes on")
	}
}
