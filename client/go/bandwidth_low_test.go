package wsproxy

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Uploads arrive whose messages take longer than a client waits for an answer: no
// WebSocket is given up, after which a message would have to begin again.
func TestUploadsBelowALowBound(t *testing.T) {
	const (
		rate   = 64 << 10 // as much as one message has
		relays = 4
		each   = 80 << 10 // of the relays and a tunnel
		read   = 32 << 10 // the server reads at most at once; it is paid for behind it
	)
	address := newTunnelServer(t, "MAX_BYTES_PER_SECOND_PER_USER=64KiB")
	var detached atomic.Int32
	server := Server{URL: "ws://" + address, OnDetached: func(err error) {
		detached.Add(1)
		t.Log(err)
	}}
	began := time.Now()
	r := openTunnel(t, address, ListenOptions{Server: server})
	r.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.CopyN(w, zeros{}, each) }))
	answer, err := r.outside.Get(r.url("/"))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var up [relays + 1]counted
	var all sync.WaitGroup
	all.Go(func() { _, _ = io.Copy(&up[relays], answer.Body) })
	for i := range relays {
		near, far := dial(t, server, listen(t))
		all.Go(func() { _, _ = io.CopyN(near, zeros{}, each); check(t, near.CloseWrite()) })
		all.Go(func() { _, _ = io.Copy(&up[i], far) })
	}
	arrived := make(chan struct{})
	go func() { all.Wait(); close(arrived) }()
	select {
	case <-arrived:
	case <-time.After(patience):
		t.Error("not all has come")
	}
	for i := range up {
		if n := up[i].Load(); n != each {
			t.Errorf("%d bytes have come of the one numbered %d", n, i)
		}
	}
	// What each has passed last nobody has waited for.
	if took, least := time.Since(began).Seconds(), float64((relays+1)*(each-read)-rate)/rate; took < least {
		t.Errorf("all took %v s, at least %v are due", took, least)
	}
	if n := detached.Load(); n > 0 {
		t.Errorf("%d WebSockets were given up", n)
	}
}
